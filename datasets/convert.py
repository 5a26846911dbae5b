#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prepare arrays (.npy, .npz) or a folder of images as a data-set file."""

import argparse
import os
import re

import arrays
import common
import images

# Entries of an array that are converted at a time.
BLOCK = 100


# --- a folder of images ------------------------------------------------------

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


def convert_folder(folder, options):
    items, classes = find(folder)
    if options.per_class and items and not classes:
        raise common.DataError(folder, "has no class folders, which "
                               "--per-class needs; use --images")
    items = images.choose(items, options, folder)
    own = os.path.basename(os.path.abspath(folder))
    images.write(options.output, items, options,
                 name=options.name or "%d images of %s" % (len(items), own),
                 source="folder %s" % own, classes=classes,
                 labelled=bool(classes))


# --- arrays ------------------------------------------------------------------

def is_array(source):
    return not os.path.isdir(source) and (
        "=" in source or re.search(r"\.np[yz](:.*)?$", source))


def load(path):
    """What numpy has in a file: an array, or an archive of them."""
    numpy = common.require("numpy", "numpy")
    try:
        return numpy.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:
        # Damaged files make numpy raise nearly anything.
        reason = ("" if "pickle" in str(error)
                  else " (%s)" % str(error).splitlines()[0])
        raise common.DataError(path, "not a readable .npy or .npz file of "
                               "numbers" + reason) from None


def entry_of(path, archive, name):
    try:
        return archive[name]
    except KeyError:
        raise common.DataError(path, "has no entry \"%s\"; it has: %s" % (
            name, ", ".join(archive.files))) from None
    except Exception as error:
        raise common.DataError(path, "entry \"%s\" cannot be read (%s)" % (
            name, str(error).splitlines()[0])) from None


def arrays_of(source):
    """{entry or None: array} of FILE.npy, FILE.npz or FILE.npz:ENTRY."""
    path, colon, entry = source.rpartition(":")
    if not colon or os.path.exists(source):
        path, entry = source, None
    found = load(path)
    if not hasattr(found, "files"):
        if entry:
            raise common.DataError(path, "holds a single array; leave out "
                                   "\":%s\"" % entry)
        return {None: found}
    with found:
        return {name: entry_of(path, found, name)
                for name in ([entry] if entry else found.files)}


def one_array(source):
    found = arrays_of(source)
    if len(found) != 1:
        raise common.DataError(source, "has several entries (%s); name one: "
                               "%s:ENTRY" % (", ".join(found), source))
    return next(iter(found.values()))


def gather(options):
    """({name of input or None: array}, labels or None) of all sources."""
    inputs, labels = {}, None
    for source in options.sources:
        name, equals, file = source.partition("=")
        if equals and not os.path.exists(source):
            inputs[name] = one_array(file)
            continue
        found = arrays_of(source)
        label_entry = options.labels if options.labels in found else "labels"
        labels = found.pop(label_entry, labels) if len(found) > 1 else labels
        if len(options.sources) > 1 and (len(found) > 1 or None in found):
            raise common.DataError(source, "one of several sources; give the "
                                   "input's name: NAME=%s" % source)
        inputs.update(found if len(found) > 1 or len(options.sources) > 1
                      else {None: next(iter(found.values()))})
    if options.labels and labels is None:
        labels = labels_from(options)
    return inputs, labels


def labels_from(options):
    """--labels: a file, or an entry of the only archive."""
    archive = options.sources[0].rpartition(":")[0] or options.sources[0]
    if os.path.exists(options.labels.rpartition(":")[0] or options.labels):
        return one_array(options.labels)
    return one_array("%s:%s" % (archive, options.labels))


def check(options, inputs, labels):
    """Number of entries; labels as whole numbers [N]."""
    counts = {key or "images": len(a) if a.ndim else 0
              for key, a in inputs.items()}
    if labels is not None:
        counts["labels"] = labels.size
        if (labels.dtype.kind not in "iu"
                or labels.shape[:1] != (labels.size,)):
            raise common.DataError(
                options.labels or options.sources[0], "labels are %s of shape "
                "%s; wanted whole numbers [N]"
                % (labels.dtype, list(labels.shape)))
    if len(set(counts.values())) > 1:
        raise common.DataError(
            options.sources[0], "different numbers of entries (%s); FILE:ENTRY "
            "and --labels take some of them" % ", ".join(
                "%s %d" % pair for pair in counts.items()))
    return next(iter(counts.values()))


def batches(options, inputs, labels, places, form):
    numpy = common.require("numpy", "numpy")
    for start in range(0, len(places), BLOCK):
        at = numpy.array(places[start:start + BLOCK])
        yield ({key: arrays.stored_form(key or options.sources[0], array[at],
                                        form, key is not None)
                for key, array in inputs.items()},
               None if labels is None else labels.reshape(-1)[at])


def convert_arrays(options):
    inputs, labels = gather(options)
    count = check(options, inputs, labels)
    if options.per_class and labels is None:
        raise common.DataError(options.sources[0], "has no labels, which "
                               "--per-class needs; use --images")
    flat = [None] * count if labels is None else labels.reshape(-1).tolist()
    items = images.choose([images.Item(k, flat[k]) for k in range(count)],
                          options, options.sources[0])
    places = [item.path for item in items]
    form = arrays.Form(options.layout, options.grey, options.scale,
                       options.mean, options.std, options.raw)
    folder = os.path.dirname(options.output)
    if folder:
        common.make_folder(folder)
    own = ", ".join(os.path.basename(s) for s in options.sources)
    arrays.write_batches(
        options.output, batches(options, inputs, labels, places, form), form,
        name=images.plain(options.name or "%d entries of %s"
                          % (len(places), own)),
        source=images.plain("arrays %s" % own), level=options.compress,
        origin=images.plain(", ".join(options.sources)))


# --- the program -------------------------------------------------------------

def parse():
    parser = argparse.ArgumentParser(
        description="Prepare data for reap. A folder: its sub-folders are "
        "classes, in the order of their names; without sub-folders there are "
        "no labels. Arrays: images [N, C, H, W], or what else the network "
        "takes; uint8 stays, float16 and float64 become float32. Entries of "
        "an archive are inputs of these names, if there are several; the "
        "entry \"labels\" has the labels. The normalisation has to be the one "
        "the network was trained with.",
        epilog=images.EPILOG)
    parser.add_argument(
        "sources", metavar="SOURCE", nargs="+",
        help="FOLDER of class folders or of images; FILE.npy, FILE.npz or "
        "FILE.npz:ENTRY; for a network of several inputs NAME=FILE.npy ...")
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True,
        help="file to write; its folder is created if missing")
    parser.add_argument(
        "--name", metavar="TEXT",
        help="what the file says the data are (default: the source's name)")
    group = parser.add_argument_group("arrays")
    group.add_argument(
        "--labels", metavar="FILE|ENTRY",
        help="labels [N]: FILE.npy, FILE.npz:ENTRY, or an entry of SOURCE")
    group.add_argument(
        "--layout", choices=("nchw", "nhwc"),
        help="where channels are; with nhwc also grey images [N, H, W] "
        "(default: nchw; asked for if it looks otherwise)")
    group.add_argument(
        "--scale", metavar="S", type=common.positive,
        help="factor before mean and std (default: 1/255 for uint8; floating "
        "point arrays stay as they are without --mean and --std)")
    images.add_choice_options(parser)
    images.add_geometry_options(parser, any_channels=True)
    images.add_work_options(parser)
    return parser, parser.parse_args()


def main():
    parser, options = parse()
    images.check_options(parser, options)
    if (options.mean is None) != (options.std is None):
        parser.error("--mean and --std belong together")
    folders = [s for s in options.sources if not is_array(s)]
    if not folders:
        convert_arrays(options)
        return 0
    if len(options.sources) > 1:
        raise common.DataError(folders[0], "a folder of images has to be the "
                               "only source; arrays are .npy and .npz files")
    if options.labels or options.layout or options.scale:
        parser.error("--labels, --layout and --scale are for arrays")
    convert_folder(folders[0], options)
    return 0


if __name__ == "__main__":
    common.run(main)
