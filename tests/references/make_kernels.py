#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the operator cases: one tiny network each, with images and outputs.

  kernels/NAME.onnx   input "input" [batch, C, H, W], output "output"
  kernels/NAME.bin    only where weights are kept outside the model
  kernels/NAME.h5     /images float32 [N, C, H, W], attribute layout "NCHW"
                      /outputs float32 [N, ...]
  kernels/cases.txt   one name per line

The outputs are computed in double precision by PyTorch from the weights as
they are in the model (that is, rounded to single precision), and rounded at
the end. Writing needs PyTorch, onnx, h5py and numpy; --check, which compares
the files with onnxruntime, needs onnxruntime, onnx, h5py and numpy.
"""

import argparse
import glob
import io
import os
import sys
import warnings
import zlib

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "kernels")

# Largest difference to onnxruntime, relative to the largest output. Both sides
# have the same single precision weights, so only rounding is left.
TOLERANCE = 1e-5

# Networks of float16 are computed in that type by onnxruntime, in float32 by
# reap; those of bfloat16 it does not compute at all on a processor.
HALF_TOLERANCE = 2e-3
NOT_RUN = {"network_bfloat16"}

# The newest file format each operator set came with, so that old sets are
# tested in files as old as they are.
IR_VERSIONS = {8: 3, 9: 4, 10: 5, 11: 6, 13: 7, 17: 8, 18: 8, 22: 10}

CASES = {}


def case(name, build):
    """Register build(), which returns the files of a case; see Case."""
    assert name not in CASES, name
    CASES[name] = build


class Case:
    """A model, its images and outputs, and weights kept outside the model."""

    def __init__(self, model, images, outputs, outside=None):
        self.model = model
        self.images = images
        self.outputs = outputs
        self.outside = outside


# --- random numbers ----------------------------------------------------------

# RandomState's streams are frozen: the files do not change with the version of
# numpy or PyTorch. Seeded anew for each case, so that adding one changes none.
random = np.random.RandomState(0)


def normal(*shape, scale=1.0):
    return (scale * random.standard_normal(shape)).astype(np.float32)


def weights(*shape):
    """Weights [m, n...] that keep the size of what goes through them."""
    fan_in = max(1, int(np.prod(shape[1:])))
    return normal(*shape, scale=(2.0 / fan_in) ** 0.5)


def uniform(low, high, *shape):
    return random.uniform(low, high, shape).astype(np.float32)


# --- networks written by PyTorch ---------------------------------------------

def settle(module):
    """Fill in all parameters; batch norms get statistics worth folding."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            size = part.num_features
            part.weight.data = torch.from_numpy(uniform(0.5, 1.5, size))
            part.bias.data = torch.from_numpy(normal(size, scale=0.3))
            part.running_mean = torch.from_numpy(normal(size, scale=0.3))
            part.running_var = torch.from_numpy(uniform(0.3, 2.0, size))
        elif isinstance(part, (nn.Conv2d, nn.Linear)):
            part.weight.data = torch.from_numpy(weights(*part.weight.shape))
            if part.bias is not None:
                part.bias.data = torch.from_numpy(
                    normal(*part.bias.shape, scale=0.3))
    return module.eval()


def exported(module, shape, opset=13, keep=True, adjust=None, images=None):
    """A case from a PyTorch module.

    keep: leave batch norms and shape arithmetic in the file, instead of having
    the exporter fold them as it does by default.
    """
    settle(module)
    if adjust:
        adjust(module)
    if images is None:
        images = normal(*shape)
    training = torch.onnx.TrainingMode
    file = io.BytesIO()
    # Traced with two images: some exporters treat a batch of one in a way of
    # its own.
    torch.onnx.export(
        module, torch.zeros((2,) + shape[1:]), file, opset_version=opset,
        training=training.PRESERVE if keep else training.EVAL,
        do_constant_folding=not keep,
        input_names=["input"], output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}})
    with torch.no_grad():
        outputs = module.double()(torch.from_numpy(images).double())
    model = onnx.load_from_string(file.getvalue())
    return Case(model, images, outputs.numpy())


def apply(function, *modules):
    """Module that computes function(x, *modules)."""
    class Apply(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList(modules)

        def forward(self, x):
            return function(x, *self.parts)

    return Apply()


# --- networks written node by node -------------------------------------------

def node(op, inputs, output="output", name=None, **attributes):
    """One node; inputs as a string of names, "-" for one that is left out."""
    inputs = ["" if i == "-" else i for i in inputs.split()]
    return helper.make_node(op, inputs, output.split(),
                            name="" if name is None else name, **attributes)


def raw(name, array):
    # Not ascontiguousarray(), which makes lists of scalars.
    return numpy_helper.from_array(np.array(array, order="C"), name)


def built(nodes, constants, images, expected, opset=13, ir=None,
          also_inputs=(), outside=None, kind=TensorProto.FLOAT):
    """A case from nodes; expected(x) is the same in PyTorch, in double.

    constants: name to array or to a finished TensorProto
    also_inputs: constants that are listed among the network's inputs too
    kind: element type of the network's input and output
    """
    if isinstance(images, tuple):
        images = normal(*images)
    outputs = expected(torch.from_numpy(images).double()).numpy()
    initializers = [c if isinstance(c, TensorProto) else raw(n, c)
                    for n, c in constants.items()]
    inputs = [helper.make_tensor_value_info(
        "input", kind, ["batch"] + list(images.shape[1:]))]
    for tensor in initializers:
        if tensor.name in also_inputs:
            inputs.append(helper.make_tensor_value_info(
                tensor.name, tensor.data_type, list(tensor.dims)))
    output = helper.make_tensor_value_info(
        "output", kind, ["batch"] + list(outputs.shape[1:]))
    graph = helper.make_graph(nodes, "network", inputs, [output], initializers)
    model = helper.make_model(
        graph, producer_name="reap-tests",
        opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir if ir else IR_VERSIONS[opset]
    return Case(model, images, outputs, outside)


def double(array):
    return torch.from_numpy(np.array(array)).double()


def ints(*values):
    return np.array(values, np.int64)


def conv(x, w, b=None, pads=(0, 0, 0, 0), **options):
    """Convolution with pads in ONNX's order: top, left, bottom, right."""
    top, left, bottom, right = pads
    x = F.pad(x, (left, right, top, bottom))
    return F.conv2d(x, double(w), None if b is None else double(b), **options)


def same_pads(size, kernel, stride, lower):
    """Pads of auto_pad SAME_*: as many outputs as strides begun."""
    begin, end = [], []
    for n, k, s in zip(size, kernel, stride):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        begin.append(total - total // 2 if lower else total // 2)
        end.append(total // 2 if lower else total - total // 2)
    return begin + end


def max_pool(x, kernel, stride, pads=(0, 0, 0, 0), **options):
    top, left, bottom, right = pads
    x = F.pad(x, (left, right, top, bottom), value=-float("inf"))
    return F.max_pool2d(x, kernel, stride, **options)


def average_pool(x, kernel, stride, pads=(0, 0, 0, 0), counted=False,
                 overhang=(0, 0)):
    """Average; counted: padding counts as zeros, overhang never counts.

    overhang: rows and columns by which ceil_mode's last windows stand out.
    """
    top, left, bottom, right = pads
    over = (0, overhang[1], 0, overhang[0])
    around = (left, right, top, bottom)
    ones = torch.ones_like(x)
    ones = F.pad(F.pad(ones, around, value=1.0 if counted else 0.0), over)
    x = F.pad(F.pad(x, around), over)
    return F.avg_pool2d(x, kernel, stride) / F.avg_pool2d(ones, kernel, stride)


# --- convolutions ------------------------------------------------------------

def conv_cases():
    def layer(name, shape, *arguments, opset=13, **options):
        case(name, lambda: exported(nn.Conv2d(*arguments, **options), shape,
                                    opset))

    layer("conv_1x1", (3, 5, 7, 5), 5, 7, 1)
    layer("conv_3x3_pad1", (3, 3, 9, 7), 3, 8, 3, padding=1)
    layer("conv_3x3_no_pad", (3, 4, 7, 9), 4, 6, 3)
    layer("conv_5x5", (3, 3, 9, 7), 3, 4, 5, padding=2)
    layer("conv_7x7_stride2", (3, 3, 13, 11), 3, 3, 7, stride=2, padding=3)
    layer("conv_2x2_stride2", (3, 4, 7, 9), 4, 5, 2, stride=2)
    layer("conv_stride2", (3, 3, 9, 7), 3, 7, 3, stride=2, padding=1)
    layer("conv_stride2_even", (3, 3, 8, 10), 3, 5, 3, stride=2, padding=1)
    layer("conv_stride_uneven", (3, 3, 9, 11), 3, 5, 3, stride=(2, 3),
          padding=1)
    layer("conv_1x1_stride2", (3, 6, 7, 9), 6, 9, 1, stride=2)
    layer("conv_dilation2", (3, 3, 11, 9), 3, 6, 3, dilation=2, padding=2)
    layer("conv_dilation_uneven", (3, 3, 11, 9), 3, 5, 3, dilation=(1, 3),
          padding=(0, 1))
    layer("conv_kernel_uneven", (3, 3, 7, 9), 3, 5, (3, 5), padding=(1, 2))
    layer("conv_kernel_1x3", (3, 4, 5, 7), 4, 6, (1, 3), padding=(0, 1))
    layer("conv_whole_image", (7, 3, 5, 7), 3, 5, (5, 7))
    layer("conv_wide_pad", (3, 3, 5, 7), 3, 4, 3, padding=4)
    layer("conv_groups2", (3, 6, 7, 5), 6, 8, 3, groups=2, padding=1)
    layer("conv_depthwise", (3, 7, 9, 7), 7, 7, 3, groups=7, padding=1)
    layer("conv_depthwise_twice", (3, 4, 7, 9), 4, 8, 3, groups=4, stride=2,
          padding=1)
    layer("conv_no_bias", (3, 4, 7, 5), 4, 6, 3, padding=1, bias=False)
    layer("conv_20_channels", (3, 20, 5, 7), 20, 19, 1)
    layer("conv_opset11", (3, 3, 7, 5), 3, 5, 3, opset=11, padding=1)
    layer("conv_opset17", (3, 3, 7, 5), 3, 5, 3, opset=17, padding=1)

    def pads_uneven():
        w, b, pads = weights(5, 3, 3, 3), normal(5), [1, 0, 2, 3]
        return built(
            [node("Conv", "input w b", name="padded", kernel_shape=[3, 3],
                  pads=pads)],
            {"w": w, "b": b}, (3, 3, 7, 9), lambda x: conv(x, w, b, pads))
    case("conv_pads_uneven", pads_uneven)

    def pads_uneven_strided():
        w, pads = weights(6, 4, 3, 2), [0, 1, 1, 0]
        return built(
            [node("Conv", "input w", kernel_shape=[3, 2], pads=pads,
                  strides=[2, 1])],
            {"w": w}, (3, 4, 8, 7),
            lambda x: conv(x, w, None, pads, stride=(2, 1)))
    case("conv_pads_uneven_stride2", pads_uneven_strided)

    # Sizes with an odd number of padded rows and columns: the two kinds of
    # SAME put the odd one on different sides.
    def auto_pad(kind, shape, kernel, stride):
        def make():
            w, b = weights(5, shape[1], *kernel), normal(5)
            pads = [0, 0, 0, 0]
            if kind != "VALID":
                pads = same_pads(shape[2:], kernel, stride,
                                 kind == "SAME_LOWER")
            return built(
                [node("Conv", "input w b", auto_pad=kind, strides=stride,
                      kernel_shape=kernel)],
                {"w": w, "b": b}, shape,
                lambda x: conv(x, w, b, pads, stride=tuple(stride)))
        return make
    case("conv_same_upper", auto_pad("SAME_UPPER", (3, 3, 7, 9), [4, 2],
                                     [1, 1]))
    case("conv_same_lower", auto_pad("SAME_LOWER", (3, 3, 7, 9), [4, 2],
                                     [1, 1]))
    case("conv_same_upper_stride2", auto_pad("SAME_UPPER", (3, 3, 8, 11),
                                             [3, 3], [2, 2]))
    case("conv_same_lower_stride2", auto_pad("SAME_LOWER", (3, 3, 8, 11),
                                             [3, 3], [2, 2]))
    # Nothing is padded, and nothing cut, where the stride exceeds the kernel.
    case("conv_same_upper_stride3", auto_pad("SAME_UPPER", (3, 3, 9, 8),
                                             [2, 2], [3, 3]))
    case("conv_auto_pad_valid", auto_pad("VALID", (3, 3, 7, 8), [3, 2],
                                         [2, 1]))

    def bare():
        # All attributes left to their defaults, kernel_shape included.
        w = weights(4, 3, 3, 5)
        return built([node("Conv", "input w")], {"w": w}, (3, 3, 7, 9),
                     lambda x: conv(x, w))
    case("conv_no_attributes", bare)

    def bias_left_out():
        w = weights(4, 3, 2, 2)
        return built([node("Conv", "input w -", auto_pad="NOTSET")], {"w": w},
                     (3, 3, 5, 7), lambda x: conv(x, w))
    case("conv_bias_left_out", bias_left_out)


# --- batch normalisation -----------------------------------------------------

def norm_cases():
    case("conv_batchnorm", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 7, 3, padding=1, bias=False), nn.BatchNorm2d(7)),
        (3, 3, 7, 9)))
    case("conv_batchnorm_bias", lambda: exported(nn.Sequential(
        nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, eps=0.05)), (3, 4, 7, 5)))
    case("conv_batchnorm_opset11", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), (3, 3, 7, 9), 11))
    case("conv_batchnorm_opset17", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), (3, 3, 7, 9), 17))
    case("conv_batchnorm_groups", lambda: exported(nn.Sequential(
        nn.Conv2d(6, 6, 3, groups=6, padding=1, bias=False), nn.BatchNorm2d(6),
        nn.ReLU(), nn.Conv2d(6, 5, 1, bias=False), nn.BatchNorm2d(5)),
        (3, 6, 7, 5)))

    def silence(module):
        # The folded weights of this channel are zero: it is constant.
        module[1].weight.data[2] = 0.0
    case("conv_batchnorm_zero_scale", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6),
        nn.ReLU(), nn.Conv2d(6, 4, 1)), (3, 3, 7, 5), adjust=silence))
    case("batchnorm_conv", lambda: exported(nn.Sequential(
        nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3, padding=1)), (3, 4, 7, 5)))
    case("batchnorm_relu_conv", lambda: exported(nn.Sequential(
        nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1)),
        (3, 4, 7, 5)))
    case("batchnorm_two_readers", lambda: exported(apply(
        # The convolution is read without its batch norm as well.
        lambda x, c, n: (lambda y: n(y) + y)(c(x)),
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)), (3, 3, 5, 7)))
    case("batchnorm_two_convolutions", lambda: exported(apply(
        lambda x, a, b, n: n(a(x)) + n(b(x)),
        nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)),
        (3, 3, 5, 7)))
    case("linear_batchnorm", lambda: exported(nn.Sequential(
        nn.Flatten(), nn.Linear(75, 7), nn.BatchNorm1d(7)), (7, 3, 5, 5)))


# --- linear layers -----------------------------------------------------------

def linear_cases():
    shape = (5, 3, 5, 7)
    size = 105

    def gemm(name, c=None, transposed=True, opset=13, **attributes):
        def make():
            w = weights(6, size)
            constants = {"w": w if transposed else w.T.copy()}
            inputs = "flat w"
            if c is not None:
                constants["c"] = c()
                inputs += " c"
            if transposed:
                attributes["transB"] = 1
            alpha = attributes.get("alpha", 1.0)
            beta = attributes.get("beta", 1.0)

            def expected(x):
                y = alpha * (x.flatten(1) @ double(w).T)
                return y if c is None else y + beta * double(constants["c"])
            return built([node("Flatten", "input", "flat", axis=1),
                          node("Gemm", inputs, name="linear", **attributes)],
                         constants, shape, expected, opset)
        case(name, make)

    # 0.75 and the like are exact in single precision, as the attributes are.
    gemm("gemm_trans_b", lambda: normal(6))
    gemm("gemm_plain", lambda: normal(6), transposed=False, transB=0)
    gemm("gemm_no_attributes", lambda: normal(6), transposed=False)
    gemm("gemm_alpha_beta", lambda: normal(6), alpha=0.75, beta=-1.5)
    gemm("gemm_alpha_beta_plain", lambda: normal(6), transposed=False,
         alpha=-0.5, beta=2.5)
    gemm("gemm_beta_zero", lambda: normal(6), beta=0.0)
    gemm("gemm_no_c")
    gemm("gemm_no_c_alpha", transposed=False, alpha=1.25, beta=3.0)
    gemm("gemm_c_row", lambda: normal(1, 6), beta=0.5)
    gemm("gemm_c_scalar", lambda: np.float32(0.625), beta=2.0)
    gemm("gemm_c_one", lambda: normal(1))
    gemm("gemm_c_one_by_one", lambda: normal(1, 1), transposed=False)
    gemm("gemm_opset11", lambda: normal(6), opset=11)
    gemm("gemm_opset10", lambda: normal(6), opset=10, alpha=0.75)

    case("linear", lambda: exported(nn.Sequential(
        nn.Flatten(), nn.Linear(size, 5)), shape))
    case("linear_no_bias", lambda: exported(nn.Sequential(
        nn.Flatten(), nn.Linear(size, 5, bias=False)), shape))

    def matmul(add, name):
        def make():
            w, b = weights(6, size).T.copy(), normal(6)
            nodes = [node("Flatten", "input", "flat"),
                     node("MatMul", "flat w", "product" if add else "output")]
            constants = {"w": w}
            if add:
                nodes.append(node("Add", add))
                constants["b"] = b
            return built(nodes, constants, shape, lambda x: x.flatten(1)
                         @ double(w) + (double(b) if add else 0.0))
        case(name, make)
    matmul("", "matmul")
    matmul("product b", "matmul_add")
    matmul("b product", "matmul_add_swapped")

    def matmul_twice():
        w, v, b = weights(7, size).T.copy(), weights(4, 7).T.copy(), normal(7)
        return built([node("Flatten", "input", "flat"),
                      node("MatMul", "flat w", "p"), node("Add", "p b", "q"),
                      node("Relu", "q", "r"), node("MatMul", "r v")],
                     {"w": w, "b": b, "v": v}, shape, lambda x: torch.relu(
                         x.flatten(1) @ double(w) + double(b)) @ double(v))
    case("matmul_relu_matmul", matmul_twice)


# --- element by element ------------------------------------------------------

def element_cases():
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


# --- pooling -----------------------------------------------------------------

def pool_cases():
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


# --- shapes ------------------------------------------------------------------

def shape_cases():
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


# --- where weights are kept --------------------------------------------------

def weight_cases():
    shape = (3, 3, 5, 7)

    def as_floats(name, array):
        """The same tensor as a list of numbers instead of raw bytes."""
        return helper.make_tensor(name, TensorProto.FLOAT, array.shape,
                                  array.flatten().tolist())

    def float_data():
        w, b = weights(5, 3, 3, 3), normal(5)
        return built([node("Conv", "input w b")],
                     {"w": as_floats("w", w), "b": as_floats("b", b)}, shape,
                     lambda x: conv(x, w, b))
    case("weights_float_data", float_data)

    def int64_data():
        # The sizes of a Reshape as a list of numbers.
        target = helper.make_tensor("target", TensorProto.INT64, (2,),
                                    (-1, 105))
        return built([node("Reshape", "input target")], {"target": target},
                     shape, lambda x: x.flatten(1))
    case("sizes_int64_data", int64_data)

    def constant_nodes():
        w, b = weights(5, 3, 3, 3), normal(5)
        return built([node("Constant", "", "w", value=raw("", w)),
                      node("Constant", "", "b", value_floats=b.tolist()),
                      node("Conv", "input w b")], {}, shape,
                     lambda x: conv(x, w, b))
    case("weights_constant_nodes", constant_nodes)

    def shared():
        w, b, c = weights(4, 4, 3, 3), normal(4), normal(4)
        return built([node("Identity", "w", "w_again"),
                      node("Conv", "input w b", "first", pads=[1] * 4),
                      node("Relu", "first", "r"),
                      node("Conv", "r w_again c", pads=[1] * 4)],
                     {"w": w, "b": b, "c": c}, (3, 4, 5, 7),
                     lambda x: conv(torch.relu(conv(x, w, b, [1] * 4)), w, c,
                                    [1] * 4))
    case("weights_shared_identity", shared)

    def shared_directly():
        w, b = weights(4, 4, 3, 3), normal(4)
        return built([node("Conv", "input w b", "first"),
                      node("Relu", "first", "r"), node("Conv", "r w b")],
                     {"w": w, "b": b}, (3, 4, 7, 9),
                     lambda x: conv(torch.relu(conv(x, w, b)), w, b))
    case("weights_shared", shared_directly)

    def transposed_matmul():
        w = weights(6, 105)
        return built([node("Flatten", "input", "flat"),
                      node("Transpose", "w", "w_turned", perm=[1, 0]),
                      node("MatMul", "flat w_turned")], {"w": w}, shape,
                     lambda x: x.flatten(1) @ double(w).T)
    case("weights_transposed_matmul", transposed_matmul)

    def transposed_conv():
        # [kh, kw, n, m], as channels-last frameworks keep them. Without perm
        # the order is reversed: [m, n, kw, kh].
        w, v = weights(4, 3, 3, 2), weights(5, 4, 2, 3)
        return built(
            [node("Transpose", "w", "w_turned", perm=[3, 2, 0, 1]),
             node("Conv", "input w_turned", "first"),
             node("Relu", "first", "r"),
             node("Transpose", "v", "v_turned"), node("Conv", "r v_turned")],
            {"w": w.transpose(2, 3, 1, 0), "v": v.transpose(3, 2, 1, 0)},
            (3, 3, 7, 9), lambda x: conv(torch.relu(conv(x, w)), v))
    case("weights_transposed_conv", transposed_conv)

    def outside(name, arrays, padding, lengths):
        """Tensors in NAME.bin, with `padding` bytes in front of each."""
        data, tensors = b"", {}
        for key, array in arrays.items():
            data += b"\xee" * padding
            tensor = TensorProto(name=key, data_type=TensorProto.FLOAT,
                                 dims=array.shape,
                                 data_location=TensorProto.EXTERNAL)
            content = array.tobytes()
            entries = {"location": name + ".bin", "offset": str(len(data))}
            if lengths:
                entries["length"] = str(len(content))
            for entry in entries.items():
                tensor.external_data.add(key=entry[0], value=entry[1])
            data += content
            tensors[key] = tensor
        return data, tensors

    def external():
        w, b = weights(5, 3, 3, 3), normal(5)
        data, tensors = outside("weights_external", {"w": w, "b": b}, 64, True)
        return built([node("Conv", "input w b")], tensors, shape,
                     lambda x: conv(x, w, b), outside=data)
    case("weights_external", external)

    def external_no_length():
        # Without a length the data reach to the end of the file.
        w = weights(5, 3, 3, 3)
        data, tensors = outside("weights_external_no_length", {"w": w}, 12,
                                False)
        return built([node("Conv", "input w")], tensors, shape,
                     lambda x: conv(x, w), outside=data)
    case("weights_external_no_length", external_no_length)

    def also_inputs():
        # Up to file format 3 all initialisers had to be inputs too.
        w, b = weights(5, 3, 3, 3), normal(5)
        return built([node("Conv", "input w b")], {"w": w, "b": b}, shape,
                     lambda x: conv(x, w, b), opset=8, also_inputs=("w", "b"))
    case("weights_also_inputs", also_inputs)

    def dead():
        # Nodes and weights that no output needs.
        w, b, v = weights(5, 3, 3, 3), normal(5), weights(2, 5, 1, 1)
        return built([node("Conv", "input w b", "c"), node("Relu", "c"),
                      node("Conv", "c v", "unused")],
                     {"w": w, "b": b, "v": v, "spare": normal(7)}, shape,
                     lambda x: torch.relu(conv(x, w, b)))
    case("unused_nodes", dead)


# --- numbers of 16 bits ------------------------------------------------------

def bfloat16(array):
    """The upper halves of float32 numbers, and what they stand for."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    bits = ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def half_tensor(name, bits, kind, as_ints=False):
    """float16 or bfloat16, as raw bytes or as a list of integers."""
    tensor = TensorProto(name=name, data_type=kind, dims=bits.shape)
    if as_ints:
        tensor.int32_data.extend(int(b) for b in bits.flat)
    else:
        tensor.raw_data = bits.tobytes()
    return tensor


def half_cases():
    shape = (3, 3, 5, 7)
    f16, b16 = TensorProto.FLOAT16, TensorProto.BFLOAT16
    f32 = TensorProto.FLOAT

    def cast_around(constants, expected, before=()):
        """A float16 convolution in a float32 network."""
        return built(list(before) + [
            node("Cast", "input", "x", to=f16),
            node("Conv", "x w b", "y", name="layer"),
            node("Cast", "y", to=f32)], constants, shape, expected)

    def halves(scale=1.0):
        return ((scale * weights(5, 3, 3, 3)).astype(np.float16),
                (scale * normal(5)).astype(np.float16))

    def plain():
        w, b = halves()
        return cast_around({"w": w, "b": b}, lambda x: conv(x, w, b))
    case("weights_float16", plain)

    def int32_data():
        w, b = halves()
        return cast_around(
            {k: half_tensor(k, v.view(np.uint16), f16, True)
             for k, v in (("w", w), ("b", b))}, lambda x: conv(x, w, b))
    case("weights_float16_int32_data", int32_data)

    def rounded():
        # The network rounds its weights itself.
        w, b = weights(5, 3, 3, 3), normal(5)
        return cast_around(
            {"v": w, "a": b},
            lambda x: conv(x, w.astype(np.float16), b.astype(np.float16)),
            [node("Cast", "v", "w", to=f16), node("Cast", "a", "b", to=f16)])
    case("weights_cast_float16", rounded)

    def subnormal():
        # Turned into float32 at once, so that they may be compared closely.
        w, b = halves(1e-6)
        assert 0 < np.abs(w[w != 0]).min() < 2 ** -20
        return built([node("Cast", "w", "v", to=f32),
                      node("Cast", "b", "a", to=f32),
                      node("Conv", "input v a")], {"w": w, "b": b}, shape,
                     lambda x: conv(x, w, b))
    case("weights_float16_subnormal", subnormal)

    def constant_node():
        w, b = halves()
        return built([node("Constant", "", "c", value=raw("", w)),
                      node("Cast", "c", "w", to=f32),
                      node("Cast", "b", "a", to=f32),
                      node("Conv", "input w a")], {"b": b}, shape,
                     lambda x: conv(x, w, b))
    case("weights_float16_constant_node", constant_node)

    def brain():
        w, w_value = bfloat16(weights(5, 3, 3, 3))
        b, b_value = bfloat16(1e-39 * normal(5))
        return built([node("Cast", "w", "v", to=f32),
                      node("Cast", "b", "a", to=f32),
                      node("Conv", "input v a")],
                     {"w": half_tensor("w", w, b16),
                      "b": half_tensor("b", b, b16, True)}, shape,
                     lambda x: conv(x, w_value, b_value))
    case("weights_bfloat16", brain)

    def network(kind, convert, opset):
        """All of one type, input and output included."""
        def make():
            c = {"w": weights(6, 3, 3, 3), "scale": uniform(0.5, 1.5, 6),
                 "shift": normal(6), "mean": normal(6),
                 "var": uniform(0.3, 2.0, 6), "v": weights(8, 6, 3, 3),
                 "b": normal(8), "g": weights(4, 8), "h": normal(4)}
            both = {k: convert(v) for k, v in c.items()}
            own = {k: double(v) for k, (_, v) in both.items()}

            def expected(x):
                x = F.conv2d(x, own["w"], None, padding=1)
                x = F.batch_norm(x, own["mean"], own["var"], own["scale"],
                                 own["shift"])
                x = F.conv2d(torch.relu(x), own["v"], own["b"])
                return F.linear(torch.relu(x).mean((2, 3)), own["g"], own["h"])
            # What the type can hold, so that both sides see the same.
            images = convert(normal(5, 3, 7, 9))[1].astype(np.float32)
            return built(
                [node("Conv", "input w", "c1", "first", pads=[1] * 4),
                 node("BatchNormalization", "c1 scale shift mean var", "n1",
                      "norm"),
                 node("Relu", "n1", "r1"),
                 node("Conv", "r1 v b", "c2", "second"),
                 node("Relu", "c2", "r2"),
                 node("GlobalAveragePool", "r2", "p"),
                 node("Flatten", "p", "f"),
                 node("Gemm", "f g h", "output", "last", transB=1)],
                {k: half_tensor(k, bits, kind)
                 for k, (bits, _) in both.items()}, images, expected,
                opset, kind=kind)
        return make

    def float16(array):
        value = array.astype(np.float16)
        return value.view(np.uint16), value
    case("network_float16", network(f16, float16, 13))
    # The first operator set in which layers may have this type.
    case("network_bfloat16", network(b16, bfloat16, 22))


# --- small networks ----------------------------------------------------------

def network_cases():
    def vgg():
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 7, 3, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(112, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 5))
    for opset in (11, 13, 17):
        case("network_vgg" + ("" if opset == 13 else "_opset%d" % opset),
             lambda opset=opset: exported(vgg(), (7, 3, 8, 8), opset))
    case("network_vgg_batchnorm", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6),
        nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 7, 3, padding=1), nn.BatchNorm2d(7), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 5),
        nn.Softmax(1)), (7, 3, 9, 8)))

    # Option A of He et al.: every other pixel, empty channels around.
    def padded(x, planes):
        return F.pad(x[:, :, ::2, ::2],
                     (0, 0, 0, 0, planes // 4, planes // 4))

    # The same with the padding left to the number of channels that arrive, and
    # so, in the file, worked out from the shape.
    def padded_by_shape(x, planes):
        missing = planes - x.shape[1]
        before = missing // 2
        return F.pad(x[:, :, ::2, ::2],
                     (0, 0, 0, 0, before, missing - before))

    class Block(nn.Module):
        def __init__(self, inputs, planes, stride=1, shortcut=None):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.planes = planes
            self.shortcut = shortcut
            if stride > 1 and shortcut is None:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, planes, 1, stride, bias=False),
                    nn.BatchNorm2d(planes))

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            if isinstance(self.shortcut, nn.Module):
                x = self.shortcut(x)
            elif self.shortcut:
                x = self.shortcut(x, self.planes)
            return F.relu(y + x)

    class Residual(nn.Module):
        def __init__(self, shortcut=None):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(4)
            self.layer1 = Block(4, 4)
            self.layer2 = Block(4, 8, 2, shortcut)
            self.linear = nn.Linear(8, 5)

        def forward(self, x):
            x = F.relu(self.bn1(self.conv1(x)))
            x = self.layer2(self.layer1(x))
            # As CIFAR networks are mostly written: pooled by size, and
            # flattened through the sizes at hand.
            x = F.avg_pool2d(x, int(x.size(3)))
            return self.linear(x.view(x.size(0), -1))

    shape = (5, 3, 9, 9)

    # With all nodes kept, and as the exporter writes it by default.
    for name, shortcut in (("", None), ("_padded", padded),
                           ("_padded_by_shape", padded_by_shape)):
        case("network_residual" + name,
             lambda shortcut=shortcut: exported(Residual(shortcut), shape))
        case("network_residual%s_folded" % name,
             lambda shortcut=shortcut: exported(Residual(shortcut), shape,
                                                keep=False))
    for opset in (11, 17):
        case("network_residual_padded_opset%d" % opset,
             lambda opset=opset: exported(Residual(padded), shape, opset))

    case("network_mobile", lambda: exported(apply(
        lambda x, stem, wide, deep, flat, head: (
            lambda y: head((y + flat(deep(wide(y)))).mean((2, 3))))(stem(x)),
        nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1, bias=False), nn.BatchNorm2d(5),
                      nn.ReLU6()),
        nn.Sequential(nn.Conv2d(5, 10, 1, bias=False), nn.BatchNorm2d(10),
                      nn.ReLU6()),
        nn.Sequential(nn.Conv2d(10, 10, 3, 1, 1, groups=10, bias=False),
                      nn.BatchNorm2d(10), nn.ReLU6()),
        nn.Sequential(nn.Conv2d(10, 5, 1, bias=False), nn.BatchNorm2d(5)),
        nn.Linear(5, 4)), (5, 3, 11, 9)))

    case("network_dense", lambda: exported(apply(
        lambda x, stem, one, two, head: (lambda y: (
            lambda z: head(torch.cat([z, two(z)], 1)))(
                torch.cat([y, one(y)], 1)))(stem(x)),
        nn.Conv2d(3, 4, 3, 1, 1),
        nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(),
                      nn.Conv2d(4, 3, 3, 1, 1, bias=False)),
        nn.Sequential(nn.BatchNorm2d(7), nn.ReLU(),
                      nn.Conv2d(7, 3, 3, 1, 1, bias=False)),
        nn.Sequential(nn.BatchNorm2d(10), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                      nn.Flatten(), nn.Linear(10, 5))), (5, 3, 7, 9)))

    case("network_linear", lambda: exported(nn.Sequential(
        nn.Flatten(), nn.Linear(75, 11), nn.ReLU(), nn.Linear(11, 7),
        nn.ReLU(), nn.Linear(7, 5), nn.LogSoftmax(1)), (7, 3, 5, 5)))


# --- files -------------------------------------------------------------------

def write(folder):
    os.makedirs(folder, exist_ok=True)
    for stale in glob.glob(os.path.join(folder, "*")):
        if stale.endswith((".onnx", ".h5", ".bin")):
            os.unlink(stale)
    for name, build in CASES.items():
        random.seed(zlib.crc32(name.encode()))
        made = build()
        images = np.ascontiguousarray(made.images, np.float32)
        outputs = np.ascontiguousarray(made.outputs, np.float32)
        assert np.isfinite(outputs).all() and outputs.any(), name
        assert outputs.shape[0] == images.shape[0], name
        path = os.path.join(folder, name)
        with open(path + ".onnx", "wb") as file:
            file.write(made.model.SerializeToString())
        if made.outside is not None:
            with open(path + ".bin", "wb") as file:
                file.write(made.outside)
        with h5py.File(path + ".h5", "w") as file:
            file.create_dataset("images", data=images)
            # The networks' files have a string of variable length, as Python
            # writes it; the others one of fixed length, as C programs do: a
            # reader has to take both, and it saves 4 kB per file.
            if not name.startswith("network_"):
                file["images"].attrs["layout"] = np.bytes_("NCHW")
            else:
                file["images"].attrs["layout"] = "NCHW"
            file.create_dataset("outputs", data=outputs)
    with open(os.path.join(folder, "cases.txt"), "w") as file:
        file.write("".join(name + "\n" for name in CASES))
    print("%d cases" % len(CASES))
    return 0


def check(folder):
    """Compare all cases with onnxruntime; 1 if one of them differs."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    failures = 0
    worst = 0.0
    with open(os.path.join(folder, "cases.txt")) as file:
        names = file.read().split()
    for name in names:
        path = os.path.join(folder, name)
        try:
            # Not in full by path: old versions write what they infer to it.
            onnx.checker.check_model(path + ".onnx")
            onnx.checker.check_model(onnx.load(path + ".onnx"),
                                     full_check=True)
            if name in NOT_RUN:
                continue
            session = onnxruntime.InferenceSession(
                path + ".onnx", options, providers=["CPUExecutionProvider"])
            inputs = [i.name for i in session.get_inputs()]
            results = [o.name for o in session.get_outputs()]
            assert inputs == ["input"], "inputs are %s" % inputs
            assert results == ["output"], "outputs are %s" % results
            with h5py.File(path + ".h5", "r") as file:
                images, outputs = file["images"][:], file["outputs"][:]
            tolerance = TOLERANCE
            if "float16" in name:
                tolerance = HALF_TOLERANCE
            if session.get_inputs()[0].type == "tensor(float16)":
                images = images.astype(np.float16)
            # All at once and one by one: the batch has to be free.
            together = session.run(None, {"input": images})[0]
            alone = np.concatenate([
                session.run(None, {"input": images[i:i + 1]})[0]
                for i in range(len(images))])
            for found in (together, alone):
                assert found.shape == outputs.shape, "shape %s, expected %s" % (
                    found.shape, outputs.shape)
                difference = np.abs(found - outputs).max()
                difference /= np.abs(outputs).max()
                if tolerance == TOLERANCE:
                    worst = max(worst, difference)
                assert difference <= tolerance, "differs by %g" % difference
        except Exception as error:
            print("%s: %s" % (name, error))
            failures += 1
    print("%d cases, %d differ, largest relative difference %.2g"
          % (len(names), failures, worst))
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true",
                        help="compare the files there are with onnxruntime")
    parser.add_argument("--folder", default=FOLDER,
                        help="where the files are (default: beside this file)")
    arguments = parser.parse_args()
    if arguments.check:
        return check(arguments.folder)
    # Only here, as the Python that has onnxruntime may have no PyTorch.
    global torch, nn, F
    import torch
    import torch.nn.functional as F
    from torch import nn
    torch.set_num_threads(1)
    # The exporter's remarks on what it does not fold: here that is meant.
    warnings.simplefilter("ignore")
    for add in (conv_cases, norm_cases, linear_cases, element_cases,
                pool_cases, shape_cases, weight_cases, half_cases,
                network_cases):
        add()
    return write(arguments.folder)


if __name__ == "__main__":
    sys.exit(main())
