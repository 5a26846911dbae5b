# SPDX-License-Identifier: BSD-3-Clause
"""What the scripts for folders of images share: finding, choosing, converting.

Images are decoded and brought to one size by several processes, with Pillow,
in the way that ImageNet networks are evaluated: the shorter side is resized,
then the centre is cut out. They stay 8-bit; mean and standard deviation go
with the file. Only a few images are in memory at a time.
"""

import argparse
import collections
import concurrent.futures
import os
import random
import re
import signal
import sys
import time

import common

SCALE = 1.0 / 255.0
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

ENDINGS = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png",
           ".pnm", ".ppm", ".tif", ".tiff", ".webp")

# Images per task of a process.
BATCH = 8

# An image to be converted: where it is, and its label (None without).
Item = collections.namedtuple("Item", "path label")

Geometry = collections.namedtuple(
    "Geometry", "resize crop stretch filter orientation grey",
    defaults=(False,))


# --- one image ---------------------------------------------------------------

def pillow():
    """The modules of Pillow in use."""
    common.require("PIL", "pil", "pillow")
    import PIL.Image
    import PIL.ImageOps
    return PIL.Image, PIL.ImageOps


def to_rgb(image):
    """An 8-bit RGB image from any that Pillow reads."""
    numpy = common.require("numpy", "numpy")
    Image, _ = pillow()
    if image.mode.startswith("I"):
        # Grey of 16 bits. Pillow would cut off what is above 255.
        grey = numpy.asarray(image).astype(numpy.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("its grey levels are out of range")
        image = Image.fromarray((grey >> 8).astype(numpy.uint8))
    if image.mode == "F":
        raise ValueError("it holds floating point numbers")
    if image.mode == "P" and "transparency" in image.info:
        # Pillow advises this; the colours come out the same.
        image = image.convert("RGBA")
    return image.convert("RGB")


def fit(image, geometry):
    """The image in the size that is wanted."""
    Image, _ = pillow()
    resample = {"bilinear": Image.BILINEAR,
                "bicubic": Image.BICUBIC}[geometry.filter]
    if geometry.stretch:
        height, width = geometry.stretch
        if image.size != (width, height):
            image = image.resize((width, height), resample)
        return image

    # In whole numbers and rounded as torchvision does it, so that accuracies
    # are those measured with it.
    width, height = image.size
    short = min(width, height)
    if short != geometry.resize:
        width, height = [
            geometry.resize if side == short
            else int(geometry.resize * side / short)
            for side in (width, height)]
        image = image.resize((width, height), resample)
    left = int(round((width - geometry.crop) / 2.0))
    top = int(round((height - geometry.crop) / 2.0))
    return image.crop((left, top, left + geometry.crop, top + geometry.crop))


def decode(path, geometry):
    """One image file as uint8 [C, H, W]; raises nearly anything if broken."""
    numpy = common.require("numpy", "numpy")
    Image, ImageOps = pillow()
    with Image.open(path) as image:
        image.load()
        if geometry.orientation == "exif":
            image = ImageOps.exif_transpose(image) or image
        image = to_rgb(image)
        image = image.convert("L") if geometry.grey else image
        pixels = numpy.atleast_3d(numpy.asarray(fit(image, geometry)))
    return numpy.ascontiguousarray(pixels.transpose(2, 0, 1))


def output_shape(geometry):
    """[C, H, W] of what decode() gives."""
    channels = 1 if geometry.grey else 3
    if geometry.stretch:
        return (channels,) + tuple(geometry.stretch)
    return (channels, geometry.crop, geometry.crop)


# --- many images -------------------------------------------------------------

def start_worker():
    """The main process alone reacts to an interrupt."""
    import warnings
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")


def decode_batch(paths, geometry):
    """For each path its pixels, or the reason why there are none."""
    results = []
    for path in paths:
        try:
            results.append(decode(path, geometry))
        except MemoryError:
            raise common.DataError(
                path, "not enough memory to decode it; use fewer --jobs, or "
                "take it away") from None
        except Exception as error:
            # Damaged files make decoders raise nearly anything.
            reason = getattr(error, "strerror", None) or str(error)
            lines = reason.splitlines() or [type(error).__name__]
            # Pillow repeats the path.
            results.append(re.sub(r" '?%s'?$" % re.escape(path), "",
                                  lines[0]))
    return results


class Progress:
    """How far it is and how long it will take, on standard error."""

    def __init__(self, label, total, quiet):
        self.label = label
        self.total = total
        self.quiet = quiet
        self.terminal = sys.stderr.isatty()
        self.begin = time.monotonic()
        self.shown = self.begin
        self.done = 0

    def clear(self):
        if self.terminal and not self.quiet:
            sys.stderr.write("\r\x1b[K")

    def message(self, text):
        self.clear()
        print(text, file=sys.stderr, flush=True)

    def step(self):
        self.done += 1
        now = time.monotonic()
        # Lines of a log are further apart than changes of a terminal's line.
        interval = 0.5 if self.terminal else 10.0
        if self.quiet or now - self.shown < interval:
            return
        self.shown = now
        rate = self.done / (now - self.begin)
        left = int((self.total - self.done) / rate + 0.5)
        text = ("%s: %d of %d images, %.0f per second, %d:%02d:%02d to go"
                % (self.label, self.done, self.total, rate, left // 3600,
                   left // 60 % 60, left % 60))
        self.clear()
        sys.stderr.write(text if self.terminal else text + "\n")
        sys.stderr.flush()


def converted(items, geometry, jobs, strict, progress):
    """Pixels and label of each item in order; broken ones are left out."""
    batches = (items[i:i + BATCH] for i in range(0, len(items), BATCH))
    waiting = collections.deque()
    pool = concurrent.futures.ProcessPoolExecutor(jobs,
                                                  initializer=start_worker)

    def refill():
        while len(waiting) < 2 * jobs + 1:
            batch = next(batches, None)
            if batch is None:
                return
            waiting.append((batch, pool.submit(
                decode_batch, [item.path for item in batch], geometry)))

    try:
        refill()
        while waiting:
            batch, future = waiting.popleft()
            results = future.result()
            refill()
            for item, result in zip(batch, results):
                if isinstance(result, str):
                    if strict:
                        raise common.DataError(item.path, result)
                    progress.message("%s: skipped: %s" % (item.path, result))
                else:
                    yield result, item.label
                progress.step()
    except concurrent.futures.process.BrokenProcessPool:
        raise common.DataError(
            "decoding", "a process was ended from outside; with little "
            "memory, use fewer --jobs") from None
    finally:
        progress.clear()
        pool.shutdown(cancel_futures=True)


def write(path, items, options, name, source, classes, labelled=True):
    """Convert the items and write them as a data-set file."""
    pillow()
    folder = os.path.dirname(path)
    if folder:
        common.make_folder(folder)
    geometry = geometry_of(options)
    scale, mean, std = normalisation_of(options, output_shape(geometry)[0])
    progress = Progress(os.path.basename(path), len(items), options.quiet)
    images = converted(items, geometry, options.jobs, options.strict, progress)
    try:
        common.stream_dataset(
            path, len(items), output_shape(geometry), images,
            name=plain(name), source=plain(source),
            classes=[plain(c) for c in classes], scale=scale,
            mean=mean, std=std, labelled=labelled,
            level=options.compress, jobs=options.jobs)
    finally:
        images.close()


# --- finding and choosing ----------------------------------------------------

def visible(folder):
    """Names in a folder, sorted; hidden ones are left out."""
    if not os.path.isdir(folder):
        reason = "is not a folder" if os.path.exists(folder) else "not found"
        raise common.DataError(folder, reason)
    return sorted(n for n in os.listdir(folder) if not n.startswith("."))


def is_image(name):
    return name.lower().endswith(ENDINGS)


def files_below(folder):
    """Image files in a folder and all folders in it, sorted by path."""
    found = []
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        found += [os.path.join(base, f) for f in files
                  if is_image(f) and not f.startswith(".")]
    return sorted(found)


def flat_files(folder):
    """Image files directly in a folder, sorted."""
    return [os.path.join(folder, n) for n in visible(folder) if is_image(n)
            and not os.path.isdir(os.path.join(folder, n))]


def class_folders(folder):
    """Pairs of a sub-folder's name and its image files, sorted by name."""
    pairs = [(n, files_below(os.path.join(folder, n)))
             for n in visible(folder)
             if os.path.isdir(os.path.join(folder, n))]
    if not any(files for _, files in pairs):
        return []
    # Left out silently, it would shift the labels of all behind it.
    for name, files in pairs:
        if not files:
            raise common.DataError(os.path.join(folder, name),
                                   "a class folder that holds no images")
    return pairs


def choose(items, options, where):
    """The items asked for by --images or --per-class, in the order wanted.

    Items come sorted, so that the choice depends on the seed and the names
    alone.
    """
    if not items:
        raise common.DataError(where, "holds no images (%s)"
                               % " ".join(e[1:] for e in ENDINGS))
    items = list(items)
    place = {item: i for i, item in enumerate(items)}
    random.Random(options.seed).shuffle(items)
    if options.per_class:
        taken, counts = [], collections.Counter()
        for item in items:
            if counts[item.label] < options.per_class:
                counts[item.label] += 1
                taken.append(item)
        for label, count in sorted(counts.items(), key=lambda c: str(c[0])):
            if count < options.per_class:
                raise common.DataError(
                    where, "%d images per class asked for, %d found in %s"
                    % (options.per_class, count,
                       "all" if label is None else "class %d" % label))
        items = taken
    if options.images:
        if len(items) < options.images:
            raise common.DataError(where, "%d images asked for, %d found"
                                   % (options.images, len(items)))
        items = items[:options.images]
    if options.sorted:
        items.sort(key=place.get)
    return items


def read_lines(path):
    """Lines of a text file with their numbers, blank ones left out."""
    try:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except UnicodeDecodeError:
        raise common.DataError(path, "is not a text file") from None
    pairs = [(i, line.strip()) for i, line in enumerate(lines, 1)
             if line.strip()]
    if not pairs:
        raise common.DataError(path, "is empty")
    return pairs


def load_mat(path):
    """Contents of a MATLAB file, which takes SciPy."""
    common.require("scipy", "scipy")
    import scipy.io
    try:
        return scipy.io.loadmat(path)
    except OSError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise common.DataError(path, "not a readable MATLAB file (%s)"
                               % reason) from None


# --- options -----------------------------------------------------------------

def add_geometry_options(parser, resize=256, crop=224, filter="bilinear",
                         orientation="exif", any_channels=False):
    group = parser.add_argument_group("what becomes of each image")
    group.add_argument(
        "--resize", metavar="N", type=common.count, default=resize,
        help="resize the shorter side to N, keeping proportions "
        "(default: %(default)s)")
    group.add_argument(
        "--crop", metavar="N", type=common.count, default=crop,
        help="then cut N x N out of the centre (default: %(default)s)")
    group.add_argument(
        "--stretch", metavar=("H", "W"), nargs=2, type=common.count,
        help="instead of both: resize to H x W whatever the proportions")
    group.add_argument(
        "--filter", choices=("bilinear", "bicubic"), default=filter,
        help="interpolation, both with anti-aliasing (default: %(default)s)")
    group.add_argument(
        "--orientation", choices=("exif", "ignore"), default=orientation,
        help="turn images as their EXIF data say, or leave them as stored "
        "(default: %(default)s)")
    nargs = ({"nargs": "+", "metavar": "M"} if any_channels
             else {"nargs": 3, "metavar": ("R", "G", "B")})
    group.add_argument(
        "--mean", type=common.number, **nargs,
        help="mean of each channel, of pixels in 0..1 (default for colour "
        "images in files: 0.485 0.456 0.406, as ImageNet networks use)")
    group.add_argument(
        "--std", type=common.positive, **nargs,
        help="standard deviation of each channel (default for colour images "
        "in files: 0.229 0.224 0.225)")
    if any_channels:
        group.add_argument(
            "--grey", action="store_true", help="colours become one channel "
            "of grey; --mean and --std have one value then")
        group.add_argument(
            "--raw", action="store_true", help="the network takes bytes: "
            "neither scale, mean nor std")
    else:
        parser.set_defaults(grey=False, raw=False)


def seed(text):
    """Argument type: a seed, any whole number from 0."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError("'%s' is not a seed" % text)
    return int(text)


def level(text):
    """Argument type: a gzip level."""
    if not re.fullmatch("[0-9]", text):
        raise argparse.ArgumentTypeError("'%s' is not in 0..9" % text)
    return int(text)


def add_choice_options(parser):
    group = parser.add_argument_group("which images")
    group.add_argument(
        "--images", metavar="N", type=common.count,
        help="N images in all, chosen by the seed (default: all)")
    group.add_argument(
        "--per-class", metavar="N", type=common.count,
        help="N images of each class, chosen by the seed")
    add_order_options(group)


def add_order_options(group):
    group.add_argument(
        "--seed", metavar="S", type=seed, default=0,
        help="seed of choice and order (default: 0)")
    group.add_argument(
        "--sorted", action="store_true",
        help="write images sorted by class and name (default: mixed, so that "
        "the first images of a file hold all classes)")


def processors():
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def plain(text):
    """Text that UTF-8 can hold; names of files may be any bytes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def add_work_options(parser):
    group = parser.add_argument_group("how")
    group.add_argument(
        "-j", "--jobs", metavar="N", type=common.count,
        default=processors(),
        help="processes that decode (default: as many as processors, "
        "%(default)s here); the file does not depend on it")
    group.add_argument(
        "--strict", action="store_true",
        help="stop at an image that cannot be read (default: name and skip "
        "it)")
    group.add_argument(
        "--compress", metavar="LEVEL", type=level, default=4,
        help="gzip level, 0 to 9 (default: 4)")
    group.add_argument(
        "-q", "--quiet", action="store_true", help="show no progress")


def check_options(parser, options):
    """What the options must fulfil together."""
    if not options.stretch and options.crop > options.resize:
        parser.error("--crop %d does not fit into --resize %d"
                     % (options.crop, options.resize))
    if options.raw and (options.mean or options.std):
        parser.error("--raw leaves nothing for --mean and --std to do")


def normalisation_of(options, channels):
    """(scale, mean, std) of decoded images."""
    if options.raw:
        return 1, [0] * channels, [1] * channels
    if options.grey and not (options.mean and options.std):
        raise common.DataError("--grey", "needs --mean and --std of grey "
                               "images, as the network was trained, or --raw")
    return SCALE, *(list(values) * channels if len(values) == 1 else values
                    for values in (options.mean or MEAN, options.std or STD))


def geometry_of(options):
    stretch = tuple(options.stretch) if options.stretch else None
    return Geometry(options.resize, options.crop, stretch, options.filter,
                    options.orientation, options.grey)


EPILOG = ("Exit status: 0 done, 2 wrong option, 3 unusable file. An output "
          "file is complete or absent.")
