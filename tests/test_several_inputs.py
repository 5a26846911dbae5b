#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of several inputs through the program, judged by onnxruntime.

Two images that meet in an Add, one of them of a free size; an image, a vector and whole numbers that are joined; names
with a slash. REAP_PROGRAM is the program, REAP_VENV_PYTHON another Python to try. Exit status 77 (skipped) where onnx,
onnxruntime, NumPy or h5py are missing.
"""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from judged import PROGRAM, TensorProto, h5py, helper, np, numpy_helper, onnx, onnxruntime

IMAGES = 150


class Net:
    """A network put together node by node, and its inputs' values."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.tensors, self.inputs, self.values = [], [], [], {}

    def input(self, name, shape, dims=None, whole=False):
        kind = TensorProto.INT64 if whole else TensorProto.FLOAT
        self.inputs.append(helper.make_tensor_value_info(name, kind, ["N"] + list(dims or shape)))
        size = (IMAGES, *shape)
        self.values[name] = self.rng.integers(-3, 9, size) if whole else self.rng.standard_normal(size, dtype=np.float32)
        return name

    def constant(self, name, *shape):
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.3
        values = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        self.tensors.append(numpy_helper.from_array(values, name))
        return name

    def step(self, op, name, *inputs, **attributes):
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def conv(self, name, x, n, m):
        y = self.step("Conv", name, x, self.constant(name + ".w", m, n, 3, 3), self.constant(name + ".b", m), pads=[1] * 4)
        return self.step("Relu", name + ".relu", y)

    def dense(self, name, x, n, m):
        return self.step("Gemm", name, x, self.constant(name + ".w", m, n), self.constant(name + ".b", m), transB=1)

    def pool(self, name, x):
        return self.step("Flatten", name + ".flat", self.step("GlobalAveragePool", name, x))

    def save(self, path, output):
        graph = helper.make_graph(self.nodes, "g", self.inputs,
                                  [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 5])], self.tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def two_images():
    net = Net(1)
    left = net.conv("left", net.input("a", (3, 8, 6)), 3, 12)
    right = net.conv("right", net.input("b", (2, 8, 6), (2, "height", "width")), 2, 12)
    y = net.conv("second", net.step("Add", "sum", left, right), 12, 16)
    return net, net.dense("scores", net.pool("pool", net.conv("third", y, 16, 10)), 10, 5)


def joined():
    net = Net(2)
    image = net.pool("pool", net.conv("second", net.conv("first", net.input("image", (3, 7, 7)), 3, 12), 12, 14))
    vector = net.step("Relu", "vector.relu", net.dense("vector", net.input("vector/of:0", (9,)), 9, 11))
    number = net.step("Cast", "real", net.input("number", (2,), whole=True), to=TensorProto.FLOAT)
    y = net.step("Concat", "join", image, vector, number, axis=1)
    return net, net.dense("scores", net.step("Relu", "hidden.relu", net.dense("hidden", y, 27, 20)), 20, 5)


class SeveralInputs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()

    def tearDown(self):
        shutil.rmtree(self.folder)

    def at(self, name):
        return os.path.join(self.folder, name)

    def reap(self, *words, ranks=1):
        launcher = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
        done = subprocess.run(launcher + [PROGRAM] + [str(w) for w in words], capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr

    def done(self, *words, ranks=1):
        status, text = self.reap(*words, "--progress", "none", ranks=ranks)
        self.assertEqual(status, 0, text)

    def refused(self, data, *texts):
        status, text = self.reap("eval", self.at("net.onnx"), "--data", data)
        self.assertEqual(status, 3, text)
        for wanted in texts:
            self.assertIn(wanted, text)

    def write(self, values, name="data.h5"):
        with h5py.File(self.at(name), "w") as file:
            for key, x in values.items():
                data = file.create_dataset("inputs/" + key.replace("/", "."), data=x)
                data.attrs["layout"] = "NCHW"
            file["labels"] = np.arange(IMAGES) % 5
        return self.at(name)

    def runtime(self, path, values):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return session.run(None, values)[0]

    def outputs(self, path, data, ranks=1):
        self.done("eval", path, "--data", data, "--outputs", self.at("outputs.h5"), ranks=ranks)
        with h5py.File(self.at("outputs.h5")) as file:
            found = file["outputs"][()]
        os.remove(self.at("outputs.h5"))
        return found

    def close(self, found, wanted):
        self.assertEqual(found.shape, wanted.shape)
        self.assertLess(np.abs(found - wanted).max(), 1e-5 * np.abs(wanted).max())

    def prune(self, name, data, *options, ranks=1):
        self.done("prune", self.at("net.onnx"), "--calib", data, *options, "-o", self.at(name + ".h5"), "--onnx",
                  self.at(name + ".onnx"), "--report", self.at(name + ".json"), ranks=ranks)
        with open(self.at(name + ".json"), encoding="utf-8") as file:
            return json.load(file)

    def whole(self, made):
        """Forward, pruned to a budget, and cut, on several ranks."""
        net, output = made
        net.save(self.at("net.onnx"), output)
        data = self.write(net.values)
        wanted = self.runtime(self.at("net.onnx"), net.values)
        self.close(self.outputs(self.at("net.onnx"), data), wanted)
        self.close(self.outputs(self.at("net.onnx"), data, ranks=3), wanted)
        kept = []
        for ranks in (1, 2):
            report = self.prune("all%d" % ranks, data, "--flops", 0.6, "--eval", data, ranks=ranks)
            kept.append({name: group["kept"] for name, group in report["groups"].items()})
            self.assertLess(report["pruned"]["flops"], 0.61 * report["baseline"]["flops"])
            found = self.runtime(self.at("all%d.onnx" % ranks), net.values)
            for end in (".onnx", ".h5"):
                self.close(self.outputs(self.at("all%d" % ranks) + end, data), found)
        self.assertEqual(*kept)
        self.prune("cut", data, "--keep", 0.5, "--scope", "all", "--method", "l1", "--refit", "none")
        self.close(self.outputs(self.at("cut.h5"), data), self.runtime(self.at("cut.onnx"), net.values))

    def stored(self, made):
        """From stored statistics, without the inputs."""
        net, output = made
        net.save(self.at("net.onnx"), output)
        data = self.write(net.values)
        self.done("stats", self.at("net.onnx"), "--calib", data, "-o", self.at("stats.h5"), ranks=2)
        self.done("prune", self.at("net.onnx"), "--from-stats", self.at("stats.h5"), "--keep", 0.5, "-o", self.at("s.h5"),
                  "--onnx", self.at("s.onnx"))
        self.close(self.outputs(self.at("s.h5"), data), self.runtime(self.at("s.onnx"), net.values))

    def test_two_images(self):
        self.whole(two_images())

    def test_joined(self):
        self.whole(joined())
        self.stored(joined())

    def test_refused(self):
        net, output = joined()
        net.save(self.at("net.onnx"), output)
        some = dict(net.values)
        with h5py.File(self.at("images.h5"), "w") as file:
            file["images"] = net.values["image"]
            file["images"].attrs["layout"] = "NCHW"
        self.refused(self.at("images.h5"), '"images" alone', "has 3 inputs (image, vector/of:0, ...)", "inputs/NAME")
        del some["number"]
        self.refused(self.write(some, "few.h5"), '"image"', 'takes "number", of 2', "inputs/number")
        some["number"] = net.values["number"][:, :1]
        self.refused(self.write(some, "shape.h5"), '"inputs/number" of 1', "takes 2")
        some["number"] = net.values["number"].astype(np.float32)
        self.refused(self.write(some, "type.h5"), "takes whole numbers for number")
        some["number"] = net.values["number"][:-1]
        self.refused(self.write(some, "count.h5"), '"inputs/number" has 149 entries')
        some["number"] = net.values["number"].copy()
        some["number"][7, 1] = 1 << 40
        self.refused(self.write(some, "large.h5"), "image 7", "inputs/number", "2^24")
        some["number"] = net.values["number"]
        some["image"] = net.values["image"].copy()
        some["image"][3, 1, 2, 2] = np.nan
        self.refused(self.write(some, "nan.h5"), "image 3", "inputs/image", "NaN")
        with h5py.File(self.at("none.h5"), "w") as file:
            file.create_group("inputs")
        self.refused(self.at("none.h5"), '"inputs" holds 0 data sets')


if __name__ == "__main__":
    unittest.main()
