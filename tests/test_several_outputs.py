#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of several outputs through the program.

Heads beside each other, an auxiliary head listed first, an embedding with the
scores computed from it, early exits, an output listed twice, outputs that are
the input or a constant. All outputs are stored as onnxruntime computes them;
how far pruning moved each, how these are combined, and how far each group
alone moves them, is what NumPy makes of onnxruntime's outputs of both networks.

REAP_PROGRAM is the program, REAP_VENV_PYTHON another Python to try. Exit
status 77 (skipped) where onnx, onnxruntime, NumPy or h5py are missing.
"""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

from judged import PROGRAM, TensorProto, h5py, helper, np, numpy_helper, onnx, onnxruntime

IMAGES, SIDE = 200, 6


class Net:
    """A network put together node by node."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.tensors, self.outputs = [], [], []

    def constant(self, name, values):
        self.tensors.append(numpy_helper.from_array(
            np.asarray(values, dtype=np.float32), name))
        return name

    def step(self, op, name, *inputs, **attributes):
        self.nodes.append(helper.make_node(op, list(inputs), [name], name,
                                           **attributes))
        return name

    def conv(self, name, x, n, m, scale=1.0):
        w = self.rng.standard_normal((m, n, 3, 3)) * scale * np.sqrt(2 / 9 / n)
        b = self.rng.standard_normal(m) * 0.3
        return self.step("Conv", name, x, self.constant(name + ".w", w),
                         self.constant(name + ".b", b), pads=[1] * 4)

    def relu_conv(self, name, x, n, m):
        return self.step("Relu", name + ".relu", self.conv(name, x, n, m))

    def pool(self, name, x):
        return self.step("Flatten", name + ".flat",
                         self.step("GlobalAveragePool", name, x))

    def dense(self, name, x, n, m, scale=1.0, bias=0.3):
        w = self.rng.standard_normal((m, n)) * scale * np.sqrt(2 / n)
        b = self.rng.standard_normal(m) * bias
        return self.step("Gemm", name, x, self.constant(name + ".w", w),
                         self.constant(name + ".b", b), transB=1)

    def output(self, name):
        self.outputs.append(name)

    def save(self, path):
        info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None)
                for n in self.outputs]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT,
                                          ["batch", 3, SIDE, SIDE])
        graph = helper.make_graph(self.nodes, "net", [x], info, self.tensors)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.save(model, path)


def trunk(seed):
    net = Net(seed)
    return net, net.relu_conv("b", net.relu_conv("a", "x", 3, 10), 10, 12)


def map_head(net, x, name, m, scale=1.0):
    return net.conv(name, net.relu_conv(name + "0", x, 12, 10), 10, m, scale)


def class_head(net, x, name, m, scale=1.0, n=12):
    hidden = net.step("Relu", name + "0.relu",
                      net.dense(name + "0", net.pool(name + "p", x), n, 16))
    return net.dense(name, hidden, 16, m, scale)


def two_heads():
    net, x = trunk(1)
    net.output(class_head(net, x, "scores", 5, 20))
    net.output(map_head(net, x, "boxes", 4, 0.01))
    return net


def three_heads():
    """Of different sizes and scales, one far from zero."""
    net, x = trunk(2)
    far = net.step("Add", "far", map_head(net, x, "large", 6),
                   net.constant("ten", np.full((1, 6, 1, 1), 10)))
    net.output(far)
    net.output(map_head(net, net.step("MaxPool", "half", x, kernel_shape=[2, 2],
                                      strides=[2, 2]), "small", 3, 0.01))
    net.output(class_head(net, x, "scores", 7, 3))
    return net


def aux_first():
    """An auxiliary class head on the first layers, then the main output."""
    net = Net(3)
    x = net.relu_conv("a", "x", 3, 10)
    net.output(class_head(net, x, "aux", 4, 2, 10))
    net.output(map_head(net, net.relu_conv("b", x, 10, 12), "main", 5))
    return net


def embedding():
    net, x = trunk(4)
    net.output(net.dense("embedding", net.pool("p", x), 12, 8))
    hidden = net.step("Relu", "h.relu", net.dense("h", "embedding", 8, 24))
    net.output(net.step("Softmax", "scores", net.dense("logits", hidden, 24, 6,
                                                       4), axis=1))
    return net


def early_exit():
    """An inner map is an output, a class head in the middle another."""
    net = Net(5)
    x = net.conv("exit", net.relu_conv("a", "x", 3, 10), 10, 9)
    net.output(x)
    y = net.relu_conv("c", net.step("Relu", "exit.relu", x), 9, 12)
    net.output(net.step("LogSoftmax", "early",
                        class_head(net, y, "e", 10, 4), axis=1))
    net.output(class_head(net, net.relu_conv("d", y, 12, 12), "late", 10, 4))
    return net


def odd_outputs():
    """A constant, the input itself, one value twice under one name."""
    net, x = trunk(6)
    net.output(net.constant("anchors", np.arange(8).reshape(4, 2)))
    net.output("x")
    net.output(map_head(net, x, "map", 4))
    net.output(class_head(net, x, "scores", 5, 3))
    return net


NETWORKS = {f.__name__: f for f in (two_heads, three_heads, aux_first,
                                    embedding, early_exit, odd_outputs)}
SCORES = {"two_heads": {"scores": "logits"}, "three_heads": {"scores": "logits"},
          "aux_first": {"aux": "logits"},
          "embedding": {"scores": "probabilities"},
          "early_exit": {"early": "log-probabilities", "late": "logits"},
          "odd_outputs": {"scores": "logits"}}
FIXED = {"odd_outputs": ["anchors", "x"]}


def run(*arguments, ranks=1, status=0):
    words = [PROGRAM] + [str(a) for a in arguments]
    if ranks > 1:
        words = ["mpirun", "-n", str(ranks)] + words
    done = subprocess.run(words, capture_output=True, text=True, timeout=250)
    text = done.stdout + done.stderr
    if done.returncode != status:
        raise AssertionError("%s: status %d\n%s" % (
            " ".join(words), done.returncode, text))
    return text


def outputs_of(path, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options,
                                           providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": images})))


def log_probabilities(kind, values, temperature):
    z = values.astype(np.float64)
    if kind == "probabilities":
        z = np.log(np.maximum(z, 1e-38))
    z = z / temperature
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def figures(kind, original, other, temperature=1):
    """KL (nan for values), relative error, share of an output lost."""
    a, b = original.astype(np.float64), other.astype(np.float64)
    error = ((b - a) ** 2).sum()
    relative = error / (a ** 2).sum()
    if kind == "values":
        return np.nan, relative, error / ((a - a.mean(axis=0)) ** 2).sum()
    p = log_probabilities(kind, original, temperature)
    q = log_probabilities(kind, other, temperature)
    mean = np.log(np.exp(p).mean(axis=0))
    kl = (np.exp(p) * (p - q)).sum()
    share = kl / (np.exp(p) * (p - mean)).sum()
    return kl * temperature ** 2 / len(a), relative, share


class Outputs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        rng = np.random.default_rng(9)
        cls.images = rng.standard_normal((IMAGES, 3, SIDE, SIDE))
        cls.images += rng.standard_normal((IMAGES, 3, 1, 1))
        cls.images = cls.images.astype(np.float32)
        for name in NETWORKS:
            NETWORKS[name]().save(cls.path(name + ".onnx"))
        cls.data = cls.write_data("data.h5")

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def write_data(cls, name, labels=None):
        with h5py.File(cls.path(name), "w") as file:
            images = file.create_dataset("images", data=cls.images)
            images.attrs["layout"] = "NCHW"
            if labels is not None:
                file["labels"] = labels.astype(np.int32)
        return cls.path(name)

    def kind(self, network, output):
        return SCORES[network].get(output, "values")

    def near(self, found, wanted, what, tolerance=2e-3):
        if np.isnan(wanted):
            self.assertIsNone(found, what)
        else:
            self.assertLessEqual(abs(found - wanted),
                                 tolerance * abs(wanted) + 1e-9,
                                 "%s: %r, not %r" % (what, found, wanted))

    def test_inspect_lists_outputs(self):
        for name in NETWORKS:
            text = run("inspect", self.path(name + ".onnx"), "--json")
            report = json.loads(text)
            wanted = [(n, "input" if n == "x" else self.kind(name, n))
                      for n in NETWORKS[name]().outputs if n != "anchors"]
            found = [(o["name"], o["kind"]) for o in report["outputs"]]
            self.assertEqual(found, wanted, name)
            shown = run("inspect", self.path(name + ".onnx"))
            for output in report["outputs"]:
                self.assertIn(output["name"], shown)

    def check_stored(self, network, model, ranks=1):
        """All outputs as onnxruntime has them, in order, with their names."""
        stored = self.path("stored.h5")
        run("eval", model, "--data", self.data, "--outputs", stored,
            ranks=ranks)
        wanted = outputs_of(model, self.images)
        wanted.pop("anchors", None)
        with h5py.File(stored, "r") as file:
            self.assertEqual(len(file), len(wanted))
            for k, (name, values) in enumerate(wanted.items()):
                found = file["outputs_%d" % k if k else "outputs"]
                label = found.attrs["name"]
                self.assertEqual(label if isinstance(label, str)
                                 else label.decode(), name)
                self.assertEqual(found.shape, values.shape)
                np.testing.assert_allclose(found[...], values, rtol=1e-3,
                                           atol=1e-4 * np.abs(values).max())

    def test_all_outputs_are_stored(self):
        for k, name in enumerate(NETWORKS):
            self.check_stored(name, self.path(name + ".onnx"), 1 + k % 3)

    def check_figures(self, network, report, pruned, measure):
        """The report's figures are NumPy's of onnxruntime's outputs."""
        a = outputs_of(self.path(network + ".onnx"), self.images)
        b = outputs_of(pruned, self.images)
        self.assertEqual(list(a), list(b))
        moving = [n for n in a if n not in FIXED.get(network, [])]
        listed = report["pruned"]["outputs"]
        self.assertEqual([o["name"] for o in listed], moving)
        rows = []
        for output, name in zip(listed, moving):
            self.assertEqual(output["kind"], self.kind(network, name))
            row = figures(output["kind"], a[name], b[name])
            for key, value in zip(("kl", "output_error", "share"), row):
                self.near(output[key], value, (network, name, key))
            rows.append(row)
        for name in FIXED.get(network, []):
            np.testing.assert_array_equal(a[name], b[name])
        kl, error, share = (list(c) for c in zip(*rows))
        of = np.nanmax if measure == "largest" else np.nansum
        self.near(report["pruned"]["kl"], of(kl), (network, "kl"))
        self.near(report["pruned"]["output_error"], of(error),
                  (network, "output_error"))
        self.near(report["pruned"]["moved"], of(share), (network, "moved"))
        return max(share)

    def prune(self, network, *how, ranks=1):
        pruned, report = self.path("p.onnx"), self.path("p.json")
        text = run("prune", self.path(network + ".onnx"), "--calib", self.data,
                   "-o", self.path("p.h5"), "--onnx", pruned, "--eval",
                   self.data, "--report", report, *how, ranks=ranks)
        with open(report, encoding="utf-8") as file:
            return text, json.load(file), pruned

    def test_figures_are_those_of_both_networks(self):
        for k, network in enumerate(NETWORKS):
            measure = ("sum", "largest")[k % 2]
            text, report, pruned = self.prune(network, "--flops", "0.7",
                                              "--measure", measure,
                                              ranks=1 + k // 2 % 2)
            self.assertEqual(report["options"]["measure"], measure)
            self.check_figures(network, report, pruned, measure)
            self.assertNotIn("predicted loss 0,", text)
            for output in report["pruned"]["outputs"]:
                self.assertIn(output["name"], text)
            self.check_stored(network, pruned)
            # And by reap eval, from the files.
            run("eval", self.path("p.h5"), "--against", self.path(
                network + ".onnx"), "--data", self.data, "--report",
                self.path("e.json"), "--measure", "sum")
            with open(self.path("e.json"), encoding="utf-8") as file:
                self.check_figures(network, json.load(file), pruned, "sum")

    def test_same_share_everywhere(self):
        for network in NETWORKS:
            _, report, pruned = self.prune(network, "--keep", "0.5")
            self.check_figures(network, report, pruned, "largest")

    def test_chosen_sizes_spare_the_worst_output(self):
        for network in ("two_heads", "three_heads", "aux_first"):
            worst = {}
            for ratios in ("uniform", "output"):
                _, report, pruned = self.prune(network, "--flops", "0.7",
                                               "--ratios", ratios)
                worst[ratios] = self.check_figures(network, report, pruned,
                                                   "largest")
            self.assertLess(worst["output"], 1.2 * worst["uniform"], network)

    def moved_alone(self, network, group, size, measure):
        """With this group alone cut to that size, on images held out. The
        ridge is given: paths look for it at half of the channels."""
        plan = self.path("plan.json")
        with open(plan, "w", encoding="utf-8") as file:
            json.dump({"groups": {group: int(size)}}, file)
        _, _, pruned = self.prune(network, "--plan", plan, "--repair", "off",
                                  "--producers", "0", "--classifier", "keep",
                                  "--ridge", "1e-6")
        held_out = self.images[9::10]
        a = outputs_of(self.path(network + ".onnx"), held_out)
        b = outputs_of(pruned, held_out)
        shares = [figures(self.kind(network, n), a[n], b[n], 4)[2]
                  for n in a if n not in FIXED.get(network, [])]
        return max(shares) if measure == "largest" else sum(shares)

    def test_every_group_moves_the_outputs_as_far_as_it_does(self):
        for network, measure, ranks in (("aux_first", "largest", 1),
                                        ("early_exit", "sum", 2),
                                        ("embedding", "largest", 3)):
            paths = self.path("paths.h5")
            run("paths", self.path(network + ".onnx"), "--calib", self.data,
                "-o", paths, "--measure", measure, "--sizes", "1",
                "--ridge", "1e-6", ranks=ranks)
            with h5py.File(paths, "r") as file:
                self.assertGreaterEqual(len(file["groups"]), 3)
                for group, path in file["groups"].items():
                    self.assertGreater(path["moved"].shape[0], 0)
                    for size, moved in zip(path["sizes"], path["moved"]):
                        wanted = self.moved_alone(network, group, size,
                                                  measure)
                        self.assertGreater(moved, 0, (network, group))
                        self.near(moved, wanted, (network, group, size), 0.02)

    def test_paths_of_another_measure_are_refused(self):
        model, paths = self.path("aux_first.onnx"), self.path("sum.h5")
        run("paths", model, "--calib", self.data, "-o", paths, "--measure",
            "sum")
        prune = ("prune", model, "--calib", self.data, "--flops", "0.7", "-o",
                 self.path("p.h5"), "--from-paths", paths)
        text = run(*prune, status=3)
        for words in ("sum_of_shares", "largest_share", "measure sum", "--measure"):
            self.assertIn(words, text)
        run(*prune, "--measure", "sum")
        run(*prune, "--ratios", "path")
        # As files were before they looked at all outputs.
        with h5py.File(paths, "r+") as file:
            file.attrs["measure"] = np.bytes_("soft_kl")
        self.assertIn("soft_kl", run(*prune, status=3))

    def test_labels_judge_the_output_that_they_fit(self):
        network, model = "early_exit", self.path("early_exit.onnx")
        for name, classes, wanted in (("early_exit", 10, "early"),
                                      ("two_heads", 5, "scores"),
                                      ("three_heads", 8, None)):
            model = self.path(name + ".onnx")
            labels = np.arange(IMAGES) % classes
            data = self.write_data("labelled.h5", labels)
            text = run("eval", model, "--data", data, "--report",
                       self.path("e.json"))
            with open(self.path("e.json"), encoding="utf-8") as file:
                report = json.load(file)["baseline"]
            self.assertEqual(report.get("judged"), wanted)
            if wanted is None:
                self.assertIsNone(report["top1"])
                continue
            scores = outputs_of(model, self.images)[wanted]
            self.assertAlmostEqual(report["top1"], float(
                (scores.argmax(axis=1) == labels).mean()))
            p = log_probabilities(self.kind(name, wanted), scores, 1)
            self.near(report["loss"], -p[np.arange(IMAGES), labels].mean(),
                      (network, "loss"))
            self.assertIn(wanted, text)

    def test_each_classifier_is_scaled_by_its_own_factor(self):
        """Its divergence on held-out images is the one reported."""
        images = np.concatenate([self.images * s for s in (1, 0.9, 1.1)])
        with h5py.File(self.path("many.h5"), "w") as file:
            file.create_dataset("images", data=images).attrs["layout"] = "NCHW"
        for wish, names in (("scale", ["e", "late"]), (None, ["e"])):
            run("prune", self.path("early_exit.onnx"), "--calib",
                self.path("many.h5"), "--keep", "0.3", "--method", "random",
                "-o", self.path("p.h5"), "--onnx", self.path("p.onnx"),
                "--report", self.path("p.json"),
                *(["--classifier", wish] if wish else []), ranks=2)
            with open(self.path("p.json"), encoding="utf-8") as file:
                report = json.load(file)
            found = report.get("classifiers", [report["classifier"]])
            self.assertEqual([c["name"] for c in found], names)
            self.assertEqual(report["classifier"], found[0])
            a = outputs_of(self.path("early_exit.onnx"), images[9::10])
            b = outputs_of(self.path("p.onnx"), images[9::10])
            for scaled, output in zip(found, ("early", "late")):
                kl = figures("logits", a[output], b[output])[0]
                self.near(scaled["held_out_kl"], kl, (wish, output))
                self.assertEqual(scaled["changed"], scaled["factor"] < 1)

    def test_a_sweep(self):
        sweep = self.path("sweep.h5")
        run("sweep", self.path("embedding.onnx"), "--calib", self.data,
            "--eval", self.data, "--flops", "0.8,0.6", "-o", sweep,
            "--save-models", "onnx", "--measure", "sum", ranks=2)
        with h5py.File(sweep, "r") as file:
            self.assertEqual(len(file["settings"]), 2)
            for name, setting in file["settings"].items():
                report = json.loads(setting["report"][()])
                self.check_figures("embedding", report, os.path.join(
                    sweep + ".d", name + ".onnx"), "sum")

    def test_an_output_listed_twice_counts_once(self):
        once = embedding()
        twice = embedding()
        once.outputs = ["scores"]
        twice.outputs = ["scores", "scores"]
        reports = []
        for net in (once, twice):
            net.save(self.path("listed.onnx"))
            run("prune", self.path("listed.onnx"), "--calib", self.data,
                "--flops", "0.7", "--measure", "sum", "-o", self.path("p.h5"),
                "--eval", self.data, "--report", self.path("p.json"))
            with open(self.path("p.json"), encoding="utf-8") as file:
                reports.append(json.load(file))
        self.assertEqual(reports[0]["pruned"]["kl"],
                         reports[1]["pruned"]["kl"])
        self.assertEqual([layer["kept"] for layer in reports[0]["layers"]],
                         [layer["kept"] for layer in reports[1]["layers"]])
        self.assertEqual(len(reports[1]["pruned"]["outputs"]), 1)


if __name__ == "__main__":
    unittest.main()
