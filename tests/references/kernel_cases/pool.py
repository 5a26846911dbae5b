# SPDX-License-Identifier: BSD-3-Clause
"""Pooling; see make_kernels.py."""

import torch.nn.functional as F
from torch import nn

from .common import apply, average_pool, built, case, exported, ints, max_pool, node, same_pads, uniform


def add_cases():
    def torch_pool(name, pool, shape, opset=13):
        case(name, lambda: exported(pool, shape, opset))
    torch_pool("max_pool_2x2", nn.MaxPool2d(2), (3, 3, 8, 6))
    torch_pool("max_pool_2x2_odd", nn.MaxPool2d(2), (3, 3, 7, 9))
    torch_pool("max_pool_3x3_stride2_pad1", nn.MaxPool2d(3, 2, 1),
               (3, 3, 9, 8))
    torch_pool("max_pool_ceil", nn.MaxPool2d(2, ceil_mode=True), (3, 3, 7, 9))
    torch_pool("max_pool_ceil_3x3", nn.MaxPool2d(3, 2, ceil_mode=True),
               (3, 3, 8, 10), 11)
    torch_pool("max_pool_dilation2", nn.MaxPool2d(2, 1, dilation=2),
               (3, 3, 7, 6))
    torch_pool("max_pool_uneven", nn.MaxPool2d((3, 2), (1, 2), (1, 0)),
               (3, 3, 7, 9), 17)
    # Padding must not win against values below zero.
    case("max_pool_negative", lambda: exported(
        nn.MaxPool2d(3, 2, 1), (3, 3, 7, 9),
        images=uniform(-3.0, -1.0, 3, 3, 7, 9)))

    def pool(name, op, shape, function, opset=13, **attributes):
        case(name, lambda: built([node(op, "input", **attributes)], {}, shape,
                                 function, opset))
    pool("max_pool_pads_uneven", "MaxPool", (3, 3, 7, 8),
         lambda x: max_pool(x, 3, 2, (0, 1, 2, 1)),
         kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 2, 1])
    # Without strides the window moves by one pixel.
    pool("max_pool_no_strides", "MaxPool", (3, 3, 5, 7),
         lambda x: max_pool(x, 2, 1), kernel_shape=[2, 2])
    pool("max_pool_same_upper", "MaxPool", (3, 3, 8, 7),
         lambda x: max_pool(x, 3, 2, same_pads((8, 7), (3, 3), (2, 2), False)),
         kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    pool("max_pool_same_lower", "MaxPool", (3, 3, 8, 7),
         lambda x: max_pool(x, 2, 1, same_pads((8, 7), (2, 2), (1, 1), True)),
         kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_LOWER")
    pool("average_pool_2x2", "AveragePool", (3, 3, 8, 6),
         lambda x: F.avg_pool2d(x, 2), kernel_shape=[2, 2], strides=[2, 2])
    pool("average_pool_pad_not_counted", "AveragePool", (3, 3, 7, 9),
         lambda x: average_pool(x, 3, 2, (1, 1, 1, 1)),
         kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
         count_include_pad=0)
    pool("average_pool_pad_counted", "AveragePool", (3, 3, 7, 9),
         lambda x: average_pool(x, 3, 2, (1, 1, 1, 1), True),
         kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
         count_include_pad=1)
    pool("average_pool_pads_uneven", "AveragePool", (3, 3, 7, 8),
         lambda x: average_pool(x, 3, 1, (0, 1, 2, 0)),
         kernel_shape=[3, 3], pads=[0, 1, 2, 0])
    pool("average_pool_ceil", "AveragePool", (3, 3, 7, 9),
         lambda x: average_pool(x, 2, 2, overhang=(1, 1)),
         kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    pool("average_pool_ceil_pad", "AveragePool", (3, 3, 8, 10),
         lambda x: average_pool(x, 3, 2, (1, 1, 1, 1), overhang=(1, 1)),
         kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    pool("average_pool_ceil_pad_counted", "AveragePool", (3, 3, 8, 10),
         lambda x: average_pool(x, 3, 2, (1, 1, 1, 1), True, (1, 1)),
         kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1,
         count_include_pad=1)
    pool("average_pool_same_upper", "AveragePool", (3, 3, 7, 8),
         lambda x: average_pool(x, 2, 1, same_pads((7, 8), (2, 2), (1, 1),
                                                   False)),
         kernel_shape=[2, 2], auto_pad="SAME_UPPER", opset=11)
    # The exporter writes a Pad node in front of this one.
    torch_pool("average_pool_exported", nn.AvgPool2d(3, 2, 1), (3, 3, 7, 9))

    torch_pool("global_average_pool", nn.AdaptiveAvgPool2d(1), (3, 7, 5, 7))
    torch_pool("global_max_pool", nn.AdaptiveMaxPool2d(1), (3, 7, 5, 7))
    case("global_max_pool_negative", lambda: built(
        [node("GlobalMaxPool", "input")], {}, uniform(-3.0, -1.0, 3, 4, 5, 7),
        lambda x: x.amax((2, 3), keepdim=True)))

    case("reduce_mean_keep", lambda: exported(
        apply(lambda x: x.mean((2, 3), keepdim=True)), (3, 7, 5, 7)))
    case("reduce_mean_drop", lambda: exported(
        apply(lambda x: x.mean((2, 3))), (3, 7, 5, 7)))

    def mean(name, inputs, constants, keep, opset, **attributes):
        case(name, lambda: built(
            [node("ReduceMean", inputs, **attributes)], constants,
            (3, 6, 7, 5), lambda x: x.mean((2, 3), keepdim=keep), opset))
    mean("reduce_mean_default_keep", "input", {}, True, 13, axes=[2, 3])
    mean("reduce_mean_negative_axes", "input", {}, False, 11, axes=[-1, -2],
         keepdims=0)
    mean("reduce_mean_axes_input", "input axes", {"axes": ints(2, 3)}, True,
         18, keepdims=1)
    mean("reduce_mean_axes_input_drop", "input axes", {"axes": ints(-2, -1)},
         False, 18, keepdims=0)
