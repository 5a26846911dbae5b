#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prepare CIFAR-10 as data-set files (HDF5)."""

import argparse
import io
import os
import pickle
import tarfile

import common

CLASSES = ["airplane", "automobile", "bird", "cat", "deer",
           "dog", "frog", "horse", "ship", "truck"]

PIXELS = 3 * 32 * 32
SCALE = 1.0 / 255.0

TRAIN = ["data_batch_%d" % i for i in range(1, 6)]
TEST = ["test_batch"]

# A batch holds 10000 images, about 31 MB. The limit keeps a wrong or hostile
# archive from filling the memory.
LARGEST_BATCH = 256 << 20


class FolderSource:
    """The unpacked archive, or a folder in which it was unpacked."""

    def __init__(self, path):
        self.path = path
        for inner in ("", "cifar-10-batches-py", "cifar-10-batches-bin"):
            folder = os.path.join(path, inner)
            for suffix in ("", ".bin"):
                if os.path.isfile(os.path.join(folder, TRAIN[0] + suffix)):
                    self.folder = folder
                    self.suffix = suffix
                    return
        raise common.DataError(path, "holds neither %s nor %s.bin"
                               % (TRAIN[0], TRAIN[0]))

    def read(self, name):
        path = os.path.join(self.folder, name + self.suffix)
        if not os.path.isfile(path):
            raise common.DataError(path, "not found")
        if os.path.getsize(path) > LARGEST_BATCH:
            raise common.DataError(path, "too large for a CIFAR-10 batch")
        with open(path, "rb") as stream:
            return path, stream.read()


class ArchiveSource:
    """The archive as distributed; nothing is unpacked to disk."""

    def __init__(self, path):
        self.path = path
        self.batches = {}
        wanted = {name + suffix for name in TRAIN + TEST
                  for suffix in ("", ".bin")}
        try:
            with common.open_plain(path) as stream:
                with tarfile.open(fileobj=stream, mode="r:") as archive:
                    for member in archive:
                        name = os.path.basename(member.name)
                        if not member.isfile() or name not in wanted:
                            continue
                        if member.size > LARGEST_BATCH:
                            raise common.DataError(
                                "%s(%s)" % (path, member.name),
                                "too large for a CIFAR-10 batch")
                        file = archive.extractfile(member)
                        self.batches[name] = file.read()
                # gzip compares its checksum at the end of the file, which
                # tarfile has no reason to reach.
                while stream.read(1 << 20):
                    pass
        except common.GZIP_ERRORS as error:
            raise common.DataError(path, "damaged gzip data (%s)"
                                   % error) from None
        except tarfile.TarError as error:
            raise common.DataError(path, "not a readable tar archive (%s)"
                                   % error) from None
        if TRAIN[0] in self.batches:
            self.suffix = ""
        elif TRAIN[0] + ".bin" in self.batches:
            self.suffix = ".bin"
        else:
            raise common.DataError(path, "holds neither %s nor %s.bin"
                                   % (TRAIN[0], TRAIN[0]))

    def read(self, name):
        label = "%s(%s)" % (self.path, name + self.suffix)
        if name + self.suffix not in self.batches:
            raise common.DataError(label, "not found in the archive")
        return label, self.batches[name + self.suffix]


class PickledArray:
    """Stands for numpy.ndarray: keeps what was pickled, runs nothing."""

    state = None

    def __setstate__(self, state):
        self.state = state


class PickledType:
    """Stands for numpy.dtype."""

    def __init__(self, code="", *_):
        self.code = code

    def __setstate__(self, state):
        pass


def new_array(*_):
    """Stands for the function that numpy's pickles call first."""
    return PickledArray()


class BatchUnpickler(pickle.Unpickler):
    """Reads a batch without letting the file name anything to be run.

    A pickle can call any function it names. The batches name three things of
    numpy, and those get the stand-ins above; all else is refused. It also
    makes the batches readable whatever numpy calls its modules.
    """

    ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"): new_array,
        ("numpy._core.multiarray", "_reconstruct"): new_array,
        ("numpy", "ndarray"): PickledArray,
        ("numpy", "dtype"): PickledType,
    }

    def find_class(self, module, name):
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                "names %s.%s, which a CIFAR-10 batch has no use for"
                % (module, name)) from None


def parse_pickle(path, data):
    """Images [N, 3072] and labels [N] of a python batch."""
    numpy = common.require("numpy", "numpy")
    try:
        # The batches were written by Python 2: its strings are bytes here.
        batch = BatchUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:
        # A damaged pickle can raise nearly anything.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise common.DataError(path, "not a CIFAR-10 batch (%s)"
                               % reason) from None
    if not isinstance(batch, dict):
        raise common.DataError(path, "not a CIFAR-10 batch (no dictionary)")
    array = batch.get(b"data", batch.get("data"))
    labels = batch.get(b"labels", batch.get("labels"))
    if not isinstance(array, PickledArray) or not isinstance(labels, list):
        raise common.DataError(path, "holds no 'data' array or 'labels' list")
    if not all(type(label) is int and 0 <= label < len(CLASSES)
               for label in labels):
        raise common.DataError(path, "holds labels other than 0..9")

    try:
        _, shape, kind, by_columns, raw = array.state
        # An element type is "u1" or "|u1", as bytes or as text.
        fits = (isinstance(kind, PickledType)
                and kind.code in (b"u1", "u1", b"|u1", "|u1")
                and isinstance(raw, bytes)
                and tuple(shape) == (len(labels), PIXELS)
                and len(raw) == len(labels) * PIXELS)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise common.DataError(path, "'data' is not %d x %d unsigned bytes"
                               % (len(labels), PIXELS))
    images = numpy.frombuffer(raw, numpy.uint8)
    return (images.reshape(shape, order="F" if by_columns else "C"),
            numpy.array(labels, numpy.int32))


def parse_binary(path, data):
    """Images [N, 3072] and labels [N] of a binary batch."""
    numpy = common.require("numpy", "numpy")
    if len(data) == 0 or len(data) % (PIXELS + 1) != 0:
        raise common.DataError(path, "%d bytes are no whole number of records "
                               "of %d bytes" % (len(data), PIXELS + 1))
    records = numpy.frombuffer(data, numpy.uint8).reshape(-1, PIXELS + 1)
    labels = records[:, 0].astype(numpy.int32)
    if labels.max() >= len(CLASSES):
        raise common.DataError(path, "holds labels other than 0..9")
    return records[:, 1:], labels


def load(source, names, limit):
    """The first images and labels of some batches, all without a limit."""
    numpy = common.require("numpy", "numpy")
    images, labels, number = [], [], 0
    for name in names:
        if limit is not None and number >= limit:
            break
        path, data = source.read(name)
        parse = parse_binary if source.suffix else parse_pickle
        some_images, some_labels = parse(path, data)
        images.append(some_images)
        labels.append(some_labels)
        number += len(some_labels)
    if number == 0:
        raise common.DataError(source.path, "holds no images")
    if limit is not None and number < limit:
        raise common.DataError(
            source.path, "%d images asked for, %d found in %s"
            % (limit, number, ", ".join(names)))
    # Each record holds the red, then the green, then the blue plane.
    return (numpy.concatenate(images)[:limit].reshape(-1, 3, 32, 32),
            numpy.concatenate(labels)[:limit])


def main():
    parser = argparse.ArgumentParser(
        description="Prepare CIFAR-10 for reap: writes cifar10-calib.h5 (from "
        "the training images) and cifar10-test.h5 (from the test images) into "
        "the output folder. Images stay 8-bit; the files carry the "
        "normalisation, which has to be the one the network was trained with.",
        epilog="Exit status: 0 done, 2 wrong option, 3 unusable file.")
    parser.add_argument(
        "source", metavar="SOURCE",
        help="cifar-10-python.tar.gz or cifar-10-binary.tar.gz as "
        "distributed, or the folder cifar-10-batches-py or "
        "cifar-10-batches-bin")
    parser.add_argument(
        "--calib", metavar="N", type=common.count,
        help="take only the first N training images (default: all 50000)")
    parser.add_argument(
        "--test", metavar="N", type=common.count,
        help="take only the first N test images (default: all 10000)")
    parser.add_argument(
        "--mean", metavar=("R", "G", "B"), nargs=3, type=common.number,
        default=(0.485, 0.456, 0.406),
        help="mean of each channel, of pixels in 0..1 (default: 0.485 0.456 "
        "0.406, as common CIFAR networks use)")
    parser.add_argument(
        "--std", metavar=("R", "G", "B"), nargs=3, type=common.positive,
        default=(0.229, 0.224, 0.225),
        help="standard deviation of each channel (default: 0.229 0.224 0.225)")
    common.add_output_folder(parser)
    options = parser.parse_args()

    if os.path.isdir(options.source):
        source = FolderSource(options.source)
    else:
        source = ArchiveSource(options.source)
    jobs = [("training", "cifar10-calib.h5",
             load(source, TRAIN, options.calib)),
            ("test", "cifar10-test.h5", load(source, TEST, options.test))]

    # Nothing is written before both parts have been read and checked.
    common.make_folder(options.output)
    for part, file, (images, labels) in jobs:
        common.write_dataset(
            os.path.join(options.output, file), images, labels,
            name="CIFAR-10, first %d %s images" % (len(images), part),
            source="CIFAR-10, A. Krizhevsky, V. Nair and G. Hinton",
            classes=CLASSES, scale=SCALE, mean=options.mean, std=options.std)
    return 0


if __name__ == "__main__":
    common.run(main)
