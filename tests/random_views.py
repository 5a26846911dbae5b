# SPDX-License-Identifier: BSD-3-Clause
"""Blocks of random ONNX networks whose sizes the file computes: views that take the batch into an axis, and heads."""
import numpy as np
from onnx import TensorProto

from random_functions import Functions


class Views(Functions):
    """Blocks as exporters write them."""

    def number_of_images(self):
        """As the file computes it: [1] integers."""
        y = self.node("Shape", ["images"], (4,))
        return self.node("Gather", [y, self.ints([0])], (1,), axis=0)

    def reshape_to(self, x, merged, shape):
        """[images * merged, the others of the shape]."""
        count = self.number_of_images()
        if merged > 1:
            count = self.node("Mul", [count, self.ints([merged])], (1,))
        form = self.node("Concat", [count, self.ints(shape[1:], "form")], (len(shape),), axis=0)
        return self.node("Reshape", [x, form], shape)

    def viewed(self, batch):
        """One or both; images lie behind each other in them, which blocks of a fixed number cannot be computed with."""
        if self.rank == 3:
            return self.attention_of_computed_heads()
        if batch < 2 and self.chance(0.6):
            self.unfolded()
            return self.move(self.conv_to(self.at, self.width(), same=True)) and self.chance(0.5) and self.strided()
        return self.strided()

    def strided(self):
        """A view by strides: all numbers as a list, gathered in their order."""
        x, shape = self.at, self.shape
        if self.opset < 11 or self.rank < 3:
            return False
        size, ones = int(np.prod(shape)), (1,) * (len(shape) - 1)
        count = self.axes_of("Squeeze", 13, self.number_of_images(), (), [0])
        places = self.node("Range", [self.ints(0), count, self.ints(1)], ())
        places = self.node("Mul", [places, self.ints(size)], ())
        places = self.node("Reshape", [places, self.ints((-1,) + (1,) + ones, "form")], (1,) + ones)
        places = self.node("Add", [places, self.constant(np.arange(size).reshape((1,) + shape), "places")], shape)
        every = self.node("Reshape", [x, self.ints([-1], "form")], ())
        return self.move(self.node("Gather", [every, places], shape, axis=0))

    def unfolded(self):
        """Sequences of pixels that lie two apart, of each image and channel, and back: the block of MobileViT."""
        channels, height, width = self.shape
        if height % 2 or width % 2:
            return False
        high, wide = height // 2, width // 2
        y = self.reshape_to(self.at, channels * high, (channels * high, 2, wide, 2))
        y = self.node("Transpose", [y], (channels * high, wide, 2, 2), perm=[0, 2, 1, 3])
        y = self.reshape_to(y, 1, (1, channels, high * wide, 4))
        y = self.node("Transpose", [y], (4, high * wide, channels), perm=[0, 3, 2, 1])
        y = self.reshape_to(y, 4, (4, high * wide, channels))
        self.shapes[y] = (high * wide, channels)
        x = y
        y = self.last_norm_to(y) if self.chance(0.5) else y
        y = self.sum_of(self.feed_forward_to(y), x)
        y = self.reshape_to(y, 1, (1, 4, high * wide, channels))
        y = self.node("Transpose", [y], (channels, high * wide, 4), perm=[0, 3, 2, 1])
        y = self.reshape_to(y, channels * high, (channels * high, wide, 2, 2))
        y = self.node("Transpose", [y], (channels * high, 2, wide, 2), perm=[0, 2, 1, 3])
        y = self.reshape_to(y, 1, (1, channels, height, width))
        self.shapes[y] = (channels, height, width)
        return self.move(y)

    def attention_of_computed_heads(self):
        """Sizes and the factor from the width of the stream that the queries are made of."""
        x, (tokens, width) = self.at, self.shape
        if width % 2:
            return False
        y = self.last_norm_to(x)
        whole = self.node("Gather", [self.node("Shape", [y], (3,)), self.ints([2])], (1,), axis=0)
        half, shape = self.node("Div", [whole, self.ints([2])], (1,)), (tokens, 2, width // 2)
        form = self.node("Concat", [self.number_of_images(), self.ints([tokens, 2]), half], (4,), axis=0)
        q, k, v = (self.node("Reshape", [self.matmul_to(y, width), form], shape) for _ in range(3))
        q, v = (self.node("Transpose", [z], (2, tokens, width // 2), perm=[0, 2, 1, 3]) for z in (q, v))
        k = self.node("Transpose", [k], (2, width // 2, tokens), perm=[0, 2, 3, 1])
        factor = self.node("Sqrt", [self.node("Cast", [half], (1,), to=TensorProto.FLOAT)], (1,))
        z = self.node("Div", [self.node("MatMul", [q, k], (2, tokens, tokens)), factor], (2, tokens, tokens))
        z = self.node("Softmax", [z], self.shapes[z], axis=-1 if self.opset >= 13 else 3)
        z = self.node("MatMul", [z, v], (2, tokens, width // 2))
        z = self.node("Transpose", [z], shape, perm=[0, 2, 1, 3])
        form = self.node("Concat", [self.number_of_images(), self.ints([tokens]), whole], (3,), axis=0)
        z = self.node("Reshape", [z, form], (tokens, width))
        return self.move(self.sum_of(self.matmul_to(z, width), x))
