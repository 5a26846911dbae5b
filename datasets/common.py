# SPDX-License-Identifier: BSD-3-Clause
"""What the data-set scripts share: the data-set file, idx files, errors.

A data-set file is an HDF5 file:

  /images   uint8 or float32 [N, C, H, W]
              attributes  layout  "NCHW"
                          scale   float32          (uint8 images only)
                          mean    float32 [C]      (uint8 images only)
                          std     float32 [C]      (uint8 images only)
            from uint8 images the network sees (images * scale - mean) / std,
            float32 images are given to the network as they are
  /labels   int32 [N], optional
  /         attributes  name, source, classes (strings)
"""

import argparse
import collections
import concurrent.futures
import gzip
import math
import os
import sys
import zlib

EXIT_BAD_INPUT = 3

# Images per chunk. A chunk is what a reader has to decompress at once: about
# 100 small images keep that well below a megabyte, and still compress nearly
# as well as the whole.
CHUNK = 100


class DataError(Exception):
    """A file that cannot be used: shown to the user as one line."""

    def __init__(self, path, reason):
        # Kept as they are, so that the error can pass between processes.
        super().__init__(path, reason)

    def __str__(self):
        return "%s: %s" % self.args


def require(module, package, pypi=None):
    """Import a module, or say which Debian and PyPI package brings it."""
    try:
        return __import__(module)
    except ImportError:
        raise DataError("Python module '%s'" % module,
                        "not installed (Debian: python3-%s, PyPI: %s)"
                        % (package, pypi or package)) from None


def run(main):
    """Run main() and turn unusable files into one line and exit status 3."""
    program = os.path.basename(sys.argv[0])
    try:
        status = main()
    except DataError as error:
        print("%s: error: %s" % (program, error), file=sys.stderr)
        status = EXIT_BAD_INPUT
    except OSError as error:
        where = error.filename or "input or output"
        reason = error.strerror or str(error)
        print("%s: error: %s: %s" % (program, where, reason), file=sys.stderr)
        status = EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("%s: interrupted" % program, file=sys.stderr)
        status = 130
    sys.exit(status)


def count(text):
    """Argument type: a number of images, at least one."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError("'%s' is not a positive number"
                                         % text)
    return value


def number(text):
    """Argument type: a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError("'%s' is not a number" % text)
    return value


def positive(text):
    """Argument type: a finite number above zero."""
    value = number(text)
    if value <= 0.0:
        raise argparse.ArgumentTypeError("'%s' is not above zero" % text)
    return value


def add_output_folder(parser):
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default=".",
        help="folder to write to, created if missing (default: here)")


def make_folder(path):
    """Create the output folder if it is missing."""
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError:
        raise DataError(path, "exists and is not a folder") from None


def replace_file(path, write):
    """Have write(temporary name) produce path, which is complete or absent.

    The file is written aside and renamed at the end, so that a program that
    opens it meanwhile, or a full disk, never leaves half a file in its place.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(path, "exists and is not a regular file")
    aside = path + ".tmp"
    try:
        write(aside)
        os.replace(aside, path)
    except BaseException as error:
        if os.path.isfile(aside):
            os.unlink(aside)
        if isinstance(error, OSError) and error.filename in (None, aside):
            reason = error.strerror or str(error).splitlines()[0]
            raise DataError(path, reason) from None
        raise


# What reading damaged gzip data raises.
GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)


def open_plain(path):
    """Open a file for reading, decompressing it if it is gzip-compressed."""
    with open(path, "rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else open(path, "rb")


def read_idx(path):
    """Read an idx file of unsigned bytes, gzip-compressed or plain."""
    numpy = require("numpy", "numpy")
    try:
        with open_plain(path) as stream:
            data = stream.read()
    except GZIP_ERRORS as error:
        raise DataError(path, "damaged gzip data (%s)" % error) from None

    # Header: two zero bytes, the element type (8 is unsigned byte), the number
    # of dimensions, then each dimension as a big-endian 32-bit number.
    if len(data) < 4 or data[0] != 0 or data[1] != 0:
        raise DataError(path, "not an idx file")
    if data[2] != 8:
        raise DataError(path, "holds element type 0x%02x, expected unsigned "
                        "bytes" % data[2])
    rank = data[3]
    start = 4 + 4 * rank
    if rank == 0 or len(data) < start:
        raise DataError(path, "idx header is incomplete")
    shape = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big")
             for i in range(rank)]
    size = 1
    for extent in shape:
        size *= extent
    if len(data) - start != size:
        raise DataError(path, "holds %d bytes of data, its header announces %d"
                        % (len(data) - start, size))
    return numpy.frombuffer(data, numpy.uint8, offset=start).reshape(shape)


def normalisation(path, channels, scale, mean, std):
    """Scale, mean and std as they are stored with uint8 images."""
    numpy = require("numpy", "numpy")
    if scale is None or mean is None or std is None:
        raise DataError(path, "uint8 images need scale, mean and std")
    scale = numpy.float32(scale)
    mean = numpy.asarray(mean, numpy.float32)
    std = numpy.asarray(std, numpy.float32)
    for what, values in (("mean", mean), ("std", std)):
        if values.shape != (channels,):
            raise DataError(path, "%s has %d values for %d channels"
                            % (what, values.size, channels))
        if not numpy.isfinite(values).all():
            raise DataError(path, "%s is not finite" % what)
    if not (std > 0).all():
        raise DataError(path, "std has to be above zero")
    return {"scale": scale, "mean": mean, "std": std}


def check_labels(path, labels, count, classes):
    """Labels as they are stored."""
    numpy = require("numpy", "numpy")
    labels = numpy.asarray(labels, numpy.int32)
    if labels.shape != (count,):
        raise DataError(path, "%d labels for %d images" % (labels.size, count))
    if labels.min() < 0:
        raise DataError(path, "label %d is below zero" % labels.min())
    if classes and labels.max() >= len(classes):
        raise DataError(path, "label %d, but only %d classes"
                        % (labels.max(), len(classes)))
    return labels


def write_head(file, name, source, classes):
    """The attributes of the file itself."""
    h5py = require("h5py", "h5py")
    file.attrs["name"] = name
    file.attrs["source"] = source
    # The type is given, or else an empty list would become numbers.
    file.attrs.create("classes", list(classes), (len(classes),),
                      h5py.string_dtype())


def report(path, images, skipped=0):
    """Say what was written."""
    print("%s: %d images %dx%dx%d %s, %d bytes%s"
          % (path, *images.shape, images.dtype, os.path.getsize(path),
             ", %d skipped" % skipped if skipped else ""))


def write_dataset(path, images, labels, name, source, classes,
                  scale=None, mean=None, std=None):
    """Write one data-set file; scale, mean and std are for uint8 images.

    labels may be None, and classes empty.
    """
    numpy = require("numpy", "numpy")
    h5py = require("h5py", "h5py")

    images = numpy.ascontiguousarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise DataError(path, "images have shape %s, expected [N, C, H, W]"
                        % list(images.shape))
    if images.dtype not in (numpy.uint8, numpy.float32):
        raise DataError(path, "images are %s, expected uint8 or float32"
                        % images.dtype)
    factors = {}
    if images.dtype == numpy.uint8:
        factors = normalisation(path, images.shape[1], scale, mean, std)
    if labels is not None:
        labels = check_labels(path, labels, images.shape[0], classes)

    def write(aside):
        chunk = min(CHUNK, images.shape[0])
        # The file is built in memory, because the HDF5 library does not
        # survive a full disk: writing the bytes here gives a clean error.
        with h5py.File(aside, "w", driver="core", backing_store=False) as file:
            write_head(file, name, source, classes)
            data = file.create_dataset(
                "images", data=images, chunks=(chunk,) + images.shape[1:],
                shuffle=True, compression="gzip", compression_opts=9)
            data.attrs["layout"] = "NCHW"
            for key, value in factors.items():
                data.attrs[key] = value
            if labels is not None:
                file.create_dataset("labels", data=labels)
            file.flush()
            content = file.id.get_file_image()
        with open(aside, "wb") as stream:
            stream.write(content)

    replace_file(path, write)
    report(path, images)


class Sink:
    """A file for h5py that keeps the first error instead of passing it on.

    The HDF5 library does not survive a full disk: it cannot close a file that
    it cannot write to. Here it can; what it writes after the error is lost,
    and the writer has to look at `error`.
    """

    def __init__(self, stream):
        self.stream = stream
        self.error = None

    def _try(self, call, otherwise):
        if self.error is None:
            try:
                return call()
            except OSError as error:
                self.error = error
        return otherwise

    def seek(self, offset, whence=0):
        return self._try(lambda: self.stream.seek(offset, whence), offset)

    def tell(self):
        return self._try(self.stream.tell, 0)

    def write(self, data):
        return self._try(lambda: self.stream.write(data), len(data))

    def truncate(self, size):
        return self._try(lambda: self.stream.truncate(size), size)

    def flush(self):
        self._try(self.stream.flush, None)

    def readinto(self, buffer):
        return self._try(lambda: self.stream.readinto(buffer), 0)

    def read(self, size=-1):
        # h5py takes for a file what has this method; it calls readinto().
        return self._try(lambda: self.stream.read(size), b"")

    def check(self):
        if self.error is not None:
            raise self.error


def stream_dataset(path, total, shape, images, name, source, classes,
                   scale, mean, std, labelled=True, level=4, jobs=1):
    """Write a data-set file of any size from an iterator.

    images gives at most `total` pairs of a uint8 array of `shape` [C, H, W]
    and a label (ignored unless labelled). Only some chunks are in memory at a
    time; `jobs` of them are compressed at once. Returns the number written.
    """
    numpy = require("numpy", "numpy")
    h5py = require("h5py", "h5py")
    factors = normalisation(path, shape[0], scale, mean, std)
    size = math.prod(shape)
    # Large images: fewer per chunk, as one may be needed alone.
    chunk = max(1, min(CHUNK, total, (1 << 20) // size))
    written = 0

    def compressed(pool):
        """Compressed chunks in order, a few ahead of the one that is due."""
        waiting = collections.deque()
        block = numpy.zeros((chunk,) + shape, numpy.uint8)
        filled = 0
        for image, label in images:
            block[filled] = image
            labels.append(label)
            filled += 1
            if filled == chunk:
                waiting.append(pool.submit(zlib.compress, block, level))
                block, filled = numpy.zeros_like(block), 0
            while len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        if filled:
            waiting.append(pool.submit(zlib.compress, block, level))
        while waiting:
            yield waiting.popleft().result()

    def write(aside):
        nonlocal written
        with open(aside, "w+b") as stream:
            sink = Sink(stream)
            with h5py.File(sink, "w") as file:
                write_head(file, name, source, classes)
                data = file.create_dataset(
                    "images", (total,) + shape, numpy.uint8,
                    chunks=(chunk,) + shape, maxshape=(total,) + shape,
                    compression="gzip", compression_opts=level)
                data.attrs["layout"] = "NCHW"
                for key, value in factors.items():
                    data.attrs[key] = value
                with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
                    for i, content in enumerate(compressed(pool)):
                        data.id.write_direct_chunk((i * chunk, 0, 0, 0),
                                                   content)
                        sink.check()
                written = len(labels)
                if written == 0:
                    raise DataError(path, "no image is left to be written")
                if written < total:
                    data.resize(written, axis=0)
                if labelled:
                    file.create_dataset("labels", data=check_labels(
                        path, labels, written, classes))
            sink.flush()
            sink.check()

    labels = []
    replace_file(path, write)
    with h5py.File(path, "r") as file:
        report(path, file["images"], total - written)
    return written
