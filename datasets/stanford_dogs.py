#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prepare Stanford Dogs as data-set files (HDF5)."""

import argparse
import os
import random
import re

import common
import images

# Training images per class in the official split.
TRAINING = 100


def class_name(folder):
    """"n02085620-Chihuahua" is a Chihuahua."""
    return re.sub("^n[0-9]+-", "", folder).replace("_", " ")


def find_list(source, name):
    """Path of one of the official lists, or None."""
    for inner in ("", "lists"):
        path = os.path.join(source, inner, name)
        if os.path.isfile(path):
            return path
    return None


def read_list(path):
    """Image paths, relative to the folder of images, that a list names."""
    if not path.endswith(".mat"):
        return [line for _, line in images.read_lines(path)]
    content = images.load_mat(path)
    try:
        return [str(entry[0][0]) for entry in content["file_list"]]
    except (KeyError, IndexError, TypeError):
        raise common.DataError(path, "does not hold 'file_list' as the lists "
                               "of Stanford Dogs do") from None


def listed(path, root, known):
    """Items that a list names."""
    items = []
    for name in read_list(path):
        file = os.path.normpath(os.path.join(root, name))
        if file not in known:
            raise common.DataError(path, "names %s, which is not in %s"
                                   % (name, root))
        items.append(known[file])
    if len(set(items)) != len(items):
        raise common.DataError(path, "names an image twice")
    return sorted(items)


def split(items, seed):
    """Training and test items: at most 100, and half, of a class train."""
    by_class = {}
    for item in items:
        by_class.setdefault(item.label, []).append(item)
    training, test = [], []
    generator = random.Random(seed)
    for label in sorted(by_class):
        own = by_class[label]
        generator.shuffle(own)
        count = min(TRAINING, (len(own) + 1) // 2)
        training += own[:count]
        test += own[count:]
    return sorted(training), sorted(test)


def main():
    parser = argparse.ArgumentParser(
        description="Prepare Stanford Dogs for reap: writes "
        "stanford-dogs-calib.h5 (from the training images) and "
        "stanford-dogs-test.h5 (from the test images) into the output "
        "folder. Images stay 8-bit.",
        epilog="Without lists and options, the official lists train_list.mat "
        "and test_list.mat are taken from SOURCE or SOURCE/lists, which "
        "needs SciPy. " + images.EPILOG)
    parser.add_argument("source", metavar="SOURCE",
                        help="folder that holds Images/ as distributed")
    common.add_output_folder(parser)
    group = parser.add_argument_group("which images")
    group.add_argument("--train-list", metavar="FILE",
                       help="training images: .mat file, or text with one "
                       "path below Images/ per line")
    group.add_argument("--test-list", metavar="FILE", help="test images")
    group.add_argument(
        "--split", action="store_true",
        help="no lists: 100 images of each class, chosen by the seed, are "
        "for training (half if there are fewer than 200)")
    group.add_argument("--calib", metavar="N", type=common.count,
                       help="N training images, chosen by the seed "
                       "(default: all)")
    group.add_argument("--calib-per-class", metavar="N", type=common.count,
                       help="N training images of each class")
    group.add_argument("--test", metavar="N", type=common.count,
                       help="N test images, chosen by the seed "
                       "(default: all)")
    images.add_order_options(group)
    images.add_geometry_options(parser)
    images.add_work_options(parser)
    options = parser.parse_args()
    images.check_options(parser, options)
    if bool(options.train_list) != bool(options.test_list):
        parser.error("--train-list and --test-list go together")
    if options.split and options.train_list:
        parser.error("--split is for data without lists")

    root = os.path.join(options.source, "Images")
    pairs = images.class_folders(root)
    items = [images.Item(os.path.normpath(path), label)
             for label, (_, paths) in enumerate(pairs) for path in paths]
    if not items:
        raise common.DataError(root, "holds no class folders with images")

    if options.split:
        training, test = split(items, options.seed)
    else:
        paths = [options.train_list or find_list(options.source,
                                                 "train_list.mat"),
                 options.test_list or find_list(options.source,
                                                "test_list.mat")]
        if None in paths:
            raise common.DataError(
                options.source, "train_list.mat and test_list.mat are not "
                "there: unpack lists.tar too, or divide the images by --split")
        known = {item.path: item for item in items}
        training, test = [listed(path, root, known) for path in paths]
        both = set(training) & set(test)
        if both:
            raise common.DataError(paths[1], "names %s, which is a training "
                                   "image too" % min(both).path)

    # Nothing is written before both parts have been chosen.
    options.images, options.per_class = options.calib, options.calib_per_class
    training = images.choose(training, options, options.source)
    options.images, options.per_class = options.test, None
    test = images.choose(test, options, options.source)
    for part, file, some in (("training", "stanford-dogs-calib.h5", training),
                             ("test", "stanford-dogs-test.h5", test)):
        images.write(os.path.join(options.output, file), some, options,
                     name="Stanford Dogs, %d %s images" % (len(some), part),
                     source="Stanford Dogs, A. Khosla, N. Jayadevaprakash, "
                     "B. Yao and L. Fei-Fei",
                     classes=[class_name(name) for name, _ in pairs])
    return 0


if __name__ == "__main__":
    common.run(main)
