#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Matrix products on two, three and four axes through the program, judged by onnxruntime.

Small random networks: two convolutions, the first of which loses outputs, then MatMuls (with or without an Add) along the last axis of
what they make, with a batch norm, a Relu, a Transpose or a Reshape behind them. For each of them, on one rank or two:
  - eval's outputs are onnxruntime's;
  - rows that `stats --all --activations` stores, all or sampled, are those of onnxruntime's tensors at the places that it names;
  - pruned in front of them, no product moves further with repair than without, the errors reported on images held out are those of
    the written network, and both files compute the same.

And matrix products with more columns than there are images, solved from their rows.

Exit status 77 where numpy, h5py, onnx or onnxruntime are missing.
"""
import json
import os
import shutil
import subprocess
import unittest

from judged import PROGRAM, TensorProto, h5py, helper, np, numpy_helper, onnx, onnxruntime, scratch

SCRATCH = scratch("matmul")
IMAGES, HEIGHT, WIDTH = 130, 5, 6
BEHIND = ["norm", "Relu", "Transpose", "Reshape"]


class Network:
    """Nodes and weights in the making; values are torch-like normal numbers."""

    def __init__(self, seed, rank, behind, more, add):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights, self.products = [], [], []
        self.outputs = 4 + int(self.random.integers(3))
        x = self.conv("x", 3, 10, "first")
        x = self.conv(self.node("Relu", [x]), 10, self.outputs, "second")
        x = self.node("Relu", [x])
        columns = WIDTH if rank != 3 else HEIGHT * WIDTH
        if rank == 3:
            x = self.node("Reshape", [x, self.ints([0, 0, -1])])
        if rank == 2:
            x = self.node("Reshape", [x, self.ints([-1, WIDTH])])
        m = max(2, self.outputs + more)
        x = self.product(x, columns, m, add, "one", norm=behind == "norm", channels=m if rank == 2 else self.outputs, folds=rank == 2)
        if behind == "Relu":
            x = self.node("Relu", [x])
        if behind == "Transpose" and rank > 2:
            order = [0, 2, 1] if rank == 3 else [0, 3, 1, 2]
            x = self.node("Transpose", [x], perm=order)
            m = self.outputs if rank == 3 else HEIGHT
        if behind == "Reshape" and rank > 2:
            x = self.node("Reshape", [x, self.ints([0, -1, 1, m] if rank == 3 else [0, -1, m])])
        x = self.product(x, m, 5, not add, "two")
        last = self.node("Reshape", [x, self.ints([IMAGES, -1])])
        value = helper.make_tensor_value_info
        graph = helper.make_graph(self.nodes, "g", [value("x", TensorProto.FLOAT, ["N", 3, HEIGHT, WIDTH])],
                                  [value(last, TensorProto.FLOAT, None)], self.weights)
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        self.images = self.random.standard_normal((IMAGES, 3, HEIGHT, WIDTH)).astype(np.float32)
        self.last = last
        # The batch is not fixed: the last shape names it as what is left.
        columns = int(np.prod(self.values(self.model, [last])[0].shape[1:]))
        self.weights[self.shape_of_last].CopyFrom(numpy_helper.from_array(np.array([-1, columns]), self.weights[self.shape_of_last].name))
        graph.initializer[self.shape_of_last].CopyFrom(self.weights[self.shape_of_last])
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    def constant(self, array):
        name = "c%d" % len(self.weights)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, numbers):
        self.shape_of_last = len(self.weights)
        return self.constant(np.array(numbers, np.int64))

    def normal(self, *shape, scale=1.0):
        return self.constant((scale * self.random.standard_normal(shape)).astype(np.float32))

    def node(self, op, inputs, name="", **attributes):
        out = "v%d" % len(self.nodes)
        self.nodes.append(helper.make_node(op, inputs, [out], name=name or "%s_%d" % (op, len(self.nodes)), **attributes))
        return out

    def conv(self, x, inputs, outputs, name):
        w = self.normal(outputs, inputs, 3, 3, scale=(2 / (9 * inputs)) ** 0.5)
        return self.node("Conv", [x, w, self.normal(outputs, scale=0.3)], name, pads=[1, 1, 1, 1])

    def product(self, x, columns, m, add, name, norm=False, channels=0, folds=False):
        y = self.node("MatMul", [x, self.normal(columns, m, scale=(2 / columns) ** 0.5)], name)
        target = y
        if add:
            y = target = self.node("Add", [y, self.normal(m, scale=0.3)])
        if norm:
            positive = [self.constant((0.5 + self.random.random(channels)).astype(np.float32)) for _ in range(2)]
            y = self.node("BatchNormalization", [y, positive[0], self.normal(channels), self.normal(channels), positive[1]])
            target = y if folds else target
        self.products.append((name, x, target))
        return y

    def values(self, model, names):
        """Tensors of a model, in onnxruntime."""
        model = onnx.ModelProto.FromString(model.SerializeToString())
        del model.graph.output[:]
        for name in names:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": self.images})


def relative(found, wanted):
    """Squared error over centred energy, of rows of outputs along the last axis."""
    found, wanted = (a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (found, wanted))
    return ((found - wanted) ** 2).sum() / ((wanted - wanted.mean(0)) ** 2).sum()


class Products(unittest.TestCase):
    def reap(self, ranks, *arguments):
        start = ["mpirun", "--oversubscribe", "-n", str(ranks)] if ranks > 1 else []
        done = subprocess.run(start + [PROGRAM, *arguments], capture_output=True, text=True, errors="replace", timeout=600)
        self.assertEqual(done.returncode, 0, "%s: %s" % (" ".join(arguments), done.stdout + done.stderr))
        self.assertNotIn("leave an error", done.stderr)  # rows and the network run forward tell the same

    def outputs(self, model, data):
        path = os.path.join(SCRATCH, "out.h5")
        if os.path.exists(path):
            os.remove(path)
        self.reap(1, "eval", model, "--data", data, "--outputs", path)
        with h5py.File(path) as f:
            return f["outputs"][...]

    def check_equal(self, found, wanted, what):
        self.assertEqual(found.size, wanted.size, what)
        self.assertLess(np.abs(found.reshape(wanted.shape) - wanted).max(), 1e-4 * np.abs(wanted).max(), what)

    def check_rows(self, network, model, data, ranks, positions):
        stats, rows = (os.path.join(SCRATCH, name) for name in ("s.h5", "a.h5"))
        self.reap(ranks, "stats", model, "--calib", data, "-o", stats, "--activations", rows, "--all", "--positions", positions)
        for name, x, y in network.products:
            x, y = (v.reshape(IMAGES, -1, v.shape[-1]) for v in network.values(network.model, [x, y]))
            with h5py.File(rows) as f:
                layer = f["layers"][name]
                image, place = layer["image"][...], layer["position"][...]
                self.assertEqual(len(image), (IMAGES - IMAGES // 10) * (x.shape[1] if positions == "all" else min(x.shape[1], int(positions))))
                self.assertFalse(place[:, 1].any())
                self.check_equal(layer["inputs"][...], x[image, place[:, 0]], "inputs of " + name)
                self.check_equal(layer["outputs"][...], y[image, place[:, 0]], "outputs of " + name)
                with h5py.File(stats) as g:
                    wanted = x[image, place[:, 0]].astype(np.float64).T @ y[image, place[:, 0]].astype(np.float64)
                    self.check_equal(g["layers"][name]["cross"][...], wanted, "moments of " + name)

    def moved(self, network, written):
        """Relative error of every product in the written network, on images held out and on all; None if it lost outputs of its own.
        Tensors keep their names."""
        held_out = np.arange(IMAGES) % 10 == 9
        names = [y for _, _, y in network.products]
        before, after = network.values(network.model, names), network.values(onnx.load(written), names)
        split = [(b.reshape(IMAGES, -1, b.shape[-1]), a.reshape(IMAGES, -1, a.shape[-1])) for b, a in zip(before, after)]
        return [(relative(a[held_out], b[held_out]), relative(a, b)) if a.shape == b.shape else None for b, a in split]

    def check_pruned(self, network, model, data, ranks, positions):
        h5, written, report = (os.path.join(SCRATCH, name) for name in ("p.h5", "p.onnx", "p.json"))
        moved = {}
        for repair in ("off", "on"):
            for path in (h5, written, report):
                if os.path.exists(path):
                    os.remove(path)
            self.reap(ranks, "prune", model, "--calib", data, "-o", h5, "--onnx", written, "--report", report, "--keep", "0.6", "--repair",
                      repair, "--producers", "0", "--classifier", "keep", "--positions", positions, "--progress", "none")
            moved[repair] = self.moved(network, written)
        with open(report) as f:
            told = json.load(f)
        told = {layer["name"]: layer["held_out_error"] for layer in told["repaired"] + told["layers"]}
        for (name, _, _), off, on in zip(network.products, moved["off"], moved["on"]):
            self.assertIn(name, told)
            if not on:
                continue
            self.assertGreater(off[1], 1e-4, "nothing reaches " + name)
            self.assertLess(on[1], 1.1 * off[1], "repair moves " + name)
            if positions == "all":
                self.assertLess(abs(told[name] - on[0]), 1e-3 * on[0], "what is reported of " + name)
        wanted = network.values(onnx.load(written), [network.last])[0]
        for path in (h5, written):
            self.check_equal(self.outputs(path, data), wanted, path)

    def check(self, seed, rank, behind, more):
        network = Network(seed, rank, behind, more, add=seed % 2 == 0)
        ranks, positions = 1 + seed % 2, "all" if seed % 3 else "4"
        shutil.rmtree(SCRATCH, ignore_errors=True)
        os.makedirs(SCRATCH)
        model, data = os.path.join(SCRATCH, "m.onnx"), os.path.join(SCRATCH, "d.h5")
        onnx.save(network.model, model)
        with h5py.File(data, "w") as f:
            f["images"] = network.images
            f["images"].attrs["layout"] = "NCHW"
        with self.subTest(rank=rank, behind=behind, more=more, ranks=ranks, positions=positions):
            self.check_equal(self.outputs(model, data), network.values(network.model, [network.last])[0], "outputs")
            self.check_rows(network, model, data, ranks, positions)
            self.check_pruned(network, model, data, ranks, positions)

    def test_two_axes(self):
        self.check(1, 2, "norm", 0)
        self.check(2, 2, "Relu", 1)

    def test_three_axes(self):
        for k, behind in enumerate(BEHIND):
            self.check(11 + k, 3, behind, k - 1)

    def test_four_axes(self):
        for k, behind in enumerate(BEHIND):
            self.check(21 + k, 4, behind, k - 1)

    def test_norms_behind_four_axes(self):
        """As many outputs as channels, more, fewer: the norm is along another axis each time."""
        for more in (-2, 0, 3):
            self.check(31 + more, 4, "norm", more)


class FewRows(unittest.TestCase):
    """Layers of 1024 columns and more, with one row for each image, also when they have lost a part of their columns."""

    def test_with_and_without_producers(self):
        os.makedirs(SCRATCH, exist_ok=True)
        random, sizes = np.random.default_rng(3), [108, 2048, 1400, 5]
        nodes, weights, x = [helper.make_node("Flatten", ["x"], ["flat"])], [], "flat"
        for k in range(3):
            values = random.normal(size=sizes[k:k + 2]) * (2 / sizes[k]) ** 0.5
            weights.append(numpy_helper.from_array(values.astype(np.float32), "w%d" % k))
            nodes.append(helper.make_node("MatMul", [x, "w%d" % k], ["y" if k == 2 else "m%d" % k], "product %d" % k))
            if k < 2:
                nodes.append(helper.make_node("Relu", ["m%d" % k], ["r%d" % k]))
            x = "r%d" % k
        graph = helper.make_graph(nodes, "wide", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 6, 6])],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])], weights)
        model, data, written = (os.path.join(SCRATCH, name) for name in ("wide.onnx", "wide.h5", "few.onnx"))
        images = random.normal(size=(40, 3, 6, 6)).astype(np.float32)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), model)
        with h5py.File(data, "w") as f:
            f["images"] = images
            f["images"].attrs["layout"] = "NCHW"
        for rounds in ("4", "0"):
            for ranks in (1, 2):
                path = "%s.%s" % (written, ranks)
                run = subprocess.run(["mpirun", "--oversubscribe", "-n", str(ranks), PROGRAM, "prune", model, "--calib", data, "--keep",
                                      "0.75", "--producers", rounds, "--onnx", path + ".onnx", "-o", path + ".h5", "--progress", "none"],
                                     capture_output=True, text=True, timeout=600)
                self.assertEqual(run.returncode, 0, run.stderr)
            found = [onnxruntime.InferenceSession("%s.%d.onnx" % (written, ranks)).run(None, {"x": images})[0] for ranks in (1, 2)]
            self.assertTrue(np.isfinite(found[0]).all())
            self.assertLess(np.abs(found[0] - found[1]).max(), 1e-4 * np.abs(found[0]).max())


if __name__ == "__main__":
    for name, value in (("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"), ("OMP_NUM_THREADS", "1")):
        os.environ.setdefault(name, value)
    unittest.main(verbosity=2)
