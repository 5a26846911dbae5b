#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prepare Fashion-MNIST as data-set files (HDF5)."""

import argparse
import os

import common

SOURCE = "/usr/share/datasets/fashion-mnist"
PACKAGE = "dataset-fashion-mnist"

CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]

# Mean and standard deviation of the pixels of the training set, in 0..1.
SCALE = 1.0 / 255.0
MEAN = (0.2860,)
STD = (0.3530,)

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def find(source, stem):
    """The compressed file, or else the unpacked one."""
    for name in (stem + ".gz", stem):
        path = os.path.join(source, name)
        if os.path.isfile(path):
            return path
    wanted = ", ".join(s + ".gz" for pair in FILES.values() for s in pair)
    raise common.DataError(
        os.path.join(source, stem + ".gz"),
        "not found: install the Debian package %s, or put the four files %s "
        "into one folder and name it with --source" % (PACKAGE, wanted))


def load(source, part):
    """Images [N, 1, 28, 28] and labels [N] of "train" or "test"."""
    image_path, label_path = [find(source, stem) for stem in FILES[part]]
    images = common.read_idx(image_path)
    labels = common.read_idx(label_path)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise common.DataError(image_path, "holds shape %s, expected "
                               "[N, 28, 28]" % list(images.shape))
    if labels.shape != images.shape[:1]:
        raise common.DataError(label_path, "holds shape %s for %d images"
                               % (list(labels.shape), images.shape[0]))
    if labels.size == 0:
        raise common.DataError(label_path, "holds no labels")
    if labels.max() >= len(CLASSES):
        raise common.DataError(label_path, "label %d, expected 0..9"
                               % labels.max())
    return images[:, None], labels


def main():
    parser = argparse.ArgumentParser(
        description="Prepare Fashion-MNIST for reap: writes fashion-calib.h5 "
        "(from the training images) and fashion-test.h5 (from the test "
        "images) into the output folder. Images stay 8-bit; the files carry "
        "the normalisation (scale 1/255, mean 0.2860, std 0.3530).",
        epilog="Exit status: 0 done, 2 wrong option, 3 unusable file.")
    parser.add_argument(
        "--source", metavar="FOLDER", default=SOURCE,
        help="folder with the four idx files, .gz or unpacked (default: "
        "%(default)s, from the Debian package " + PACKAGE + ")")
    parser.add_argument(
        "--calib", metavar="N", type=common.count,
        help="take only the first N training images (default: all 60000)")
    parser.add_argument(
        "--test", metavar="N", type=common.count,
        help="take only the first N test images (default: all 10000)")
    common.add_output_folder(parser)
    options = parser.parse_args()

    jobs = []
    for part, file, limit in (("train", "fashion-calib.h5", options.calib),
                              ("test", "fashion-test.h5", options.test)):
        images, labels = load(options.source, part)
        if limit is not None and limit > len(images):
            raise common.DataError(
                options.source, "%d images asked for, the %s set has %d"
                % (limit, part, len(images)))
        jobs.append((part, file, images[:limit], labels[:limit]))

    # Nothing is written before both parts have been read and checked.
    common.make_folder(options.output)
    for part, file, images, labels in jobs:
        common.write_dataset(
            os.path.join(options.output, file), images, labels,
            name="Fashion-MNIST, first %d %s images"
            % (len(images), "training" if part == "train" else "test"),
            source="Fashion-MNIST, (c) 2017 Zalando SE, MIT licence",
            classes=CLASSES, scale=SCALE, mean=MEAN, std=STD)
    return 0


if __name__ == "__main__":
    common.run(main)
