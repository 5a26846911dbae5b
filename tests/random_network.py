#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Small random ONNX networks, each made from a seed alone, for tests that compare reap with another runtime.

    make(seed)                              a Case: the file's bytes, images, and what the network is made of
    random_network.py SEED FOLDER           writes it there, to be looked at

A network has 2 to 15 blocks of layers on images of some 3 x 8 x 8. Its operators are those of
src/model/operators.def in the forms of operator sets 8 to 21; a few networks have one operator that reap does not
know. The same seed makes the same network as long as these files stay as they are: the streams of random.Random and
numpy.random.RandomState do not change.

Values stay near 1, nothing is cast to a smaller type but weights that come in it, and no operator jumps, so that two
float32 runtimes agree to 1e-5 or so. Layers are those of random_layers.py and random_functions.py; here are the
blocks made of them (some in random_views.py), and which blocks a network has.
"""
import random
import sys

import numpy as np
from onnx import TensorProto, helper

from random_disguise import disguise
from random_views import Views

INT_MAX = 2 ** 63 - 1


class Case:
    """model: ModelProto; images: float32 or uint8 [N, C, H, W] with `scaling` of the latter; batch: 0 if free."""

    def __init__(self, seed):
        self.seed, self.model, self.images, self.batch = seed, None, None, 0
        self.scaling, self.words, self.swaps, self.external = None, [], [], False

    def seen(self):
        """The images as the network sees them."""
        if self.scaling is None:
            return self.images
        scale, mean, std = self.scaling
        shape = (1, -1, 1, 1)
        x = self.images.astype(np.float32) * np.float32(scale) - np.reshape(mean, shape).astype(np.float32)
        return (x / np.reshape(std, shape).astype(np.float32)).astype(np.float32)


class Blocks(Views):
    """Grows a network at one end, `at`. Blocks return False where they do not apply."""

    # ---- blocks of images

    def conv(self):
        y = self.conv_to(self.at, self.width())
        return y is not None and self.move(self.tail(y))

    def conv_chain(self):
        """Two or three convolutions in a row: the plain case of pruning."""
        for _ in range(self.pick.choice([2, 2, 3])):
            y = self.conv_to(self.at, self.width(), same=self.chance(0.7))
            if y is not None:
                self.move(self.tail(y))
        return True

    def grouped_conv(self):
        channels = self.shape[0]
        divisors = [g for g in (2, 3, 4, channels) if channels % g == 0 and g > 1]
        if not divisors:
            return False
        groups = self.pick.choice(divisors)
        outputs = self.pick.choice([1, 2]) + (7 if channels // groups >= 8 else 0)  # wide groups stay so
        y = self.conv_to(self.at, groups * outputs, groups=groups)
        return y is not None and self.move(self.tail(y))

    def norm(self):
        return self.move(self.norm_to(self.at))

    def clamp(self):
        return self.move(self.clamp_to(self.at))

    def activation(self):
        return self.move(self.activation_to(self.at))

    def other_norm(self):
        return self.move(self.image_norm_to(self.at) if self.rank == 4 else self.last_norm_to(self.at))

    def transformer(self):
        """Attention or a feed-forward layer, as a residual."""
        x = self.at
        y = self.last_norm_to(x) if self.chance(0.6) else x
        y = self.attention_to(y) if self.chance(0.5) else self.feed_forward_to(y)
        return self.move(self.sum_of(y, x) if self.chance(0.7) else y)

    def residual(self):
        """x + f(x), with f of one or two convolutions; the shortcut is x or a projection of it."""
        x, channels = self.at, self.shape[0]
        outputs = channels if self.chance(0.6) else self.width()
        y = x
        if self.chance(0.3):
            y = self.clamp_to(self.norm_to(y))
        if self.chance(0.6):
            y = self.tail(self.conv_to(y, self.width(), same=True))
        y = self.conv_to(y, outputs, same=True)
        if self.chance(0.4):
            y = self.norm_to(y)
        if outputs != channels:
            x = self.conv_to(x, outputs, same=True)
            if self.chance(0.4):
                x = self.norm_to(x)
        return self.move(self.sum_of(y, x))

    def branches(self):
        """Two or three branches put behind each other along the channels."""
        x, parts = self.at, []
        for _ in range(self.pick.choice([2, 2, 3])):
            y = self.conv_to(x, self.pick.choice([4, 6, 8]), same=True)
            parts.append(self.tail(y))
        if self.chance(0.3):
            parts[0] = x
        y = self.node("Concat", parts, (sum(self.shapes[p][0] for p in parts),) + self.shape[1:], axis=self.axis(1, 4))
        return self.move(y)

    def stack(self):
        """Along the height or the width, with itself or a convolution of it."""
        x, axis = self.at, self.pick.choice([2, 3])
        if max(self.shape[1:]) > 12:
            return False
        other = x if self.chance(0.5) else self.conv_to(x, self.shape[0], same=True)
        shape = list(self.shape)
        shape[axis - 1] *= 2
        return self.move(self.node("Concat", [x, other], shape, axis=self.axis(axis, 4)))

    def slice(self):
        """A part along one axis or two, forwards, backwards or with steps."""
        shape = list(self.shape)
        axes = self.pick.sample(range(1, self.rank), min(self.rank - 1, self.pick.choice([1, 1, 2])))
        starts, ends, steps = [], [], []
        for axis in axes:
            size, step = shape[axis - 1], self.pick.choice([1, 1, 1, 2, -1]) if self.opset >= 10 else 1
            if size < 2:
                return False
            start, end = sorted(self.pick.sample(range(size + 1), 2))
            taken = list(range(size))[start:end:abs(step)]
            if step < 0:
                start, end = end - 1, start - 1 if start > 0 else -size - 1
            elif self.chance(0.3):
                start, end = start - size, end if end < size else INT_MAX
            starts.append(start), ends.append(end), steps.append(step)
            shape[axis - 1] = len(taken)
        axes = [self.axis(a, self.rank) if self.opset >= 10 else a for a in axes]
        if self.opset < 10:
            return self.move(self.node("Slice", [self.at], shape, starts=starts, ends=ends, axes=axes))
        names = [self.ints(v, "part") for v in (starts, ends, axes)]
        names += [self.ints(steps, "steps")] if set(steps) != {1} else []
        return self.move(self.node("Slice", [self.at] + names, shape))

    def halves(self):
        """Both halves of the channels, a convolution of one, together again or added."""
        channels = self.shape[0]
        if channels % 2 or channels < 4:
            return False
        parts, x, half = [], self.at, channels // 2
        for first in (0, half):
            if self.opset < 10:
                y = self.node("Slice", [x], (half,) + self.shape[1:], starts=[first], ends=[first + half], axes=[1])
            else:
                part = [self.ints([v]) for v in (first, first + half, 1)]
                y = self.node("Slice", [x] + part, (half,) + self.shape[1:])
            parts.append(y)
        parts[1] = self.tail(self.conv_to(parts[1], half, same=True))
        if self.chance(0.5):
            return self.move(self.sum_of(*parts))
        return self.move(self.node("Concat", parts, self.shape, axis=1))

    def parts(self):
        """Split along the channels, a convolution of one part, together again."""
        channels, count = self.shape[0], self.pick.choice([2, 2, 3])
        if channels < count + 1:
            return False
        sizes = [channels // count] * (count - 1)
        sizes.append(channels - sum(sizes))
        inputs, form = [self.at], {"axis": self.axis(1, 4), "split": sizes if self.opset < 13 else None}
        if self.opset >= 13 and (len(set(sizes)) > 1 or self.chance(0.5)):
            inputs.append(self.ints(sizes, "sizes"))
        elif self.opset >= 18:
            form["num_outputs"] = count
        first = self.node("Split", inputs, (sizes[0],) + self.shape[1:], count, **form)
        names = list(self.nodes[-1].output)
        for name, size in zip(names, sizes):
            self.shapes[name] = (size,) + self.shape[1:]
        names[-1] = self.tail(self.conv_to(names[-1], sizes[0], same=True))
        return self.move(self.node("Concat", [first] + names[1:], (sizes[0] * count,) + self.shape[1:], axis=1))

    def resized(self):
        """Larger or smaller images."""
        channels, height, width = self.shape
        scales = [self.pick.choice([2.0, 2.0, 1.5, 1.0, 3.0] + [0.5] * (self.opset >= 11)) for _ in range(2)]
        shape = (channels, int(height * scales[0]), int(width * scales[1]))
        if max(shape[1:]) > 14 or min(shape[1:]) < 1:
            return False
        mode, scales = self.pick.choice(["nearest", "linear"]), [1.0, 1.0] + scales
        if self.opset < 9:
            return self.move(self.node("Upsample", [self.at], shape, mode=mode, scales=scales))
        if self.opset < 11:
            op = "Upsample" if self.opset == 9 else "Resize"
            return self.move(self.node(op, [self.at, self.floats(scales, "scales")], shape, mode=mode))
        places = ["half_pixel", "asymmetric", "align_corners"] if mode == "linear" else ["asymmetric"]
        names = [self.at, self.floats([], "region") if self.opset < 13 else "", self.floats(scales, "scales")]
        return self.move(self.node("Resize", names, shape, mode=mode, nearest_mode="floor" if mode == "nearest" else None,
                                   coordinate_transformation_mode=self.pick.choice(places)))

    def transposed_conv(self):
        """Twice as large, by a convolution."""
        channels, height, width = self.shape
        if max(height, width) > 7:
            return False
        outputs, k = self.width(), self.pick.choice([2, 3])
        divisors = [g for g in (1, 1, 2) if channels % g == 0 and outputs % g == 0]
        groups = self.pick.choice(divisors)
        w = self.weights(channels, outputs // groups, k, k, fan_in=channels // groups * 2)
        names = [self.at, self.floats(w, "weight")]
        names += [self.floats(self.normal(outputs, scale=0.3), "bias")] if self.chance(0.5) else []
        form = dict(strides=[2, 2], pads=[k // 2] * 2 + [0] * 2 if k == 3 else None, group=groups)
        y = self.node("ConvTranspose", names, (outputs, 2 * height, 2 * width), **form)
        return self.move(self.tail(y))

    def depth_space(self):
        channels, height, width = self.shape
        if channels % 4 == 0 and max(height, width) <= 7 and self.chance(0.6):
            mode = self.pick.choice([None, "DCR", "CRD"]) if self.opset >= 11 else None
            return self.move(self.node("DepthToSpace", [self.at], (channels // 4, 2 * height, 2 * width), blocksize=2,
                                       mode=mode))
        if height % 2 or width % 2 or channels > 16:
            return False
        return self.move(self.node("SpaceToDepth", [self.at], (4 * channels, height // 2, width // 2), blocksize=2))

    def neighbours(self):
        return self.move(self.node("LRN", [self.at], self.shape, size=self.pick.choice([1, 3, 5]), alpha=0.1, bias=1.5))

    def reduced(self):
        """Along the height or the width."""
        axis, op = self.pick.choice([2, 3]), self.pick.choice(["ReduceSum", "ReduceMax", "ReduceL2", "ReduceMin"])
        shape = list(self.shape)
        factor, shape[axis - 1] = self.shape[axis - 1], 1
        y = self.axes_of(op, 13 if op == "ReduceSum" else 18, self.at, shape, [self.axis(axis, 4)])
        if op != "ReduceSum":
            return self.move(y)
        return self.move(self.node("Mul", [y, self.floats(1 / factor)], shape))

    def picked(self):
        """Entries along an axis, in another order."""
        axis = self.pick.randint(1, self.rank - 1)
        shape = list(self.shape)
        places = [self.pick.randrange(shape[axis - 1]) for _ in range(self.pick.randint(2, shape[axis - 1] + 1))]
        shape[axis - 1] = len(places)
        return self.move(self.node("Gather", [self.at, self.ints(places, "places")], shape, axis=axis))

    def shuffle(self):
        channels, height, width = self.shape
        if channels % 2:
            return False
        y = self.node("Reshape", [self.at, self.ints([0, 2, channels // 2, height, width], "form")],
                      (2, channels // 2, height, width))
        y = self.node("Transpose", [y], (channels // 2, 2, height, width), perm=[0, 2, 1, 3, 4])
        return self.move(self.node("Reshape", [y, self.ints([0, channels, height, width], "form")], self.shape))

    def factor(self):
        """Arithmetic with constants: for each channel, each column, one for all."""
        op, shape = self.pick.choice(["Mul", "Mul", "Add", "Sub", "Div"]), self.shape
        ones = (1,) * (len(shape) - 1)
        form = self.pick.choice([(shape[0],) + ones, (1, shape[0]) + ones, (), (1,), (shape[-1],)])
        value = self.uniform(0.6, 1.6, *form)
        names = [self.at, self.floats(value, "factor")]
        if op != "Div" and self.chance(0.3):
            names.reverse()
        return self.move(self.node(op, names, shape))

    def gate(self):
        """Squeeze and excitation: channels weighted by what the whole image says."""
        x, channels = self.at, self.shape[0]
        y = self.node("GlobalAveragePool", [x], (channels, 1, 1))
        y = self.clamp_to(self.conv_to(y, 4, same=True))
        y = self.conv_to(y, channels, same=True)
        if self.chance(0.5):
            y = self.node(self.pick.choice(["Sigmoid", "HardSigmoid"]), [y], self.shapes[y])
        elif self.opset < 11:
            y = self.node("Clip", [y], self.shapes[y], min=0.0, max=1.0)
        else:
            y = self.node("Clip", [y, self.floats(0.0), self.floats(1.0)], self.shapes[y])
        return self.move(self.node("Mul", self.either(x, y), self.shapes[x]))

    def pool(self):
        maximum = self.chance(0.5)
        channels, height, width = self.shape
        attributes, sizes = self.window(height, width, 2)
        if not (maximum and self.opset >= 10 or not maximum and self.opset >= 19):
            attributes["dilations"] = None
        k = attributes["kernel_shape"]
        reach = [(size - 1) * d + 1 for size, d in zip(k, attributes.get("dilations") or [1, 1])]
        ceil = self.opset >= 10 and "pads" in attributes and self.chance(0.4)
        if reach != k and (height < reach[0] or width < reach[1]):
            return False  # a window could see nothing but padding
        if "pads" in attributes:
            attributes["pads"] = [min(p, size - 1) for p, size in zip(attributes["pads"], k * 2)]
            sizes = self.pooled((height, width), reach, attributes["pads"], attributes["strides"], ceil)
        if min(sizes) < 1:
            return False
        attributes["ceil_mode"] = 1 if ceil else None
        if not maximum:
            attributes["count_include_pad"] = self.pick.choice([None, 0, 1])
        op = "MaxPool" if maximum else "AveragePool"
        return self.move(self.node(op, [self.at], (channels,) + tuple(sizes), **attributes))

    def pad(self):
        before, after = ([self.pick.choice([0, 0, 1]) for _ in range(self.rank - 1)] for _ in range(2))
        if self.chance(0.8):
            before[0] = after[0] = 0
        value = self.pick.choice([0.0, 0.0, 0.5])
        shape = [b + s + a for b, s, a in zip(before, self.shape, after)]
        if self.opset < 11:
            return self.move(self.node("Pad", [self.at], shape, pads=[0] + before + [0] + after, value=value))
        names = [self.at, self.ints([0] + before + [0] + after, "pads")] + ([self.floats(value)] if value else [])
        if self.opset >= 18 and self.chance(0.5):
            names[1] = self.ints(before + after, "pads")
            names = names[:2] + [names[2] if value else "", self.ints(range(1, self.rank), "axes")]
        return self.move(self.node("Pad", names, shape))

    def quiet(self):
        """What does nothing in inference."""
        op = self.pick.choice(["Identity", "Dropout", "Cast", "Dropout"])
        if op == "Cast":
            return self.move(self.node(op, [self.at], self.shape, to=TensorProto.FLOAT))
        outputs = 2 if op == "Dropout" and self.chance(0.3) else 1
        names = [self.at]
        if op == "Dropout" and self.opset >= 12 and self.chance(0.5):
            names += [self.floats(0.3)] + ([self.constant(np.array(False))] if self.chance(0.5) else [])
        return self.move(self.node(op, names, self.shape, outputs))

    def linear_last(self):
        """A matrix product along the last axis, on two to four axes."""
        y = self.matmul_to(self.at, self.width())
        if self.chance(0.4):
            y = self.norm_to(y)
        return self.move(self.clamp_to(y) if self.chance(0.6) else y)

    def channels_last(self):
        """Transposed, two products along the channels, transposed back; the block of ConvNeXt."""
        channels, height, width = self.shape
        x = self.at
        y = self.node("Transpose", [x], (height, width, channels), perm=[0, 2, 3, 1])
        y = self.clamp_to(self.matmul_to(y, self.width()))
        y = self.matmul_to(y, channels)
        y = self.node("Transpose", [y], (channels, height, width), perm=[0, 3, 1, 2])
        return self.move(self.sum_of(y, x) if self.chance(0.5) else y)

    def normalised(self):
        """Channels that a norm takes together, of a stream or of one layer; of images the block of ConvNeXt."""
        x, shape = self.at, self.shape
        if self.rank < 4:
            y = self.last_norm_to(self.matmul_to(x, self.width()))
            return self.move(self.matmul_to(self.activation_to(y), shape[-1]))
        x = self.conv_to(x, self.width(), same=True)
        inner = self.shapes[x]
        y = self.first_norm_to(x) if self.chance(0.4) else x
        y = self.node("Transpose", [y], inner[1:] + inner[:1], perm=[0, 2, 3, 1])
        y = self.last_norm_to(y) if self.chance(0.6) else y
        y = self.activation_to(self.matmul_to(y, self.width()))
        y = self.response_norm_to(y) if self.chance(0.5) else y
        y = self.node("Transpose", [self.matmul_to(y, inner[0])], inner, perm=[0, 3, 1, 2])
        y = self.sum_of(y, x) if self.chance(0.7) else y
        return self.move(self.conv_to(y, shape[0], same=True))

    def flat_conv(self):
        """Flattened pixels become channels of a 1 x 1 convolution."""
        flat = int(np.prod(self.shape))
        if flat > 300:
            return False
        y = self.flatten_to(self.at)
        if self.chance(0.5):
            y = self.axes_of("Unsqueeze", 13, y, (flat, 1, 1), [2, 3])
        else:
            y = self.node("Reshape", [y, self.ints([0, flat, 1, 1], "form")], (flat, 1, 1))
        return self.move(self.tail(self.conv_to(y, self.width(), same=True)))

    def softmax(self):
        axis = self.pick.randint(1, self.rank - 1)
        op = self.pick.choice(["Softmax", "Softmax", "LogSoftmax"])
        y = self.node(op, [self.at], self.shape, axis=self.axis(axis, self.rank))
        if op == "Softmax":
            y = self.node("Mul", [y, self.floats(float(self.shape[axis - 1]))], self.shape)
        return self.move(y)

    def product(self):
        """x * f(x) element by element."""
        y = self.conv_to(self.at, self.shape[0], same=True)
        return self.move(self.node("Mul", self.either(self.at, y), self.shape))

    def foreign(self):
        """An operator that reap refuses, at the time of writing."""
        op = self.pick.choice(["ThresholdedRelu", "Hardmax", "Tan", "Asinh"])
        return self.move(self.node(op, [self.at], self.shape))

    # ---- from one rank to another

    def to_vector(self):
        """From an image to [batch, features]."""
        channels, height, width = self.shape
        form = self.pick.choice(["average", "maximum", "mean", "mean", "flat", "flat", "columns"])
        if form == "flat" and channels * height * width > 300:
            form = "average"
        if form == "flat":
            return self.move(self.flatten_to(self.at))
        if form == "columns":
            return self.move(self.flatten_to(self.mean_to(self.at, [2], self.chance(0.5))))
        if form == "mean":
            keep = self.chance(0.5)
            y = self.mean_to(self.at, [2, 3], keep)
        else:
            op = "GlobalAveragePool" if form == "average" else "GlobalMaxPool"
            keep, y = True, self.node(op, [self.at], (channels, 1, 1))
            if form == "average" and self.chance(0.2):
                y = self.tail(self.conv_to(y, self.width(), same=True))
        if not keep:
            return self.move(y)
        if self.chance(0.5):
            return self.move(self.flatten_to(y))
        return self.move(self.axes_of("Squeeze", 13, y, self.shapes[y][:1], [self.axis(2, 4), self.axis(3, 4)]))

    def to_sequence(self):
        """From an image to [batch, channels, pixels] or [batch, pixels, channels]."""
        channels, height, width = self.shape
        y = self.node("Reshape", [self.at, self.ints([0, channels, -1], "form")], (channels, height * width))
        if self.chance(0.6):
            y = self.node("Transpose", [y], (height * width, channels), perm=[0, 2, 1])
        return self.move(y)

    def sequence_to_vector(self):
        if self.chance(0.5) or self.shape[0] * self.shape[1] > 300:
            return self.move(self.mean_to(self.at, [self.pick.choice([1, 2])], False))
        return self.move(self.flatten_to(self.at))

    def sequence_to_image(self):
        first, second = self.shape
        if self.chance(0.5):
            form = self.ints([0, first, second, 1], "form")
            return self.move(self.node("Reshape", [self.at, form], (first, second, 1)))
        return self.move(self.axes_of("Unsqueeze", 13, self.at, (first, 1, second), [2]))

    def vector_to_image(self):
        size = self.shape[0]
        shape = self.pick.choice([(size, 1, 1), (1, size, 1)] + ([(size // 4, 2, 2)] if size % 4 == 0 else []))
        return self.move(self.node("Reshape", [self.at, self.ints((0,) + shape, "form")], shape))

    # ---- blocks of vectors and sequences

    def gemm(self):
        return self.move(self.tail(self.gemm_to(self.at, self.width())))

    def gemm_chain(self):
        for _ in range(2):
            self.gemm() if self.chance(0.6) else self.linear_last()
        return True

    def sequence_conv(self):
        """A convolution or two over a sequence, a pooling between them."""
        channels, length = self.shape
        for _ in range(self.pick.choice([1, 2, 2])):
            outputs, k = self.width(), self.pick.choice([1, 3, 3])
            w = self.floats(self.weights(outputs, channels, k, fan_in=channels * k), "weight")
            names = [self.at, w] + ([self.floats(self.normal(outputs, scale=0.3), "bias")] if self.chance(0.6) else [])
            y = self.node("Conv", names, (outputs, length), pads=[k // 2] * 2)
            self.move(self.tail(y))
            channels = outputs
            if length >= 4 and self.chance(0.4):
                length = (length - 2) // 2 + 1
                op = self.pick.choice(["MaxPool", "AveragePool"])
                self.move(self.node(op, [self.at], (channels, length), kernel_shape=[2], strides=[2]))
        return True

    def transpose(self):
        return self.move(self.node("Transpose", [self.at], (self.shape[1], self.shape[0]), perm=[0, 2, 1]))

    def residual_vector(self):
        x = self.at
        y = self.clamp_to(self.matmul_to(x, self.width()))
        return self.move(self.sum_of(self.matmul_to(y, self.shapes[x][-1]), x))

    def concat_vector(self):
        y = self.matmul_to(self.at, self.width())
        last = self.rank - 1
        shape = self.shape[:-1] + (self.shape[-1] + self.shapes[y][-1],)
        return self.move(self.node("Concat", [self.at, y], shape, axis=self.axis(last, self.rank)))

    IMAGE = dict(conv_chain=10, conv=5, grouped_conv=3, norm=2, other_norm=1, clamp=1, activation=4, residual=6,
                 branches=4, stack=1, slice=3, halves=2, shuffle=1, factor=4, gate=2, pool=5, pad=2, quiet=2,
                 parts=3, resized=3, transposed_conv=2, depth_space=2, neighbours=1, reduced=2, picked=1,
                 linear_last=3, channels_last=2, flat_conv=2, softmax=1, product=1, to_vector=4, to_sequence=6)
    SEQUENCE = dict(linear_last=8, transformer=12, residual_vector=4, concat_vector=2, transpose=3, norm=3,
                    sequence_conv=4, picked=1, other_norm=2, clamp=1, activation=2, factor=2, slice=2, pad=1, quiet=1, softmax=2,
                    sequence_to_vector=5, sequence_to_image=3)
    VECTOR = dict(gemm=6, gemm_chain=8, linear_last=4, residual_vector=3, concat_vector=2, norm=3, clamp=1,
                  activation=2, factor=2, slice=2, quiet=2, vector_to_image=3, softmax=1)

    def block(self):
        table = {4: self.IMAGE, 3: self.SEQUENCE, 2: self.VECTOR}[self.rank]
        while True:
            name = self.pick.choices(list(table), list(table.values()))[0]
            grown = (self.nodes, self.constants, self.words, self.norms, self.layers, self.passed)
            held, at = [len(part) for part in grown], self.at
            if int(np.prod(self.shape)) > 1500 and name in ("stack", "branches"):
                continue
            if getattr(self, name)():
                return
            for part, length in zip(grown, held):
                del part[length:]
            self.at = at

    def finish(self):
        """Most networks end in a classifier, some wherever they are."""
        if self.chance(0.2):
            return
        if self.rank == 4:
            self.to_vector()
        elif self.rank == 3:
            self.sequence_to_vector()
        if self.chance(0.4):
            self.gemm()
        self.move(self.gemm_to(self.at, self.pick.choice([3, 5, 10])))
        if self.chance(0.3):
            axis = self.axis(1, 2)
            self.move(self.node(self.pick.choice(["Softmax", "LogSoftmax"]), [self.at], self.shape, axis=axis))


def outputs_of(b):
    """Names of the outputs: the end of the network, with others before or behind it in a third of the networks."""
    outputs = [b.at]
    inner = [name for name in b.passed[1:-1] if name != b.at]
    if not inner or not b.chance(0.33):
        return outputs
    end = b.at
    for name in b.pick.sample(inner, min(len(inner), b.pick.choice([1, 1, 2]))):
        form = b.pick.choice(["inner", "inner", "head", "copy"])
        b.at = name
        if form == "head":
            for _ in range(2):
                b.block()
        elif form == "copy":
            b.move(b.node("Identity", [end], b.shapes[end]))
        outputs.insert(b.pick.randint(0, len(outputs)), b.at)
    b.at = end
    outputs = list(dict.fromkeys(outputs))
    if b.chance(0.15):
        outputs.append(b.pick.choice(outputs))
        b.words.append("an output twice")
    b.words.append("%d outputs" % len(outputs))
    return outputs


def dead_ends(b):
    """Nodes left over from a head whose output was dropped."""
    if not b.chance(0.25) or len(b.passed) < 2:
        return
    end = b.at
    b.at = b.pick.choice(b.passed[:-1])
    for _ in range(b.pick.choice([1, 1, 2])):
        b.block()
    b.at = end
    b.words.append("dead nodes")


def images_of(case, b, shape):
    count = b.pick.choice([20, 32, 48, 64])
    case.batch = b.pick.choice([0, 0, 0, 1, 4, 8])
    if case.batch:
        count -= count % case.batch
    if b.chance(0.15):
        case.images = b.numbers.randint(0, 256, (count,) + shape).astype(np.uint8)
        mean, std = b.uniform(0.4, 0.6, shape[0]), b.uniform(0.2, 0.3, shape[0])
        case.scaling = (1 / 255, mean.astype(np.float64), std.astype(np.float64))
        return
    smooth = b.normal(count, shape[0], 1, 1)
    case.images = (0.8 * b.normal(count, *shape) + 0.6 * smooth).astype(np.float32)


def make(seed):
    case, b = Case(seed), Blocks(seed)
    shape = b.pick.choice([(3, 8, 8), (3, 8, 8), (1, 9, 7), (4, 6, 10), (2, 5, 8)])
    b.shapes["images"] = shape
    b.move("images")
    images_of(case, b, shape)
    b.conv_chain() if b.chance(0.8) else b.block()
    blocks = b.pick.randint(1, 8)
    foreign = b.pick.randrange(blocks) if b.chance(0.06) else -1
    for i in range(blocks):
        if len(b.nodes) > 45:
            break
        b.foreign() if i == foreign else b.block()
    if random.Random("52 %d" % seed).random() < 0.3:  # a number that leaves networks alone that failed once
        b.normalised()
    if b.rank > 2 and random.Random("53 %d" % seed).random() < 0.3:
        b.viewed(case.batch)
    b.finish()
    outputs = outputs_of(b)
    dead_ends(b)
    batch = case.batch or "N"
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch] + list(b.shapes[name]))
              for name in ["images"] + outputs]
    graph = helper.make_graph(b.nodes, "random_%d" % seed, values[:1], values[1:], b.constants)
    opset = helper.make_opsetid("", b.opset)
    case.model = helper.make_model(graph, opset_imports=[opset], ir_version=b.pick.randint(4, 10))
    case.words = ["opset %d" % b.opset] + b.words
    disguise(case, b.pick)
    return case


if __name__ == "__main__":
    from test_random_networks import write
    write(make(int(sys.argv[1])), sys.argv[2])
