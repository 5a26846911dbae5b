# SPDX-License-Identifier: BSD-3-Clause
"""Operators that work element by element; see make_kernels.py."""

import numpy as np
import torch
from torch import nn

from .common import apply, built, case, conv, double, exported, node, normal, uniform, weights


def add_cases():
    shape = (3, 4, 5, 7)
    case("relu", lambda: built([node("Relu", "input")], {}, shape, torch.relu))
    case("relu_after_conv", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU()), (3, 3, 7, 5)))

    def clip(name, opset, inputs, constants, low, high, **attributes):
        case(name, lambda: built(
            [node("Clip", inputs, **attributes)], constants, shape,
            lambda x: torch.clamp(x, low, high), opset))
    zero, half, one = (np.float32(v) for v in (0.0, 0.5, 1.0))
    clip("clip_attributes", 10, "input", {}, 0.0, 1.0, min=0.0, max=1.0)
    clip("clip_attributes_max", 10, "input", {}, None, 0.5, max=0.5)
    clip("clip_inputs", 13, "input low high", {"low": zero, "high": one},
         0.0, 1.0)
    clip("clip_inputs_opset11", 11, "input low high",
         {"low": -half, "high": one}, -0.5, 1.0)
    clip("clip_min_only", 13, "input low", {"low": zero}, 0.0, None)
    clip("clip_max_only", 13, "input - high", {"high": half}, None, 0.5)
    case("clip_no_bounds", lambda: built(
        [node("Clip", "input", "c"), node("Relu", "c")], {}, shape,
        torch.relu))
    case("relu6", lambda: exported(
        nn.ReLU6(), shape, images=normal(*shape, scale=6.0)))
    case("relu6_opset17", lambda: exported(nn.Sequential(
        nn.Conv2d(4, 5, 1), nn.ReLU6()), shape, 17,
        images=normal(*shape, scale=6.0)))

    case("add_tensors", lambda: exported(apply(
        lambda x, a, b: a(x) + b(x),
        nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(4, 5, 1)), shape))
    case("add_itself", lambda: built([node("Add", "input input")], {}, shape,
                                     lambda x: x + x))
    case("sub_tensors", lambda: built(
        [node("Relu", "input", "r"), node("Sub", "r input")], {}, shape,
        lambda x: torch.relu(x) - x))
    case("mul_tensors", lambda: built(
        [node("Relu", "input", "r"), node("Mul", "input r")], {}, shape,
        lambda x: x * torch.relu(x)))

    def pooled(op, inputs, function):
        return lambda: built(
            [node("GlobalAveragePool", "input", "pooled"), node(op, inputs)],
            {}, shape, lambda x: function(x, x.mean((2, 3), keepdim=True)))
    case("add_pooled", pooled("Add", "input pooled", lambda x, p: x + p))
    case("sub_pooled_first", pooled("Sub", "pooled input",
                                    lambda x, p: p - x))
    case("mul_pooled", pooled("Mul", "pooled input", lambda x, p: x * p))

    def constant(name, op, inputs, make, function, **options):
        def build():
            c = make()
            return built([node(op, inputs)], {"c": c},
                         options.get("images", shape),
                         lambda x: function(x, double(c)),
                         options.get("opset", 13))
        case(name, build)
    constant("add_channels", "Add", "input c", lambda: normal(4, 1, 1),
             lambda x, c: x + c)
    constant("add_channels_first", "Add", "c input",
             lambda: normal(1, 4, 1, 1), lambda x, c: x + c)
    constant("add_scalar", "Add", "input c", lambda: np.float32(0.375),
             lambda x, c: x + c)
    constant("add_rows_columns", "Add", "input c", lambda: normal(5, 7),
             lambda x, c: x + c)
    constant("add_whole_image", "Add", "input c", lambda: normal(4, 5, 7),
             lambda x, c: x + c)
    constant("sub_channels", "Sub", "input c", lambda: normal(4, 1, 1),
             lambda x, c: x - c)
    constant("sub_from_channels", "Sub", "c input", lambda: normal(4, 1, 1),
             lambda x, c: c - x)
    constant("mul_channels", "Mul", "input c", lambda: normal(1, 4, 1, 1),
             lambda x, c: x * c)
    constant("mul_scalar", "Mul", "c input", lambda: normal(1),
             lambda x, c: x * c)
    constant("div_channels", "Div", "input c",
             lambda: uniform(0.5, 2.0, 4, 1, 1), lambda x, c: x / c)
    constant("div_from_scalar", "Div", "c input", lambda: np.float32(1.5),
             lambda x, c: c / x, images=uniform(0.5, 2.0, *shape))
    constant("div_opset11", "Div", "input c", lambda: np.float32(3.0),
             lambda x, c: x / c, opset=11)

    def normalised():
        # Networks that were given their input normalisation as nodes.
        mean, std = normal(3, 1, 1), uniform(0.5, 2.0, 3, 1, 1)
        w, b = weights(5, 3, 3, 3), normal(5)
        return built([node("Sub", "input mean", "centred"),
                      node("Div", "centred std", "normal"),
                      node("Conv", "normal w b")],
                     {"mean": mean, "std": std, "w": w, "b": b}, (3, 3, 5, 7),
                     lambda x: conv((x - double(mean)) / double(std), w, b))
    case("sub_div_conv", normalised)

    def scaled():
        w = weights(5, 3, 3, 3)
        scale, shift = normal(1, 5, 1, 1), normal(5, 1, 1)
        return built([node("Conv", "input w", "c"), node("Mul", "c scale", "m"),
                      node("Add", "m shift")],
                     {"w": w, "scale": scale, "shift": shift}, (3, 3, 5, 7),
                     lambda x: conv(x, w) * double(scale) + double(shift))
    case("conv_mul_add", scaled)
