#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Tests of analysis/compare.py and analysis/peers.py, on a comparison that is made here.

Exit status 77 (skipped) where pandas, matplotlib or h5py are missing; the tests of layers are skipped without PyTorch.
REAP_PROGRAM names the program.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

try:
    import h5py
    import matplotlib
    import numpy as np
    import pandas
except ImportError as error:
    print("skipped: %s" % error)
    sys.exit(77)
matplotlib.use("Agg")
from matplotlib import image as picture_file  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS, JOBS = os.path.join(HERE, os.pardir, "analysis"), os.path.join(HERE, os.pardir, "jobs")
PROGRAM = os.environ["REAP_PROGRAM"]
sys.dont_write_bytecode = True
sys.path.insert(0, SCRIPTS)

import compare  # noqa: E402
import judge  # noqa: E402
import peers  # noqa: E402
import pictures  # noqa: E402
import results  # noqa: E402
from fashion import CALIBRATION, FOLDER, TEST, few_images  # noqa: E402

MODEL = os.path.join(FOLDER, "vgg-fashion.onnx")


def call(*words, environment=None):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                          env={**os.environ, **(environment or {})})
    return done.returncode, done.stdout


class Comparison(unittest.TestCase):
    """Two methods, bare and with refit, at one budget; another program's network is the original itself."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.test_images = cls.at("test.h5")
        few_images(cls.test_images, TEST, 100)
        os.makedirs(cls.at("out/peers"))
        shutil.copy(MODEL, cls.at("out/peers/whole.onnx"))
        rows = {"whole": {"method": "another", "treatment": "trained", "sizes": "uniform", "budget": 0.5,
                          "flops_share": 1, "seconds": 0}, "none": {"failed": "for some reason"}}
        with open(cls.at("out/peers/peers.json"), "w") as f:
            json.dump(rows, f)
        cls.status, cls.told = cls.compare()

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def at(cls, name):
        return os.path.join(cls.scratch.name, name)

    @classmethod
    def compare(cls, *words):
        return call(sys.executable, "-B", os.path.join(SCRIPTS, "compare.py"), MODEL, "--calib", CALIBRATION, "--eval",
                    cls.test_images, "-o", cls.at("out"), "--images", "60", "--methods", "reap,l1", "--flops", "0.5",
                    "--treatments", "bare,refit,own", "--ratios", "uniform", "--reap", PROGRAM, *words, "--",
                    "--positions", "4")

    def table(self):
        return pandas.read_csv(self.at("out/table.csv"))

    def test_figures_are_those_of_the_reports(self):
        self.assertEqual(self.status, 0, self.told)
        table = self.table()
        self.assertEqual(len(table), 6)
        for treatment in ("bare", "refit", "own"):
            for name, report in results.reports([self.at("out/%s.h5" % treatment)]):
                row, = table[table["name"] == "%s-%s" % (treatment, name)].itertuples()
                after = report["pruned"]
                self.assertEqual((row.method, row.treatment), (report["options"]["method"], treatment))
                self.assertAlmostEqual(row.right, after["top1"], places=12)
                self.assertAlmostEqual(row.kl, after["kl"], delta=1e-4 * after["kl"])
                self.assertAlmostEqual(row.loss, after["loss"], delta=1e-4 * after["loss"])
                self.assertEqual(row.flops_share, after["flops"] / report["baseline"]["flops"])
        refit = {r.method: r.kl for r in table[table["treatment"] == "refit"].itertuples()}
        self.assertTrue(all(refit[r.method] < r.kl for r in table[table["treatment"] == "bare"].itertuples()))

    def test_only_methods_with_weights_of_their_own_give_them(self):
        table = self.table()
        row, = table[table["treatment"] == "own"].itertuples()  # reap's own are those of refit
        other, = table[(table["treatment"] == "refit") & (table["method"] == "reap")].itertuples()
        self.assertEqual((row.method, row.kl), ("reap", other.kl))

    def test_other_programs_take_part(self):
        row, = self.table()[self.table()["method"] == "another"].itertuples()
        self.assertEqual((row.kl, row.best), (0, True))
        self.assertNotIn("some reason", self.told)

    def test_what_is_written(self):
        with open(self.at("out/compare.html"), encoding="utf-8") as f:
            page = f.read()
        self.assertEqual(page.count("data:image/png;base64,"), 1)
        self.assertIsNone(re.search(r'(src|href)="(?!data:)', page))
        self.assertIn("%.4f" % self.table()["kl"].max(), page)
        with open(self.at("out/table.md"), encoding="utf-8") as f:
            self.assertIn(f.read(), self.told)
        pixels = picture_file.imread(self.at("out/compare.png"))
        self.assertGreater(min(pixels.shape[:2]), 300)

    def test_again_it_does_what_is_missing(self):
        stamps = lambda: {name: os.stat(self.at("out/bare.h5.d/" + name)).st_mtime_ns for name in
                          os.listdir(self.at("out/bare.h5.d")) if name.endswith("seed0.h5")}
        before = stamps()
        os.remove(self.at("out/refit.h5.d/l1-uniform-flops-0.5-seed0.h5"))
        status, told = self.compare()
        self.assertEqual(status, 0, told)
        self.assertIn("2 of 2 settings are done already", told)
        self.assertIn("1 of 2 settings are done already", told)
        self.assertEqual(stamps(), before)

    def test_mistakes_are_one_line(self):
        status, told = call(sys.executable, "-B", os.path.join(SCRIPTS, "compare.py"), MODEL, "--calib", CALIBRATION,
                            "--eval", CALIBRATION, "-o", self.at("none"), "--reap", PROGRAM, "--show")
        self.assertEqual((status, told.count("\n")), (1, 1), told)
        self.assertIn("no setting is done", told)

    def test_methods_are_the_programs(self):
        methods = compare.list_methods(PROGRAM)
        self.assertIn("reap", methods)
        status, told = call(PROGRAM, "sweep", MODEL, "--calib", CALIBRATION, "--flops", "0.5", "-o", "x", "--method",
                            "nonsense")
        self.assertEqual(status, 2)
        self.assertIn("|".join(methods), told)

    def test_job(self):
        job = os.path.join(JOBS, "compare.sbatch")
        words = {"REAP": PROGRAM, "PYTHON": "echo", "COMPARE": os.path.join(SCRIPTS, "compare.py")}
        status, told = call("bash", job, "m.onnx", "--", "--positions", "4",
                            environment={**words, "REAP_LAUNCH": "mpirun -n 2"})
        self.assertEqual(status, 0, told)
        self.assertIn("compare.py --reap %s --launch mpirun -n 2 m.onnx -- --positions 4\n" % PROGRAM, told)
        status, told = call("bash", job, "m.onnx", environment={**words, "COMPARE": "nowhere.py"})
        self.assertEqual(status, 2)
        self.assertIn("nowhere.py is not there", told)


class Judged(unittest.TestCase):
    def frame(self):
        """reap and two others at one budget: one worse by noise alone, one worse on every image."""
        kl = np.array([0.1, 0.3, 0.2, 0.4])
        rows = [("reap", "refit", kl), ("noisy", "refit", kl + [0.2, -0.15, 0.1, -0.1]), ("worse", "refit", kl + 0.05),
                ("another", "trained", kl - 0.01), ("reap", "repair", kl / 2)]
        same = {"sizes": "uniform", "budget": 0.5, "flops_share": 0.5, "kl_half": 0.1, "right": 0.5}
        return pandas.DataFrame([{"method": m, "treatment": t, "kl": v.mean(), "images": {"kl": v}, **same}
                                 for m, t, v in rows])

    def test_differences_are_in_pairs(self):
        frame = compare.add_differences(self.frame()).set_index(["method", "treatment"])
        self.assertEqual(list(frame["best"]), [True, True, False, True, True])
        worse = frame.loc["worse", "refit"]
        self.assertAlmostEqual(worse["to_reap"], 0.05)
        self.assertAlmostEqual(worse["to_reap_half"], 0)
        noisy = frame.loc["noisy", "refit"]
        self.assertAlmostEqual(noisy["to_reap"], 0.0125)
        self.assertAlmostEqual(noisy["to_reap_half"], 1.96 * np.std([0.2, -0.15, 0.1, -0.1], ddof=1) / 2)
        self.assertAlmostEqual(frame.loc["another", "trained"]["to_reap"], 0.24 - 0.125)  # against reap's repair

    def test_markdown(self):
        lines = compare.markdown(compare.add_differences(self.frame())).splitlines()
        self.assertEqual(lines[2], "| method | refit 0.5 | repair 0.5 | trained 0.5 |")
        self.assertEqual(lines[4], "| reap | **0.2500** (50.0) | **0.1250** (50.0) |  |")
        self.assertIn("| worse | 0.3000 (50.0) |  |  |", lines)

    def test_picture_has_every_method_and_reap_in_each_panel(self):
        drawing = pictures.compared(compare.add_differences(self.frame()), compare.SIZES, "repair")
        self.assertEqual([a.get_title() for a in drawing.axes],
                         ["refit, uniform sizes", "repair, uniform sizes", "trained, uniform sizes (reap: repair)"])
        drawn = [{l.get_label(): l.get_ydata()[0] for l in a.lines if not l.get_label().startswith("_")}
                 for a in drawing.axes]
        self.assertEqual([set(d) for d in drawn], [{"reap", "noisy", "worse"}, {"reap"}, {"reap", "another"}])
        self.assertAlmostEqual(drawn[2]["reap"], 0.125)

    def test_interval(self):
        mean, half = judge.interval(np.array([1.0, 2.0, 3.0, 6.0]))
        self.assertEqual(mean, 3)
        self.assertAlmostEqual(half, 1.96 * np.sqrt(14 / 3) / 2)

    def test_search(self):
        calls = []
        prune = lambda sparsity: calls.append(sparsity) or 1 - sparsity
        self.assertAlmostEqual(peers.search(0.55, prune, lambda left: left), 0.55)
        self.assertLess(len(calls), 9)
        with self.assertRaisesRegex(Exception, "not reached"):
            peers.search(0.001, prune, lambda left: left)


class Layers(unittest.TestCase):
    """Torch-Pruning's part that needs PyTorch alone."""

    @classmethod
    def setUpClass(cls):
        try:
            import onnx  # noqa: F401
            import torch  # noqa: F401
        except ImportError as error:
            raise unittest.SkipTest(str(error))
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def outputs(self, path):
        out = os.path.join(self.folder.name, "outputs.h5")
        status, told = call(PROGRAM, "eval", path, "--data", CALIBRATION, "--images", "20", "--outputs", out)
        self.assertEqual(status, 0, told)
        with h5py.File(out, "r") as f:
            return f["outputs"][()]

    def module_outputs(self, module):
        import finetune
        import torch
        with torch.no_grad():
            return module(finetune.ImageFile(CALIBRATION, 20).batch(slice(0, 20))[0]).numpy()

    def test_layers_compute_what_reap_computes(self):
        import onnx_layers
        for model in (MODEL, os.path.join(FOLDER, "resnet-fashion.onnx")):  # the second has batch norms
            wanted = self.outputs(model)
            found = self.module_outputs(onnx_layers.load(model).eval())
            self.assertLess(abs(found - wanted).max(), 1e-4 * abs(wanted).max())

    def matrices(self):
        """A network of two matrix products whose weights are not transposed."""
        from onnx import TensorProto, helper, numpy_helper, save
        draw = np.random.default_rng(1).standard_normal
        weights = {"a": draw((784, 6)), "b": draw((6, 10)), "c": draw(10)}
        nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "a"], ["h"], "first"),
                 helper.make_node("Relu", ["h"], ["r"]), helper.make_node("Gemm", ["r", "b", "c"], ["y"], "second")]
        shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                  for name, shape in (("x", ["n", 1, 28, 28]), ("y", ["n", 10]))]
        tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
        graph = helper.make_graph(nodes, "matrices", shapes[:1], shapes[1:], tensors)
        path = os.path.join(self.folder.name, "matrices.onnx")
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
        return path

    def test_cut_layers_are_written(self):
        for model in (MODEL, self.matrices()):
            self.check_cut(model)

    def check_cut(self, model):
        import onnx_layers
        import torch
        module, told = onnx_layers.load(model).eval(), peers.inspect(PROGRAM, model)
        layers = dict(zip((l["name"] for l in told["layers"]), module.linear_layers()))
        group = next(g for g in told["groups"] if g["prunable"])
        first, second = layers[group["producers"][0]], layers[group["consumers"][0]]
        self.assertNotIn(first, peers.kept_layers(module, told, "inner"))
        self.assertIn(list(layers.values())[-1], peers.kept_layers(module, told, "all"))
        whole = self.module_outputs(module)
        for name, parameter in list(first.named_parameters()):
            setattr(first, name, torch.nn.Parameter(parameter[::2].detach()))
        second.weight = torch.nn.Parameter(second.weight[:, ::2].detach())
        path = os.path.join(self.folder.name, "cut.onnx")
        module.write(path)
        cut, wanted = self.outputs(path), self.module_outputs(module)
        self.assertLess(abs(cut - wanted).max(), 1e-4 * abs(wanted).max())
        self.assertGreater(abs(cut - whole).max(), 0.01 * abs(whole).max())

    def test_gradients(self):
        import finetune
        import onnx_layers
        import torch
        module, data = onnx_layers.load(MODEL).eval(), finetune.ImageFile(CALIBRATION, 3)
        bias = module.linear_layers()[-1].bias
        x, labels = data.batch(slice(0, 3))
        errors = (torch.softmax(module(x), 1) - torch.nn.functional.one_hot(labels, 10)).detach()
        for kind, wanted in (("taylor", errors.mean(0)), ("hessian", errors.pow(2).mean(0))):
            peers.gradients(module, data, kind)
            self.assertLess(float((bias.grad - wanted).abs().max()), 1e-6)


if __name__ == "__main__":
    unittest.main()
