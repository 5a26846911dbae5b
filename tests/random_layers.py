# SPDX-License-Identifier: BSD-3-Clause
"""Layers of random ONNX networks: nodes with their constants, in the forms of operator sets 8 to 21.

Weights are scaled by their fan-in and norms divide by at least 0.7, so that values stay near 1.
"""
import random

import numpy as np
from onnx import helper, numpy_helper


class Layers:
    """A network as it grows. Methods NAME_to(x, ...) append nodes that read x; they return the name of the output.

    Shapes have no batch.
    """

    def __init__(self, seed):
        self.pick = random.Random(seed)
        self.numbers = np.random.RandomState(seed % 2 ** 32)
        self.opset = self.pick.randint(8, 21)
        self.nodes, self.constants, self.words, self.norms, self.layers = [], [], [], [], []
        self.shapes, self.count, self.at, self.passed = {}, 0, None, []

    # ---- parts

    def chance(self, share):
        return self.pick.random() < share

    def fresh(self, hint):
        self.count += 1
        return "%s_%d" % (hint, self.count)

    def constant(self, array, hint="constant"):
        name = self.fresh(hint)
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def floats(self, array, hint="constant"):
        return self.constant(np.asarray(array, dtype=np.float32), hint)

    def ints(self, values, hint="integers"):
        return self.constant(np.asarray(values, dtype=np.int64), hint)

    def normal(self, *shape, scale=1.0):
        return (self.numbers.standard_normal(shape) * scale).astype(np.float32)

    def uniform(self, low, high, *shape):
        return self.numbers.uniform(low, high, shape).astype(np.float32)

    def node(self, op, inputs, shape, outputs=1, **attributes):
        """Appends a node; its first output, of the given shape."""
        names = [self.fresh(op.lower()) for _ in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op, inputs, names, name="%s_node_%d" % (op, self.count), **given))
        self.shapes[names[0]] = tuple(shape)
        self.words.append(op)
        return names[0]

    def move(self, name):
        """The network goes on at `name`."""
        self.at = name
        self.passed.append(name)
        return True

    @property
    def shape(self):
        return self.shapes[self.at]

    @property
    def rank(self):
        """With the batch."""
        return len(self.shape) + 1

    def width(self):
        return self.pick.choice([4, 5, 6, 8, 8, 10, 12, 16])

    def axis(self, axis, rank):
        """Now and then counted from the end; not before operators knew that."""
        return axis - rank if self.opset >= 11 and self.chance(0.3) else axis

    def axes_of(self, op, since, x, shape, axes, **attributes):
        """Axes as an attribute, or from operator set `since` on as an input."""
        if self.opset < since:
            return self.node(op, [x], shape, axes=axes, **attributes)
        return self.node(op, [x, self.ints(axes, "axes")], shape, **attributes)

    # ---- linear layers

    def weights(self, *shape, fan_in):
        """Scaled by the fan-in; a few outputs are zero or twice the same."""
        w = self.normal(*shape, scale=self.pick.uniform(0.9, 1.5) / np.sqrt(max(1, fan_in)))
        if self.chance(0.1):
            w[self.pick.randrange(shape[0])] = 0
        if self.chance(0.1):
            w[0] = w[-1]
        return w

    def shared(self, key, make):
        """A constant of a layer; now and then that of an earlier layer of the same form."""
        fitting = [name for k, name in self.layers if k == key]
        if fitting and self.chance(0.1):
            self.words.append("shared weights")
            return self.pick.choice(fitting)
        name = make()
        self.layers.append((key, name))
        return name

    def window(self, height, width, widest=3):
        """Attributes of a window over an image and the size of its output."""
        ky, kx = (self.pick.choice([1, 1, 2, 3, 3, 3, 5][:4 + widest]) for _ in range(2))
        if self.chance(0.7):
            kx = ky
        strides = [self.pick.choice([1, 1, 1, 2]) for _ in range(2)]
        dilations = [self.pick.choice([1, 1, 1, 1, 2]) for _ in range(2)]
        reach = [(ky - 1) * dilations[0] + 1, (kx - 1) * dilations[1] + 1]
        if self.chance(0.15) and dilations == [1, 1] and strides[0] <= ky and strides[1] <= kx:
            auto = self.pick.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
            sizes = [-(-s // t) if auto != "VALID" else (s - r) // t + 1
                     for s, t, r in zip((height, width), strides, reach)]
            return dict(kernel_shape=[ky, kx], strides=strides, auto_pad=auto), sizes
        pads = [r // 2 for r in reach] * 2
        if self.chance(0.3):
            pads = [self.pick.randint(0, r - 1) for r in reach * 2]
        sizes = [(s + pads[i] + pads[i + 2] - reach[i]) // strides[i] + 1 for i, s in enumerate((height, width))]
        return dict(kernel_shape=[ky, kx], strides=strides, pads=pads,
                    dilations=dilations if dilations != [1, 1] or self.chance(0.5) else None), sizes

    def conv_to(self, x, outputs, same=False, groups=1):
        """A convolution of x; `same` keeps height and width. None where the window does not fit."""
        channels, height, width = self.shapes[x]
        if same:
            k = self.pick.choice([1, 3, 3])
            attributes, sizes = dict(kernel_shape=[k, k], pads=[k // 2] * 4), [height, width]
        else:
            attributes, sizes = self.window(height, width)
        if min(sizes) < 1:
            return None
        ky, kx = attributes["kernel_shape"]
        form = (outputs, channels // groups, ky, kx)
        w = self.shared(form, lambda: self.floats(self.weights(*form, fan_in=form[1] * ky * kx), "weight"))
        inputs = [x, w] + ([self.floats(self.normal(outputs, scale=0.3), "bias")] if self.chance(0.6) else [])
        if self.chance(0.3):
            del attributes["kernel_shape"]
        attributes["group"] = groups if groups > 1 or self.chance(0.3) else None
        return self.node("Conv", inputs, [outputs] + sizes, **attributes)

    def norm_to(self, x):
        """A batch norm over axis 1; its tensors may be those of an earlier one, all or some."""
        channels = self.shapes[x][0]
        mine = [self.uniform(0.6, 1.4, channels) * self.pick.choice([1, 1, -1]), self.normal(channels, scale=0.3),
                self.normal(channels, scale=0.3), self.uniform(0.5, 2, channels)]
        if self.chance(0.2):
            mine[0][:], mine[1][:] = 1, 0
        earlier = [names for count, names in self.norms if count == channels]
        names = [self.floats(t, hint) for t, hint in zip(mine, ("scale", "shift", "mean", "var"))]
        if earlier and self.chance(0.4):
            other = self.pick.choice(earlier)
            share = self.pick.choice([(1, 1, 1, 1), (1, 1, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1)])
            names = [theirs if s else own for s, theirs, own in zip(share, other, names)]
            self.words.append("shared norm")
        self.norms.append((channels, names))
        epsilon = self.pick.choice([None, None, 1e-3])
        return self.node("BatchNormalization", [x] + names, self.shapes[x], epsilon=epsilon)

    def clamp_to(self, x):
        """Relu mostly, else a Clip in one of its forms."""
        if self.chance(0.75):
            return self.node("Relu", [x], self.shapes[x])
        low, high = self.pick.choice([(0, 6), (-1, 1), (0, None), (None, 2), (-0.5, 3)])
        if self.opset < 11:
            return self.node("Clip", [x], self.shapes[x], min=None if low is None else float(low),
                             max=None if high is None else float(high))
        bounds = ["" if b is None else self.floats(b, "bound") for b in (low, high)]
        return self.node("Clip", [x] + (bounds if bounds[1] else bounds[:1]), self.shapes[x])

    def tail(self, x):
        """What often follows a linear layer."""
        if self.chance(0.4):
            x = self.norm_to(x)
        if self.chance(0.75):
            x = self.clamp_to(x) if self.chance(0.75) else self.activation_to(x)
        return x

    def matmul_to(self, x, outputs):
        """Along the last axis, whatever the rank; with or without a bias."""
        shape = self.shapes[x]
        form = (shape[-1], outputs)
        w = self.shared(form, lambda: self.floats(self.weights(outputs, shape[-1], fan_in=shape[-1]).T, "weight"))
        y = self.node("MatMul", [x, w], shape[:-1] + (outputs,))
        if self.chance(0.75):
            form = self.pick.choice([(outputs,), (outputs,), (1, outputs)])
            bias = self.floats(self.normal(*form, scale=0.3), "bias")
            y = self.node("Add", self.either(y, bias), self.shapes[y])
        return y

    def gemm_to(self, x, outputs):
        inputs, transposed = self.shapes[x][0], self.chance(0.7)
        form = (outputs, inputs) if transposed else (inputs, outputs)
        alpha, beta = self.pick.choice([(None, None), (None, None), (0.5, None), (2.0, 0.25), (None, 0.0), (-1.5, 1.5)])

        def make():
            w = self.weights(outputs, inputs, fan_in=inputs) / abs(alpha or 1)
            return self.floats(w if transposed else w.T, "weight")
        names = [x, self.shared(form, make)]
        if self.opset < 11 or self.chance(0.8):
            bias = self.normal(*self.pick.choice([(outputs,), (outputs,), (1, outputs), (1,), ()]), scale=0.3)
            names.append(self.floats(bias, "bias"))
        return self.node("Gemm", names, (outputs,), transB=int(transposed) or None, alpha=alpha, beta=beta)

    def either(self, a, b):
        return [a, b] if self.chance(0.7) else [b, a]

    def sum_of(self, *names):
        op = "Sum" if self.chance(0.25) or len(names) > 2 else "Add"
        y = self.node(op, list(names) if self.chance(0.5) else list(reversed(names)), self.shapes[names[0]])
        return self.clamp_to(y) if self.chance(0.6) else y

    def pooled(self, image, reach, pads, strides, ceil):
        """Size of the output; 0 where a last window would start in the padding: runtimes differ about its shape."""
        sizes = []
        for i, size in enumerate(image):
            room = size + pads[i] + pads[i + 2] - reach[i]
            out = (-(-room // strides[i]) if ceil else room // strides[i]) + 1
            sizes.append(0 if ceil and (out - 1) * strides[i] >= size + pads[i] else out)
        return sizes

    # ---- forms

    def flatten_to(self, x):
        flat = int(np.prod(self.shapes[x]))
        rank = len(self.shapes[x]) + 1
        form = self.pick.choice(["Flatten", "Flatten", "copy", "fixed", "computed"])
        if form == "Flatten":
            return self.node("Flatten", [x], (flat,), axis=self.pick.choice([None, self.axis(1, rank)]))
        if form == "computed":
            return self.flatten_computed(x, flat)
        return self.node("Reshape", [x, self.ints([0, -1] if form == "copy" else [-1, flat], "form")], (flat,))

    def flatten_computed(self, x, flat):
        """x.view(x.size(0), -1) as PyTorch exports it."""
        y = self.node("Shape", [x], ())
        y = self.node("Gather", [y, self.constant(np.array(0, dtype=np.int64))], (), axis=0)
        if self.opset < 13:
            y = self.node("Unsqueeze", [y], (), axes=[0])
        else:
            y = self.node("Unsqueeze", [y, self.ints([0])], ())
        y = self.node("Concat", [y, self.ints([-1])], (), axis=0)
        return self.node("Reshape", [x, y], (flat,))

    def mean_to(self, x, axes, keep):
        shape = list(self.shapes[x])
        for axis in axes:
            shape[axis - 1] = 1 if keep else None
        rank = len(shape) + 1
        named = [self.axis(a, rank) for a in axes]
        return self.axes_of("ReduceMean", 18, x, [s for s in shape if s is not None], named, keepdims=int(keep))
