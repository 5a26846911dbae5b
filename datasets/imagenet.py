#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prepare ImageNet (ILSVRC2012) as a data-set file (HDF5)."""

import argparse
import os
import re
import sys

import common
import images

CLASSES = 1000
SYNSET = re.compile("n[0-9]{8}")


def read_synsets(path):
    """Synsets in the order of a file, and the names behind them, if any."""
    synsets, names = [], []
    for number, line in images.read_lines(path):
        words = line.split(None, 1)
        if not SYNSET.fullmatch(words[0]):
            raise common.DataError(path, "line %d does not begin with a "
                                   "synset such as n01440764" % number)
        if words[0] in synsets:
            raise common.DataError(path, "line %d names %s again"
                                   % (number, words[0]))
        synsets.append(words[0])
        names.append(words[1] if len(words) > 1 else words[0])
    return synsets, names


def read_meta(path):
    """Synset of each ILSVRC2012_ID from 1, of the kit's meta.mat or a list."""
    if not path.endswith(".mat"):
        return read_synsets(path)[0]
    content = images.load_mat(path)
    try:
        found = {int(entry["ILSVRC2012_ID"][0][0][0]): str(entry["WNID"][0][0])
                 for entry in content["synsets"]}
    except (KeyError, IndexError, TypeError, ValueError):
        raise common.DataError(path, "does not hold the table 'synsets' of "
                               "ImageNet's development kit") from None
    # IDs above 1000 are inner nodes of the hierarchy.
    ids = [i for i in sorted(found) if i <= 1000]
    if ids != list(range(1, len(ids) + 1)):
        raise common.DataError(path, "its numbers ILSVRC2012_ID have gaps")
    return [found[i] for i in ids]


def place(path, synset, order):
    """Label of a synset."""
    if synset not in order:
        raise common.DataError(path, "class %s is not in the list of synsets"
                               % synset)
    return order[synset]


def in_folders(folder, pairs, synsets):
    """Items of class folders."""
    for name, _ in pairs:
        if not SYNSET.fullmatch(name):
            raise common.DataError(
                os.path.join(folder, name), "its name is no synset such as "
                "n01440764; for folders of other names see convert.py")
    if synsets is None:
        synsets = [name for name, _ in pairs]
    order = {synset: i for i, synset in enumerate(synsets)}
    return synsets, [
        images.Item(path, place(os.path.join(folder, name), name, order))
        for name, paths in pairs for path in paths]


def truth_of(path, files, meta):
    """Synset or label of each file, as the ground truth tells it.

    Forms: "NAME SYNSET ..." (also with a comma, and with a header), "NAME
    LABEL" with labels from 0, or one ILSVRC2012_ID per line from 1, in the
    order of the files' names.
    """
    lines = images.read_lines(path)
    if all(re.fullmatch("[0-9]+", line) for _, line in lines):
        if meta is None:
            raise common.DataError(
                path, "numbers classes as the development kit does, which is "
                "not the networks' order: name the kit's meta.mat, or a list "
                "of synsets in its order, with --meta")
        if len(lines) != len(files):
            raise common.DataError(path, "%d lines for %d images"
                                   % (len(lines), len(files)))
        for number, line in lines:
            if not 1 <= int(line) <= len(meta):
                raise common.DataError(path, "line %d: class %s, expected 1 "
                                       "to %d" % (number, line, len(meta)))
        return [meta[int(line) - 1] for _, line in lines]

    known = {}
    for number, line in lines:
        words = re.split("[ \t,]+", line)
        if number == 1 and len(words) > 1 and words[0] == "ImageId":
            continue
        if len(words) > 1 and SYNSET.fullmatch(words[1]):
            value = words[1]
        elif len(words) == 2 and re.fullmatch("[0-9]{1,9}", words[1]):
            value = int(words[1])
        else:
            raise common.DataError(path, "line %d is not NAME SYNSET, NAME "
                                   "LABEL or NUMBER" % number)
        known[os.path.splitext(os.path.basename(words[0]))[0]] = value
    found = []
    for file in files:
        stem = os.path.splitext(os.path.basename(file))[0]
        if stem not in known:
            raise common.DataError(path, "does not name %s"
                                   % os.path.basename(file))
        found.append(known[stem])
    if len({type(value) for value in found}) > 1:
        raise common.DataError(path, "has both synsets and numbers")
    return found


def in_one_folder(files, truth_path, truth, synsets):
    """Items of the validation images, which lie in one folder."""
    if isinstance(truth[0], int):
        if synsets and max(truth) >= len(synsets):
            raise common.DataError(truth_path, "label %d, but only %d synsets"
                                   % (max(truth), len(synsets)))
        return synsets or [], [images.Item(file, label)
                               for file, label in zip(files, truth)]
    if synsets is None:
        synsets = sorted(set(truth))
    order = {synset: i for i, synset in enumerate(synsets)}
    return synsets, [images.Item(file, place(truth_path, synset, order))
                     for file, synset in zip(files, truth)]


def main():
    parser = argparse.ArgumentParser(
        description="Prepare ImageNet (ILSVRC2012) for reap: the folder of "
        "class folders (n01440764, ...) of training or validation images, or "
        "the one folder of validation images as distributed, with its ground "
        "truth. Labels count the synsets in sorted order, as networks have "
        "them. Images stay 8-bit.",
        epilog=images.EPILOG)
    parser.add_argument("folder", metavar="FOLDER",
                        help="folder of class folders, or of the images "
                        "ILSVRC2012_val_*.JPEG")
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True,
        help="file to write; its folder is created if missing")
    parser.add_argument(
        "--synsets", metavar="FILE",
        help="list of synsets, one per line, maybe with a name behind it: "
        "labels count in its order (default: sorted; needed where not all "
        "classes are there)")
    parser.add_argument(
        "--ground-truth", metavar="FILE",
        help="classes of the images in one folder: lines of NAME SYNSET "
        "(LOC_val_solution.csv), NAME LABEL (val.txt), or numbers "
        "(ILSVRC2012_validation_ground_truth.txt), which need --meta")
    parser.add_argument(
        "--meta", metavar="FILE",
        help="meta.mat of the development kit (needs SciPy), or a list of "
        "synsets in the order of its numbers")
    images.add_choice_options(parser)
    images.add_geometry_options(parser, orientation="ignore")
    images.add_work_options(parser)
    options = parser.parse_args()
    images.check_options(parser, options)

    synsets, names = None, None
    if options.synsets:
        synsets, names = read_synsets(options.synsets)
    pairs = images.class_folders(options.folder)
    files = images.flat_files(options.folder)
    if pairs and files:
        raise common.DataError(options.folder, "holds images beside class "
                               "folders; use one form")
    if pairs:
        if options.ground_truth:
            parser.error("--ground-truth is for images in one folder; %s "
                         "holds class folders" % options.folder)
        synsets, items = in_folders(options.folder, pairs, synsets)
    elif files:
        if not options.ground_truth:
            raise common.DataError(options.folder, "holds images without "
                                   "class folders: name the --ground-truth")
        meta = read_meta(options.meta) if options.meta else None
        truth = truth_of(options.ground_truth, files, meta)
        synsets, items = in_one_folder(files, options.ground_truth, truth,
                                       synsets)
    else:
        items = []
    items = images.choose(items, options, options.folder)
    if synsets and len(synsets) != CLASSES and not options.synsets:
        print("%s: %d classes are there, so labels are 0..%d; for a network "
              "of %d classes, list them all with --synsets"
              % (options.folder, len(synsets), len(synsets) - 1, CLASSES),
              file=sys.stderr)
    images.write(options.output, items, options,
                 name="ImageNet, %d images" % len(items),
                 source="ILSVRC2012, folder %s"
                 % os.path.basename(os.path.abspath(options.folder)),
                 classes=names or synsets)
    return 0


if __name__ == "__main__":
    common.run(main)
