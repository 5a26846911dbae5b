# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in the form of the data-set file, and that file from batches.

An entry is what one input of the network takes at a time. A batch is a pair:
a dictionary from names of inputs (None: the only one) to arrays with one row
for each entry, and the labels of these entries or None. Only one group of
entries is in memory at a time.
"""

import collections
import math
import os

import common

# How arrays are read: layout "nchw", "nhwc" or None (must be clear); scale,
# mean and std (None: not given) of (x * scale - mean) / std.
Form = collections.namedtuple("Form", "layout grey scale mean std raw",
                              defaults=(None, False, None, None, None, False))

# Whole numbers beyond do not all fit float32.
MOST_WHOLE = 1 << 24

# Luma of red, green and blue in 1/65536, as Pillow has it.
LUMA = (19595, 38470, 7471)


def shape_text(array):
    return "[%s]" % ", ".join(["N"] + [str(n) for n in array.shape[1:]])


def channels_second(where, array, layout):
    """[N, C, ...] from an array of either layout."""
    numpy = common.require("numpy", "numpy")
    few = (1, 3, 4)
    if (layout is None and array.ndim == 4 and array.shape[3] in few
            and array.shape[1] not in few):
        raise common.DataError(
            where, "of shape %s seems to have its channels last; say "
            "--layout nhwc, or nchw if it has not" % shape_text(array))
    if layout != "nhwc" or array.ndim < 3:
        return array
    # Grey images are often stored without an axis of channels.
    return (array[:, None] if array.ndim == 3
            else numpy.moveaxis(array, -1, 1))


def to_grey(where, array):
    """One channel of bytes from three."""
    numpy = common.require("numpy", "numpy")
    if array.dtype != numpy.uint8 or array.ndim != 4 or array.shape[1] != 3:
        raise common.DataError(
            where, "is %s of shape %s; --grey takes uint8 images of 3 channels"
            % (array.dtype, shape_text(array)))
    luma = numpy.array(LUMA, numpy.uint32)[None, :, None, None]
    total = (array * luma).sum(1, keepdims=True, dtype=numpy.uint32)
    return ((total + 32768) >> 16).astype(numpy.uint8)


def per_channel(values, channels):
    """Values for each channel; one value counts for all."""
    return list(values) * channels if len(values) == 1 else list(values)


def factors_of(where, channels, form):
    """Attributes of uint8 data; a DataError where they are not known."""
    if form.raw:
        return common.normalisation(where, channels, 1, [0] * channels,
                                    [1] * channels)
    if form.mean is None or form.std is None:
        raise common.DataError(
            where, "holds uint8, which needs --mean and --std (of pixels in "
            "0..1, as the network was trained), or --raw if the network "
            "takes bytes")
    return common.normalisation(
        where, channels, 1 / 255 if form.scale is None else form.scale,
        per_channel(form.mean, channels), per_channel(form.std, channels))


def to_float32(where, array, form):
    numpy = common.require("numpy", "numpy")
    with numpy.errstate(over="ignore"):
        array = array.astype(numpy.float32)
    if form.mean is not None and form.std is not None:
        factors = common.normalisation(
            where, array.shape[1], 1 if form.scale is None else form.scale,
            per_channel(form.mean, array.shape[1]),
            per_channel(form.std, array.shape[1]))
        shape = (1, -1) + (1,) * (array.ndim - 2)
        array = ((array * factors["scale"] - factors["mean"].reshape(shape))
                 / factors["std"].reshape(shape))
    if not numpy.isfinite(array).all():
        raise common.DataError(where, "holds NaN, infinity, or numbers that "
                               "float32 does not hold")
    return array


def to_whole(where, array, named):
    """Whole numbers of a named input, such as places in an embedding."""
    numpy = common.require("numpy", "numpy")
    if not named:
        raise common.DataError(
            where, "holds %s; images are uint8 or floating point. For an "
            "input of whole numbers give its name: NAME=FILE" % array.dtype)
    if max(abs(int(array.min())), abs(int(array.max()))) > MOST_WHOLE:
        raise common.DataError(where, "holds whole numbers beyond 2^24, which "
                               "the network would not see exactly")
    return array.astype(numpy.int32)


def stored_form(where, array, form, named=False):
    """A block of entries as the file holds it: uint8, float32 or int32."""
    numpy = common.require("numpy", "numpy")
    array = numpy.asarray(array)
    if array.ndim < (1 if named else 2) or 0 in array.shape:
        raise common.DataError(where, "has the shape %s; wanted [N, ...], N "
                               "entries of one or more numbers"
                               % (shape_text(array) if array.ndim else "[]"))
    array = channels_second(where, array, form.layout)
    if form.grey:
        array = to_grey(where, array)
    if array.dtype == numpy.uint8:
        return array
    if array.dtype.kind == "f":
        return to_float32(where, array, form)
    if array.dtype.kind in "iub":
        return to_whole(where, array, named)
    raise common.DataError(where, "holds %s, no numbers" % array.dtype)


def regrouped(path, batches, size):
    """The same entries in groups of one size, the last one smaller."""
    numpy = common.require("numpy", "numpy")
    waiting, number = [], 0

    def joined():
        first, labelled = waiting[0][0], waiting[0][1] is not None
        for inputs, labels in waiting:
            same = (inputs.keys() == first.keys()
                    and all(inputs[k].shape[1:] == first[k].shape[1:]
                            and inputs[k].dtype == first[k].dtype
                            for k in first))
            if not same or (labels is not None) != labelled:
                raise common.DataError(path, "entries differ in shape, type "
                                       "or in whether they have labels")
        return ({k: numpy.concatenate([i[k] for i, _ in waiting])
                 for k in first},
                numpy.concatenate([label for _, label in waiting])
                if labelled else None)

    for batch in batches:
        waiting.append(batch)
        number += len(next(iter(batch[0].values())))
        if number >= size:
            inputs, labels = joined()
            for at in range(0, number - number % size, size):
                yield ({k: v[at:at + size] for k, v in inputs.items()},
                       None if labels is None else labels[at:at + size])
            at, number = number - number % size, number % size
            waiting = [({k: v[at:] for k, v in inputs.items()},
                        None if labels is None else labels[at:])]
    if number:
        yield joined()


def place_of(name):
    """Where the file has an input."""
    return "images" if name is None else "inputs/" + name.replace("/", ".")


def create(file, where, name, array, form, level):
    """An empty data set of the form of array's entries, which grows."""
    numpy = common.require("numpy", "numpy")
    entry = math.prod(array.shape[1:]) * array.itemsize
    # Parts of a group, so that each chunk is written once.
    chunk = next((c for c in (100, 50, 25, 20, 10, 5, 4, 2)
                  if c * entry <= 1 << 20), 1)
    data = file.create_dataset(
        place_of(name), (0,) + array.shape[1:], array.dtype,
        chunks=(chunk,) + array.shape[1:],
        maxshape=(None,) + array.shape[1:], shuffle=array.itemsize > 1,
        compression="gzip", compression_opts=level)
    if array.ndim == 4:
        data.attrs["layout"] = "NCHW"
    if array.dtype == numpy.uint8:
        channels = array.shape[1] if array.ndim > 1 else 1
        for key, value in factors_of(where, channels, form).items():
            data.attrs[key] = value
    return data


def write_batches(path, batches, form, name, source, classes=(), level=4,
                  origin=None):
    """Write a data-set file from batches whose arrays are in stored form.

    Messages about the arrays name `origin`, where they are from.
    """
    h5py = common.require("h5py", "h5py")
    numpy = common.require("numpy", "numpy")
    all_labels, made = [], {}

    def append(file, inputs, labels):
        for key, array in inputs.items():
            where = origin or path
            where = where if key is None else "%s: %s" % (where, key)
            if key not in made:
                made[key] = create(file, where, key, array, form, level)
            data = made[key]
            if (data.shape[1:], data.dtype) != (array.shape[1:], array.dtype):
                raise common.DataError(
                    where, "entries of %s %s after some of %s %s"
                    % (list(array.shape[1:]), array.dtype,
                       list(data.shape[1:]), data.dtype))
            count = len(data)
            data.resize(count + len(array), axis=0)
            data[count:] = array
        if labels is not None:
            all_labels.append(labels)

    def finish(file):
        if not made:
            raise common.DataError(path, "no entry is left to be written")
        counts = {key: len(data) for key, data in made.items()}
        if len(set(counts.values())) > 1:
            raise common.DataError(path, "inputs of different numbers of "
                                   "entries: %s" % counts)
        count = next(iter(counts.values()))
        if all_labels:
            file.create_dataset("labels", data=common.check_labels(
                path, numpy.concatenate(all_labels), count, classes))
        return "%s: %d entries of %s" % (path, count, ", ".join(
            "%s %s %s" % (place_of(key), "x".join(map(str, data.shape[1:]))
                          or "1", data.dtype) for key, data in made.items()))

    def write(aside):
        nonlocal told
        with open(aside, "w+b") as stream:
            sink = common.Sink(stream)
            with h5py.File(sink, "w") as file:
                common.write_head(file, name, source, list(classes))
                for inputs, labels in regrouped(path, batches, common.CHUNK):
                    append(file, inputs, labels)
                    sink.check()
                told = finish(file)
            sink.flush()
            sink.check()

    told = ""
    common.replace_file(path, write)
    print("%s, %d bytes" % (told, os.path.getsize(path)))
