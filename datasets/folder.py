#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prepare a folder of images as a data-set file (HDF5)."""

import argparse
import os

import common
import images


def find(folder):
    """Items of a folder and the names of its classes, none if it is flat."""
    pairs = images.class_folders(folder)
    loose = images.flat_files(folder)
    if pairs and loose:
        raise common.DataError(
            folder, "holds images (%s) beside folders of images (%s); use one "
            "form" % (os.path.basename(loose[0]), pairs[0][0]))
    if loose:
        return [images.Item(path, None) for path in loose], []
    items = [images.Item(path, label)
             for label, (_, paths) in enumerate(pairs) for path in paths]
    return items, [name for name, _ in pairs]


def main():
    parser = argparse.ArgumentParser(
        description="Prepare a folder of images for reap. Sub-folders are "
        "classes, in the order of their names; a folder without sub-folders "
        "gives images without labels, which serve for calibration only. "
        "Images stay 8-bit; the file carries the normalisation, which has to "
        "be the one the network was trained with.",
        epilog=images.EPILOG)
    parser.add_argument("folder", metavar="FOLDER",
                        help="folder of class folders, or of images")
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True,
        help="file to write; its folder is created if missing")
    parser.add_argument(
        "--name", metavar="TEXT",
        help="what the file says the images are (default: the folder's name)")
    images.add_choice_options(parser)
    images.add_geometry_options(parser)
    images.add_work_options(parser)
    options = parser.parse_args()
    images.check_options(parser, options)

    items, classes = find(options.folder)
    if options.per_class and items and not classes:
        raise common.DataError(options.folder, "has no class folders, which "
                               "--per-class needs; use --images")
    items = images.choose(items, options, options.folder)
    own = os.path.basename(os.path.abspath(options.folder))
    images.write(options.output, items, options,
                 name=options.name or "%d images of %s" % (len(items), own),
                 source="folder %s" % own, classes=classes,
                 labelled=bool(classes))
    return 0


if __name__ == "__main__":
    common.run(main)
