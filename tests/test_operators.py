#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Operators and whole transformer blocks through `reap eval`, judged by onnxruntime.

One network for each operator set from 7 on: functions of one and of two numbers, normalisations and softmaxes along each axis, products
of stacks of matrices, each an output of its own. Then vision transformers as exporters write them, with the images of a batch moved
behind other axes: their outputs, and that the hidden neurons of their feed-forward layers leave.

Exit status 77 where numpy, h5py, onnx or onnxruntime are missing.
"""
import json
import os
import shutil
import subprocess
import unittest

from judged import PROGRAM, TensorProto, h5py, helper, np, numpy_helper, onnx, onnxruntime, scratch

SCRATCH = scratch("operators")
IMAGES, CHANNELS, HEIGHT, WIDTH = 7, 6, 5, 3
UNARY = dict(Abs=6, Neg=6, Reciprocal=6, Sqrt=6, Exp=6, Log=6, Sin=7, Cos=7, Erf=9, Tanh=6, Sigmoid=6, HardSigmoid=6, LeakyRelu=6,
             Elu=6, Selu=6, Softplus=6, Softsign=6, Celu=12, HardSwish=14, Mish=18, Gelu=20)
POSITIVE = ["Reciprocal", "Sqrt", "Log"]


class Network:
    """Nodes and weights in the making."""

    def __init__(self, opset, seed=0):
        self.random = np.random.default_rng(seed)
        self.opset, self.nodes, self.weights, self.outputs = opset, [], [], []

    def constant(self, array):
        name = "c%d" % len(self.weights)
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def floats(self, *shape, scale=1.0, shift=0.0):
        return self.constant((shift + scale * self.random.standard_normal(shape)).astype(np.float32))

    def number(self, value):
        return self.constant(np.float32(value))

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def node(self, op, *inputs, **attributes):
        out = "v%d_%s" % (len(self.nodes), op)
        self.nodes.append(helper.make_node(op, list(inputs), [out], name="n%d_%s" % (len(self.nodes), op), **attributes))
        return out

    def output(self, name):
        self.outputs.append(name)
        return name

    def linear(self, x, inputs, outputs):
        y = self.node("MatMul", x, self.floats(inputs, outputs, scale=inputs ** -0.5))
        return self.node("Add", y, self.floats(outputs, scale=0.2))

    def model(self, shape, batch="N"):
        value = helper.make_tensor_value_info
        graph = helper.make_graph(self.nodes, "g", [value("x", TensorProto.FLOAT, [batch, *shape])],
                                  [value(o, TensorProto.FLOAT, None) for o in self.outputs], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 10 if self.opset > 20 else 8
        return model


def functions(net):
    size = net.node("Add", net.node("Abs", "x"), net.number(0.1))
    for op, since in UNARY.items():
        if since <= net.opset:
            net.output(net.node(op, size if op in POSITIVE else "x"))
    for op, attributes in (("HardSigmoid", dict(alpha=0.4, beta=0.3)), ("LeakyRelu", dict(alpha=0.3)), ("Elu", dict(alpha=1.7)),
                           ("Selu", dict(alpha=1.2, gamma=0.9))):
        net.output(net.node(op, "x", **attributes))
    if net.opset >= 12:
        net.output(net.node("Celu", "x", alpha=0.6))
    if net.opset >= 20:
        net.output(net.node("Gelu", "x", approximate="tanh"))
    for exponent in (2.0, 0.5, -1.0, 1.7):
        net.output(net.node("Pow", size, net.number(exponent)))
    net.output(net.node("Pow", net.constant(np.float32(1.3)), "x"))
    other = net.node("Mul", "x", net.floats(CHANNELS, 1, 1))
    mean = net.node("GlobalAveragePool", "x")
    if net.opset >= 8:
        for op in ("Min", "Max"):
            net.output(net.node(op, "x", mean, net.floats(WIDTH)))
            net.output(net.node(op, net.node(op, "x"), other))
    for slope in ((1,), (CHANNELS, 1, 1), (WIDTH,), (CHANNELS, HEIGHT, WIDTH)):
        net.output(net.node("PRelu", "x", net.floats(*slope)))
    net.output(net.node("Mul", "x", net.node("Sigmoid", "x")))  # one step in reap
    gated = net.node("Mul", net.node("Tanh", other), other)
    net.output(net.node("Clip", gated, min=-0.2, max=0.4) if net.opset < 11 else
               net.node("Clip", gated, net.number(-0.2), net.number(0.4)))


def folded(net):
    """What is the same for all images: positions of a transformer, a scale of the size of the heads."""
    steps = net.node("Mul", net.constant(np.arange(WIDTH, dtype=np.float32)), net.number(0.7))
    size = net.node("Sqrt", net.node("Sqrt", net.number(16.0)))
    y = net.node("Add", net.node("Sin", steps), net.node("Cos", steps))
    y = net.node("Div", net.node("Exp", net.node("Neg", y)), size)
    if net.opset >= 8:
        y = net.node("Max", net.node("Min", y, net.number(0.8)), net.number(0.2))
    net.output(net.node("Mul", "x", net.node("Pow", y, net.number(3.0))))


def normalisations(net):
    for axis in range(1, 4):
        for op in ("Softmax", "LogSoftmax"):
            net.output(net.node(op, "x", axis=axis if net.opset < 11 or axis % 2 else axis - 4))
    net.output(net.node("Softmax", "x"))
    scale, shift = net.floats(CHANNELS, shift=1), net.floats(CHANNELS)
    net.output(net.node("InstanceNormalization", "x", scale, shift, epsilon=1e-2))
    flat = net.node("Reshape", "x", net.ints(0, CHANNELS, -1))
    net.output(net.node("InstanceNormalization", flat, scale, shift))
    if net.opset >= 17:
        sizes = (CHANNELS, HEIGHT, WIDTH)
        for axis in (1, 2, 3, -1, -2):
            shape = sizes[axis - 1:] if axis > 0 else sizes[axis:]
            net.output(net.node("LayerNormalization", "x", net.floats(*shape, shift=1), net.floats(*shape), axis=axis, epsilon=1e-3))
        net.output(net.node("LayerNormalization", "x", net.floats(WIDTH)))
    if net.opset >= 21:
        for groups in (1, 2, 3, 6):
            net.output(net.node("GroupNormalization", "x", scale, shift, num_groups=groups))
    if net.opset >= 23:
        net.output(net.node("RMSNormalization", "x", net.floats(WIDTH), epsilon=1e-3))
        net.output(net.node("RMSNormalization", "x", net.floats(HEIGHT, WIDTH), axis=2))


def standardised(net):
    """A convolution whose weights go through a norm first: by their own mean and variance where there is a training mode."""
    weights = net.node("Reshape", net.floats(4, CHANNELS, 3, 3, shift=0.5), net.ints(1, 4, -1))
    factors = [net.floats(4, shift=1), net.floats(4), net.floats(4), net.constant(np.full(4, 0.7, np.float32))]
    training = dict(training_mode=1) if net.opset >= 14 else {}
    weights = net.node("BatchNormalization", weights, *factors, epsilon=1e-3, **training)
    if training:  # has to have more outputs
        net.nodes[-1].output.extend([weights + "_mean", weights + "_variance"])
    net.output(net.node("Conv", "x", net.node("Reshape", weights, net.ints(4, CHANNELS, 3, 3)), kernel_shape=[3, 3]))


def products(net):
    turned = net.node("Transpose", "x", perm=[0, 1, 3, 2])
    net.output(net.node("MatMul", "x", turned))
    net.output(net.node("MatMul", turned, "x"))
    net.output(net.node("MatMul", net.node("GlobalAveragePool", "x"), net.node("MaxPool", "x", kernel_shape=[HEIGHT, 1])))
    net.output(net.node("MatMul", "x", net.floats(CHANNELS, WIDTH, 4)))
    net.output(net.node("MatMul", net.floats(2, HEIGHT), "x"))
    flat = net.node("Reshape", "x", net.ints(0, CHANNELS, -1))
    net.output(net.node("MatMul", flat, net.node("Transpose", flat, perm=[0, 2, 1])))
    net.output(net.node("Relu", net.node("MatMul", flat, net.floats(1, HEIGHT * WIDTH, 2))))


TOKENS, WIDE, HEADS = 12, 8, 2


def head_first(net, x, form, perm):
    return net.node("Transpose", net.node("Reshape", x, net.ints(*form)), perm=perm)


def attention(net, x, moved):
    """Of [images, tokens, features]; `moved`: tokens first, the images behind them, as PyTorch's own attention has it."""
    size = WIDE // HEADS
    q, k, v = (net.linear(net.node("Transpose", x, perm=[1, 0, 2]) if moved else x, WIDE, WIDE) for _ in range(3))
    if moved:  # [tokens, images * heads, size]
        form = (TOKENS, -1, size)
        q, k, v = (head_first(net, y, form, p) for y, p in ((q, [1, 0, 2]), (k, [1, 2, 0]), (v, [1, 0, 2])))
    else:
        form = (0, TOKENS, HEADS, size)
        q, k, v = (head_first(net, y, form, p) for y, p in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3])))
    y = net.node("Mul", net.node("MatMul", q, k), net.number(size ** -0.5))
    y = net.node("MatMul", net.node("Softmax", y, axis=-1 if net.opset >= 13 else 2 if moved else 3), v)
    if moved:
        y = net.node("Reshape", net.node("Transpose", y, perm=[1, 0, 2]), net.ints(-1, WIDE))  # [tokens * images, features]
        y = net.node("Gemm", y, net.floats(WIDE, WIDE, scale=0.3), net.floats(WIDE), transB=1)
        return net.node("Transpose", net.node("Reshape", y, net.ints(TOKENS, -1, WIDE)), perm=[1, 0, 2])
    y = net.node("Reshape", net.node("Transpose", y, perm=[0, 2, 1, 3]), net.ints(0, TOKENS, WIDE))
    return net.linear(y, WIDE, WIDE)


def layer_norm(net, x):
    scale, shift = net.floats(WIDE, scale=0.1, shift=1), net.floats(WIDE, scale=0.1)
    if net.opset >= 17:
        return net.node("LayerNormalization", x, scale, shift, axis=-1)
    mean = net.node("Sub", x, net.node("ReduceMean", x, axes=[-1]))
    variance = net.node("ReduceMean", net.node("Pow", mean, net.number(2)), axes=[-1])
    y = net.node("Div", mean, net.node("Sqrt", net.node("Add", variance, net.number(1e-5))))
    return net.node("Add", net.node("Mul", y, scale), shift)


def gelu(net, x):
    if net.opset >= 20:
        return net.node("Gelu", x)
    y = net.node("Add", net.node("Erf", net.node("Div", x, net.number(2 ** 0.5))), net.number(1))
    return net.node("Mul", net.node("Mul", x, y), net.number(0.5))


def transformer(opset, moved):
    net = Network(opset, 3)
    y = net.node("Conv", "x", net.floats(WIDE, 3, 2, 2, scale=0.3), net.floats(WIDE), kernel_shape=[2, 2], strides=[2, 2])
    y = net.node("Transpose", net.node("Reshape", y, net.ints(0, WIDE, -1)), perm=[0, 2, 1])
    y = net.node("Add", y, net.floats(1, TOKENS, WIDE, scale=0.3))
    for _ in range(2):
        y = net.node("Add", y, attention(net, layer_norm(net, y), moved))
        hidden = gelu(net, net.linear(layer_norm(net, y), WIDE, 24))
        y = net.node("Add", y, net.linear(hidden, 24, WIDE))
    y = net.node("ReduceMean", layer_norm(net, y), **dict(axes=[1], keepdims=0)) if opset < 18 else \
        net.node("ReduceMean", layer_norm(net, y), net.ints(1), keepdims=0)
    net.output(net.linear(y, WIDE, 5))
    return net.model((3, 6, 8))


def runtime(path, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": images})


class Operators(unittest.TestCase):
    def run_reap(self, *arguments, status=0):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, errors="replace", timeout=600)
        self.assertEqual(done.returncode, status, "%s: %s" % (" ".join(arguments), done.stdout + done.stderr))
        return done.stderr

    def files(self, name, model, images):
        path, data = os.path.join(SCRATCH, name + ".onnx"), os.path.join(SCRATCH, name + "-data.h5")
        onnx.save(model, path)
        with h5py.File(data, "w") as file:
            file["images"] = images
            file["images"].attrs["layout"] = "NCHW"
        return path, data

    def check(self, name, path, data, images):
        stored, wanted = os.path.join(SCRATCH, name + "-out.h5"), runtime(path, images)
        self.run_reap("eval", path, "--data", data, "--outputs", stored)
        names = [o.name for o in onnx.load(path).graph.output]
        with h5py.File(stored) as file:
            for k, y in enumerate(wanted):
                found = file["outputs_%d" % k if k else "outputs"][...].reshape(y.shape)
                apart = np.abs(found - y).max()
                self.assertLessEqual(apart, 1e-5 * max(1, np.abs(y).max()), "%s, %s" % (name, names[k]))
        os.remove(stored)

    def check_operators(self, opset):
        for k, fill in enumerate((functions, folded, normalisations, standardised, products)):
            net = Network(opset, opset)
            fill(net)
            images = net.random.standard_normal((IMAGES, CHANNELS, HEIGHT, WIDTH)).astype(np.float32) * 3
            name = "%s-%d" % (fill.__name__, opset)
            model = net.model((CHANNELS, HEIGHT, WIDTH))
            self.check(name, *self.files(name, model, images), images)

    def check_transformer(self, opset, moved):
        name = "transformer-%d-%d" % (opset, moved)
        images = np.random.default_rng(1).standard_normal((70, 3, 6, 8)).astype(np.float32)
        path, data = self.files(name, transformer(opset, moved), images)
        self.check(name, path, data, images)
        pruned, report = os.path.join(SCRATCH, name + "-pruned.onnx"), os.path.join(SCRATCH, name + ".json")
        self.run_reap("prune", path, "--calib", data, "--keep", "0.5", "--onnx", pruned, "-o", pruned + ".h5", "--report", report)
        with open(report) as file:
            layers = json.load(file)["layers"]
        self.assertEqual([len(layer["removed"]) for layer in layers], [12, 12])
        for layer in layers:  # what makes the neurons is solved in turn with what reads them, through the function between
            self.assertTrue(layer["producer"]["changed"])
            self.assertLess(layer["relative_error"], 0.9 * layer["producer"]["alone_relative_error"])
        self.check(name + "-pruned", pruned, data, images)
        # Half of the neurons, re-solved, do better than nothing for them.
        a, b = runtime(path, images)[0], runtime(pruned, images)[0]
        self.assertLess(((a - b) ** 2).sum(), 0.5 * ((a - a.mean(0)) ** 2).sum())


for number in (7, 8, 9, 11, 12, 13, 14, 17, 18, 20, 21, 23):
    setattr(Operators, "test_operators_of_%d" % number, lambda self, opset=number: self.check_operators(opset))
for number in (11, 13, 17, 20):
    for forward in (False, True):
        setattr(Operators, "test_transformer_%d_%d" % (number, forward),
                lambda self, opset=number, moved=forward: self.check_transformer(opset, moved))

if __name__ == "__main__":
    shutil.rmtree(SCRATCH, ignore_errors=True)
    os.makedirs(SCRATCH)
    unittest.main()
