# SPDX-License-Identifier: BSD-3-Clause
"""Activations, normalisations and attention for random ONNX networks, as operators or written out as exporters do."""
from random_layers import Layers

# Operator set since which each is there, and its attributes. Few are steep, so that values stay near 1.
FUNCTIONS = dict(Abs=(6, {}), Neg=(6, {}), Tanh=(6, {}), Sigmoid=(6, {}), HardSigmoid=(6, dict(alpha=0.3)),
                 LeakyRelu=(6, dict(alpha=0.1)), Elu=(6, {}), Selu=(6, {}), Softplus=(6, {}), Softsign=(6, {}),
                 Erf=(9, {}), Sin=(7, {}), Cos=(7, {}), Celu=(12, dict(alpha=1.5)), HardSwish=(14, {}),
                 Mish=(18, {}), Gelu=(20, {}))


class Functions(Layers):
    """Layers and what stands between them."""

    # ---- functions

    def activation_to(self, x):
        """Any function of one number."""
        form = self.pick.choice(["operator", "operator", "swish", "gelu", "prelu", "bounds", "positive"])
        return getattr(self, form + "_to")(x)

    def operator_to(self, x):
        op = self.pick.choice([op for op, (since, _) in FUNCTIONS.items() if since <= self.opset])
        attributes = dict(FUNCTIONS[op][1]) if self.chance(0.5) else {}
        if op == "Gelu":
            attributes = dict(approximate=self.pick.choice([None, "none", "tanh"]))
        return self.node(op, [x], self.shapes[x], **attributes)

    def swish_to(self, x):
        shape = self.shapes[x]
        op = self.pick.choice(["Sigmoid", "HardSigmoid", "Tanh"])
        return self.node("Mul", self.either(x, self.node(op, [x], shape)), shape)

    def gelu_to(self, x):
        """By the error function, as exporters write it."""
        if self.opset < 9:
            return self.swish_to(x)
        shape = self.shapes[x]
        y = self.node("Div", [x, self.floats(2 ** 0.5)], shape) if self.chance(0.5) else \
            self.node("Mul", [x, self.floats(0.5 ** 0.5)], shape)
        y = self.node("Add", [self.node("Erf", [y], shape), self.floats(1.0)], shape)
        if self.chance(0.5):
            return self.node("Mul", [self.node("Mul", [x, y], shape), self.floats(0.5)], shape)
        return self.node("Mul", [self.node("Mul", [x, self.floats(0.5)], shape), y], shape)

    def prelu_to(self, x):
        shape = self.shapes[x]
        form = self.pick.choice([(1,), (shape[0],) + (1,) * (len(shape) - 1), (shape[-1],)])
        return self.node("PRelu", [x, self.floats(self.uniform(0.05, 0.4, *form), "slope")], shape)

    def bounds_to(self, x):
        shape = self.shapes[x]
        y = self.node("Min", [x, self.floats(2.0)], shape)
        if self.chance(0.4):
            return self.node("Max", [x, y, self.floats(-1.0)], shape)
        return self.node("Max", [self.floats(-1.0), y], shape)

    def positive_to(self, x):
        """Functions of positive numbers."""
        shape = self.shapes[x]
        y = self.node("Abs", [x], shape)
        if self.chance(0.25):
            return self.node("Exp", [self.node("Neg", [y], shape)], shape)
        y = self.node("Add", [y, self.floats(1.0)], shape)
        op = self.pick.choice(["Log", "Sqrt", "Reciprocal", "Pow"])
        if op != "Pow":
            return self.node(op, [y], shape)
        return self.node("Pow", [y, self.floats(self.pick.choice([0.5, -1.0, 1.3, -2.0]))], shape)

    # ---- normalisations

    def last_norm_to(self, x):
        """Over the last axis: LayerNormalization, or what exporters write for it; now and then without a mean."""
        shape = self.shapes[x]
        scale = self.floats(self.uniform(0.6, 1.4, shape[-1]), "scale")
        shift = self.floats(self.normal(shape[-1], scale=0.3), "shift")
        if self.opset >= 17 and self.chance(0.6):
            names = [x, scale] + ([shift] if self.chance(0.8) else [])
            axis = self.pick.choice([None, -1, len(shape)])
            return self.node("LayerNormalization", names, shape, axis=axis, epsilon=1e-2)
        rest, ones, last = x, shape[:-1] + (1,), [-1] if self.opset >= 11 else [len(shape)]
        if self.chance(0.7):
            rest = self.node("Sub", [x, self.axes_of("ReduceMean", 18, x, ones, last)], shape)
        y = self.node("Pow", [rest, self.floats(2.0)], shape)
        y = self.node("Add", [self.axes_of("ReduceMean", 18, y, ones, last), self.floats(1e-2)], ones)
        y = self.node("Div", [rest, self.node("Sqrt", [y], ones)], shape)
        return self.node("Add", [self.node("Mul", [y, scale], shape), shift], shape)

    def first_norm_to(self, x):
        """Over the channels of an image where they are, written out; now and then without a mean."""
        shape, rest = self.shapes[x], x
        channels, ones, first = shape[0], (1,) + shape[1:], [self.axis(1, 4)]
        if self.chance(0.7):
            rest = self.node("Sub", [x, self.axes_of("ReduceMean", 18, x, ones, first)], shape)
        y = self.axes_of("ReduceMean", 18, self.node("Mul", [rest, rest], shape), ones, first)
        y = self.node("Sqrt", [self.node("Add", [y, self.floats(1e-2)], ones)], ones)
        y = self.node("Div", [rest, y], shape)
        y = self.node("Mul", [y, self.floats(self.uniform(0.6, 1.4, channels, 1, 1), "scale")], shape)
        return self.node("Add", [y, self.floats(self.normal(channels, 1, 1, scale=0.3), "shift")], shape)

    def response_norm_to(self, x):
        """Channels, which lie last, by what each is in the whole image, relative to the mean of them all."""
        shape, channels = self.shapes[x], self.shapes[x][-1]
        y = self.axes_of("ReduceL2", 18, x, (1, 1, channels), [1, 2])
        mean = self.axes_of("ReduceMean", 18, y, (1, 1, 1), [self.axis(3, 4)])
        y = self.node("Div", [y, self.node("Add", [mean, self.floats(0.1)], (1, 1, 1))], (1, 1, channels))
        y = self.node("Mul", [self.node("Mul", [x, y], shape), self.floats(self.normal(channels, scale=0.3), "scale")], shape)
        y = self.node("Add", [y, self.floats(self.normal(channels, scale=0.1), "shift")], shape)
        return self.sum_of(y, x) if self.chance(0.7) else y

    def image_norm_to(self, x):
        """Over height and width of each channel, or of groups of channels."""
        channels = self.shapes[x][0]
        groups = self.pick.choice([g for g in (1, 2, 3, 4) if channels % g == 0])
        grouped = self.opset >= 21 and self.chance(0.5)
        names = [x, self.floats(self.uniform(0.6, 1.4, channels), "scale"),
                 self.floats(self.normal(channels, scale=0.3), "shift")]
        if grouped:
            return self.node("GroupNormalization", names, self.shapes[x], num_groups=groups, epsilon=1e-2)
        return self.node("InstanceNormalization", names, self.shapes[x], epsilon=1e-2)

    # ---- transformers, on [tokens, features]

    def heads_to(self, x, heads, perm):
        """[tokens, features] to heads in front, by a Reshape and a Transpose."""
        tokens, features = self.shapes[x]
        split = (tokens, heads, features // heads)
        y = self.node("Reshape", [x, self.ints((0,) + split, "form")], split)
        return self.node("Transpose", [y], [split[p - 1] for p in perm], perm=[0] + perm)

    def attention_to(self, x):
        """Of one head, or of several."""
        tokens, heads = self.shapes[x][0], self.pick.choice([1, 2, 2])
        size = self.pick.choice([3, 4])
        q, k, v = (self.matmul_to(x, heads * size) for _ in range(3))
        lead = ()
        if heads > 1 or self.chance(0.3):
            lead = (heads,)
            q, k, v = self.heads_to(q, heads, [2, 1, 3]), self.heads_to(k, heads, [2, 3, 1]), \
                self.heads_to(v, heads, [2, 1, 3])
        else:
            k = self.node("Transpose", [k], (size, tokens), perm=[0, 2, 1])
        y = self.node("MatMul", [q, k], lead + (tokens, tokens))
        y = self.node("Mul", [y, self.floats(size ** -0.5)], self.shapes[y])
        y = self.node("Softmax", [y], self.shapes[y], axis=-1 if self.opset >= 13 else len(lead) + 2)
        y = self.node("MatMul", [y, v], lead + (tokens, size))
        if lead:
            y = self.node("Transpose", [y], (tokens, heads, size), perm=[0, 2, 1, 3])
            y = self.node("Reshape", [y, self.ints((0, tokens, heads * size), "form")], (tokens, heads * size))
        return self.matmul_to(y, self.shapes[x][-1])

    def feed_forward_to(self, x):
        """Two products with a function between them: the first loses its outputs."""
        y = self.activation_to(self.matmul_to(x, self.width()))
        return self.matmul_to(y, self.shapes[x][-1])
