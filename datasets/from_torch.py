#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write what a PyTorch DataLoader gives as a data-set file.

In a program of one's own:

    import from_torch
    from_torch.write(loader, "calib.h5", entries=2000)

What a batch may be: a tensor; (tensor, labels); a dictionary of tensors,
whose entry "labels" has the labels; (dictionary, labels); several tensors
(with the names of the inputs, in their order), and labels behind them.
"""

import argparse
import os
import runpy
import sys

import arrays
import common
import images


def as_array(where, value):
    """What numpy has for a tensor of any element type, on any device."""
    numpy = common.require("numpy", "numpy")
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        return value.numpy()
    array = numpy.asarray(value)
    if array.dtype == object:
        raise common.DataError(where, "a batch holds %s; wanted tensors"
                               % type(value).__name__)
    return array


def is_labels(value):
    """Whole numbers, one for each entry."""
    array = as_array("the loader", value)
    return array.dtype.kind in "iu" and array.ndim == 1


def parts_of(batch, names):
    """({name of input or None: value}, labels or None) of a batch."""
    labels = None
    if isinstance(batch, (list, tuple)):
        values = list(batch)
        wanted = len(names) if names else 1
        if len(values) == wanted + 1 and is_labels(values[-1]):
            labels = values.pop()
        if len(values) == 1 and isinstance(values[0], dict):
            batch = values[0]
        elif len(values) != wanted:
            raise common.DataError(
                "the loader", "a batch has %d parts besides labels; name the "
                "inputs, as the network has them" % len(values))
        else:
            return dict(zip(names or [None], values)), labels
    if not isinstance(batch, dict):
        return {names[0] if names else None: batch}, labels
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    missing = [n for n in names or [] if n not in inputs]
    if missing:
        raise common.DataError("the loader", "a batch has no \"%s\"; it has: "
                               "%s" % (missing[0], ", ".join(inputs)))
    return ({n: inputs[n] for n in names or inputs},
            batch.get("labels", labels))


def batches(loader, names, entries, form):
    """Batches in stored form, `entries` in all (None: all there are)."""
    left = entries
    for number, batch in enumerate(loader):
        inputs, labels = parts_of(batch, names)
        where = "batch %d" % number
        found = {key: arrays.stored_form(
            where if key is None else "%s: %s" % (where, key),
            as_array(where, value)[:left], form, key is not None)
            for key, value in inputs.items()}
        count = len(next(iter(found.values())))
        if labels is not None:
            labels = as_array(where, labels)[:left]
        yield found, labels
        if left is not None:
            left -= count
            if left <= 0:
                return
    if left:
        raise common.DataError("the loader", "%d entries asked for, %d found"
                               % (entries, entries - left))


def write(loader, path, entries=None, inputs=None, classes=(), name=None,
          layout="nchw", scale=None, mean=None, std=None, raw=False):
    """Write the loader's entries, in its order, to the file `path`.

    A tensor in place of the loader is a single batch.
    inputs: names of the network's inputs, for several or for whole numbers.
    mean and std, one value for each channel, are for uint8 tensors (raw: the
    network takes bytes), and for floating point ones that are not normalised
    yet. classes: names of the classes.
    """
    form = arrays.Form(layout, False, scale, mean, std, raw)
    loader = [loader] if hasattr(loader, "detach") else loader
    arrays.write_batches(
        path, batches(loader, inputs, entries, form), form,
        name=name or os.path.basename(path), source="a PyTorch DataLoader",
        classes=classes)


def loader_of(spec):
    """The loader that FILE.py:NAME names, or what the function NAME gives."""
    path, _, name = spec.rpartition(":")
    if not path or not name:
        raise common.DataError(spec, "wanted FILE.py:NAME")
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    found = runpy.run_path(path)
    if name not in found:
        raise common.DataError(path, "has no \"%s\"" % name)
    loader = found[name]
    return loader() if callable(loader) else loader


def main():
    parser = argparse.ArgumentParser(
        description="Write what a PyTorch DataLoader gives as a data-set "
        "file. The Python file makes the loader, with the transformations of "
        "evaluation and no random ones.", epilog=images.EPILOG)
    parser.add_argument("loader", metavar="FILE.py:NAME",
                        help="a loader, or a function that gives one")
    parser.add_argument("-o", "--output", metavar="FILE", required=True)
    parser.add_argument("--entries", metavar="N", type=common.count,
                        help="only the first N (default: all)")
    parser.add_argument("--inputs", metavar="NAME,...",
                        help="names of the network's inputs, for several "
                        "inputs or for one of whole numbers")
    parser.add_argument("--layout", choices=("nchw", "nhwc"), default="nchw",
                        help="where channels are (default: nchw)")
    parser.add_argument("--mean", type=common.number, nargs="+", metavar="M",
                        help="of each channel; for uint8 tensors, or others "
                        "that are not normalised yet")
    parser.add_argument("--std", type=common.positive, nargs="+", metavar="S",
                        help="standard deviation of each channel")
    parser.add_argument("--raw", action="store_true",
                        help="the network takes bytes")
    options = parser.parse_args()
    if (options.mean is None) != (options.std is None):
        parser.error("--mean and --std belong together")
    folder = os.path.dirname(options.output)
    if folder:
        common.make_folder(folder)
    write(loader_of(options.loader), options.output, options.entries,
          options.inputs.split(",") if options.inputs else None,
          layout=options.layout, mean=options.mean, std=options.std,
          raw=options.raw)
    return 0


if __name__ == "__main__":
    common.run(main)
