# SPDX-License-Identifier: BSD-3-Clause
"""What the operator cases are made with: random numbers, networks written by PyTorch or node by node. See make_kernels.py."""

import io

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import nn

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
