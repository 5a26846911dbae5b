# SPDX-License-Identifier: BSD-3-Clause
"""Operators that change shapes, and shape arithmetic; see make_kernels.py."""

import numpy as np
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import nn

from .common import apply, built, case, double, exported, ints, node, normal, raw


def add_cases():
    shape = (3, 4, 5, 7)

    def pad(name, inputs, constants, around, fill=0.0, opset=13,
            **attributes):
        """around: as PyTorch has it, last axis first."""
        case(name, lambda: built(
            [node("Pad", inputs, **attributes)], constants, shape,
            lambda x: F.pad(x, around, value=fill), opset))
    pad("pad_spatial", "input pads", {"pads": ints(0, 0, 1, 2, 0, 0, 3, 0)},
        (2, 0, 1, 3), mode="constant")
    pad("pad_spatial_value", "input pads value",
        {"pads": ints(0, 0, 1, 1, 0, 0, 1, 1), "value": np.float32(-0.75)},
        (1, 1, 1, 1), -0.75)
    pad("pad_channels", "input pads", {"pads": ints(0, 2, 0, 0, 0, 2, 0, 0)},
        (0, 0, 0, 0, 2, 2))
    pad("pad_channels_uneven", "input pads",
        {"pads": ints(0, 1, 0, 0, 0, 3, 0, 0)}, (0, 0, 0, 0, 1, 3), opset=11)
    pad("pad_channels_value", "input pads value",
        {"pads": ints(0, 0, 0, 1, 0, 3, 1, 0), "value": np.float32(0.5)},
        (1, 0, 0, 1, 0, 3), 0.5)
    pad("pad_attributes", "input", {}, (1, 2, 2, 1), opset=10,
        pads=[0, 0, 2, 1, 0, 0, 1, 2])
    pad("pad_attributes_value", "input", {}, (1, 1, 0, 0, 1, 0), 0.25,
        opset=10, mode="constant", pads=[0, 1, 0, 1, 0, 0, 0, 1], value=0.25)
    pad("pad_axes_input", "input pads - axes",
        {"pads": ints(2, 1, 0, 3), "axes": ints(3, -2)}, (2, 0, 1, 3),
        opset=18)
    case("pad_exported", lambda: exported(
        nn.ZeroPad2d((1, 2, 0, 1)), shape))

    def slices(name, function, opset=13, inputs=None, constants=None,
               **attributes):
        constants = constants or {}
        inputs = inputs or " ".join(["input"] + list(constants))
        case(name, lambda: built([node("Slice", inputs, **attributes)],
                                 constants, shape, function, opset))
    end = np.iinfo(np.int64).max
    slices("slice_step2", lambda x: x[:, :, ::2, ::2], constants={
        "starts": ints(0, 0), "ends": ints(end, end), "axes": ints(2, 3),
        "steps": ints(2, 2)})
    slices("slice_step2_offset", lambda x: x[:, :, 1::2, 2:6:3], constants={
        "starts": ints(1, 2), "ends": ints(5, 6), "axes": ints(2, 3),
        "steps": ints(2, 3)})
    slices("slice_channels", lambda x: x[:, 1:3], constants={
        "starts": ints(1), "ends": ints(3), "axes": ints(1)})
    slices("slice_negative", lambda x: x[:, -3:-1, :, -5:], constants={
        "starts": ints(-3, -5), "ends": ints(-1, end), "axes": ints(1, -1)})
    # Ends beyond the last element are as good as the size.
    slices("slice_past_end", lambda x: x[:, 2:, :4], constants={
        "starts": ints(2, -100), "ends": ints(1000, 4), "axes": ints(1, 2)})
    slices("slice_no_axes", lambda x: x[:, 1:4, 1:, :6], constants={
        "starts": ints(0, 1, 1, 0), "ends": ints(end, 4, 5, 6)})
    slices("slice_steps_no_axes", lambda x: x[:, :, ::2, ::3],
           inputs="input starts ends - steps", constants={
               "starts": ints(0, 0, 0, 0), "ends": ints(end, end, end, end),
               "steps": ints(1, 1, 2, 3)})
    slices("slice_int32", lambda x: x[:, 0:3:2], opset=11, constants={
        "starts": ints(0).astype(np.int32), "ends": ints(3).astype(np.int32),
        "axes": ints(1).astype(np.int32), "steps": ints(2).astype(np.int32)})
    slices("slice_reverse", lambda x: x.flip(3), constants={
        "starts": ints(-1), "ends": ints(-end), "axes": ints(3),
        "steps": ints(-1)})
    slices("slice_attributes", lambda x: x[:, 1:4, :, 2:], opset=9,
           axes=[1, 3], starts=[1, 2], ends=[4, 9999])
    case("slice_exported", lambda: exported(apply(
        lambda x: x[:, 1:, ::2, 1::2]), shape, 17))

    case("concat", lambda: exported(apply(
        lambda x, a, b: torch.cat([a(x), x, b(x)], 1),
        nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(4, 5, 1)), shape))
    case("concat_negative_axis", lambda: built(
        [node("Relu", "input", "r"), node("Concat", "input r", axis=-3)], {},
        shape, lambda x: torch.cat([x, torch.relu(x)], 1)))
    case("concat_itself", lambda: built(
        [node("Concat", "input input", axis=1)], {}, shape,
        lambda x: torch.cat([x, x], 1)))
    case("concat_one", lambda: built(
        [node("Relu", "input", "r"), node("Concat", "r", axis=1)], {}, shape,
        torch.relu))
    case("concat_flat", lambda: exported(apply(
        lambda x, a: torch.cat([x.mean((2, 3)), a(x.flatten(1))], 1),
        nn.Linear(140, 3)), shape))

    flat = lambda x: x.flatten(1)
    case("flatten", lambda: exported(nn.Flatten(), shape))
    case("flatten_default", lambda: built([node("Flatten", "input")], {},
                                          shape, flat, 11))

    def reshape(name, target, function):
        case(name, lambda: built(
            [node("Reshape", "input target")], {"target": ints(*target)},
            shape, function))
    reshape("reshape_minus_one_first", (-1, 140), flat)
    reshape("reshape_zero_first", (0, -1), flat)
    reshape("reshape_zeros", (0, 0, -1), lambda x: x.flatten(2))
    reshape("reshape_minus_one_4d", (-1, 4, 7, 5),
            lambda x: x.reshape(-1, 4, 7, 5))
    case("reshape_arithmetic", lambda: exported(
        apply(lambda x: x.view(x.size(0), -1)), shape))
    case("reshape_arithmetic_opset11", lambda: exported(apply(
        lambda x, a: a(x.view(x.size(0), -1)), nn.Linear(140, 3)), shape, 11))
    case("reshape_arithmetic_folded", lambda: exported(
        apply(lambda x: x.view(x.size(0), -1)), shape, keep=False))
    case("reshape_product", lambda: exported(
        apply(lambda x: x.reshape(x.shape[0],
                                  x.shape[1] * x.shape[2] * x.shape[3])),
        shape))
    case("reshape_there_and_back", lambda: exported(apply(
        lambda x, a: a(x.flatten(1).view(-1, 4, 5, 7)), nn.Conv2d(4, 3, 3)),
        shape))

    def by_hand():
        # batch = Shape(input)[0]; Reshape(input, [batch, -1])
        return built(
            [node("Shape", "input", "sizes"),
             node("Gather", "sizes first", "batch_size", axis=0),
             node("Unsqueeze", "batch_size front", "batch_list"),
             node("Concat", "batch_list rest", "target", axis=0),
             node("Reshape", "input target")],
            {"first": np.array(0, np.int64), "front": ints(0),
             "rest": ints(-1)}, shape, flat)
    case("reshape_by_hand", by_hand)

    # Sizes worked out within the network, with what PyTorch and others write.
    def sizes(name, nodes, constants, function, opset=13):
        case(name, lambda: built([node("Shape", "input", "sizes")] + nodes,
                                 constants, shape, function, opset))
    sizes("sizes_size", [
        node("Size", "input", "all"),
        node("Gather", "sizes zero", "batch_size"),
        node("Div", "all batch_size", "each"),
        node("Concat", "batch_size each", "target", axis=0),
        node("Reshape", "input target")], {"zero": ints(0)}, flat)
    sizes("sizes_reduce_prod", [
        node("Slice", "sizes one two", "front"),
        node("Slice", "sizes two end", "rest"),
        node("ReduceProd", "rest", "each", axes=[0], keepdims=1),
        node("Concat", "minus_one front each", "target", axis=0),
        node("Reshape", "input target")],
        {"one": ints(1), "two": ints(2), "end": ints(4),
         "minus_one": ints(-1)}, lambda x: x.flatten(2))
    sizes("sizes_where_expand", [
        # What expand(-1, 4, -1, 7) is exported as.
        node("ConstantOfShape", "rank", "ones",
             value=raw("", ints(1))),
        node("Mul", "ones minus_one", "keep"),
        node("Equal", "wanted keep", "kept"),
        node("Where", "kept sizes wanted", "target"),
        node("Expand", "c target", "spread"), node("Add", "input spread")],
        {"rank": ints(4), "minus_one": np.array(-1, np.int64),
         "wanted": ints(-1, 4, -1, 7), "c": np.linspace(
             -1, 1, 28, dtype=np.float32).reshape(1, 4, 1, 7)},
        lambda x: x + double(np.linspace(-1, 1, 28, dtype=np.float32)
                             .reshape(1, 4, 1, 7)))
    sizes("sizes_range", [
        node("Shape", "sizes", "rank_list"),
        node("Squeeze", "rank_list", "rank"),
        node("Range", "two rank one", "axes"),
        node("ReduceMean", "input axes", keepdims=0)],
        {"two": np.array(2, np.int64), "one": np.array(1, np.int64)},
        lambda x: x.mean((2, 3)), 18)
    sizes("sizes_floor", [
        node("Gather", "sizes last", "width", axis=0),
        node("Cast", "width", "wide", to=TensorProto.FLOAT),
        node("Mul", "wide part", "most"), node("Floor", "most", "whole"),
        node("Cast", "whole", "end", to=TensorProto.INT64),
        node("Slice", "input begin end last")],
        # 7 * 0.75 = 5.25
        {"last": ints(3), "part": np.float32(0.75), "begin": ints(0)},
        lambda x: x[..., :5])

    def shuffle():
        # The channel shuffle of grouped convolutions.
        return built(
            [node("Reshape", "input apart", "a"),
             node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]),
             node("Reshape", "b together")],
            {"apart": ints(0, 2, 3, 5, 7), "together": ints(0, 6, 5, 7)},
            (3, 6, 5, 7), lambda x: x.reshape(-1, 2, 3, 5, 7).transpose(1, 2)
            .reshape(-1, 6, 5, 7))
    case("channel_shuffle", shuffle)

    case("transpose", lambda: built(
        [node("Transpose", "input", perm=[0, 2, 3, 1])], {}, shape,
        lambda x: x.permute(0, 2, 3, 1)))
    case("transpose_there_and_back", lambda: built(
        [node("Transpose", "input", "t", perm=[0, 2, 3, 1]),
         node("Relu", "t", "r"), node("Transpose", "r", perm=[0, 3, 1, 2])],
        {}, shape, torch.relu))
    case("transpose_linear", lambda: exported(apply(
        # As in networks that came from a channels-last framework.
        lambda x, a, b: b(a(x).permute(0, 2, 3, 1).flatten(1)),
        nn.Conv2d(4, 3, 3), nn.Linear(45, 5)), shape))

    def squeeze(name, nodes, constants, function, opset):
        case(name, lambda: built(
            [node("GlobalAveragePool", "input", "pooled")] + nodes, constants,
            shape, lambda x: function(x, x.mean((2, 3))), opset))
    axes = {"axes": ints(2, 3)}
    squeeze("squeeze", [node("Squeeze", "pooled axes")], axes,
            lambda x, p: p, 13)
    squeeze("squeeze_negative", [node("Squeeze", "pooled axes")],
            {"axes": ints(-1, -2)}, lambda x, p: p, 17)
    squeeze("squeeze_unsqueeze",
            [node("Squeeze", "pooled axes", "s"),
             node("Unsqueeze", "s axes", "u"), node("Mul", "input u")], axes,
            lambda x, p: x * p[:, :, None, None], 13)
    squeeze("squeeze_attributes",
            [node("Squeeze", "pooled", "s", axes=[2, 3]),
             node("Unsqueeze", "s", "u", axes=[2, 3]),
             node("Add", "input u")], {},
            lambda x, p: x + p[:, :, None, None], 11)

    def softmax(name, op, function, opset=13, **attributes):
        case(name, lambda: built(
            [node("Flatten", "input", "flat"), node(op, "flat", **attributes)],
            {}, normal(7, 11, 1, 1, scale=3.0),
            lambda x: function(x.flatten(1), 1), opset))
    # The default axis: 1 with everything behind it up to opset 12, the last
    # one since. On two axes that is the same.
    softmax("softmax", "Softmax", torch.softmax, axis=1)
    softmax("softmax_default", "Softmax", torch.softmax)
    softmax("softmax_negative_axis", "Softmax", torch.softmax, axis=-1)
    softmax("softmax_opset11", "Softmax", torch.softmax, 11, axis=1)
    softmax("softmax_opset11_default", "Softmax", torch.softmax, 11)
    softmax("log_softmax", "LogSoftmax", torch.log_softmax, axis=1)
    softmax("log_softmax_opset11", "LogSoftmax", torch.log_softmax, 11)
    case("softmax_large", lambda: built(
        # Overflows unless the largest value is taken off first.
        [node("Flatten", "input", "flat"), node("Softmax", "flat", axis=1)],
        {}, normal(5, 9, 1, 1, scale=200.0),
        lambda x: torch.softmax(x.flatten(1), 1)))

    case("identity", lambda: built(
        [node("Relu", "input", "r"), node("Identity", "r", "i"),
         node("Add", "i input")], {}, shape, lambda x: torch.relu(x) + x))
    case("identity_output", lambda: built(
        [node("Relu", "input", "r"), node("Identity", "r")], {}, shape,
        torch.relu))
    case("dropout", lambda: built(
        [node("Relu", "input", "r"), node("Dropout", "r")], {}, shape,
        torch.relu))
    case("dropout_inputs", lambda: built(
        [node("Dropout", "input ratio training", "d"), node("Relu", "d")],
        {"ratio": np.float32(0.25), "training": np.array(False)}, shape,
        torch.relu))
    case("dropout_attributes", lambda: built(
        [node("Dropout", "input", "d mask", ratio=0.5), node("Relu", "d")],
        {}, shape, torch.relu, 11))
