#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Tests of the scripts in analysis/, on results that the program makes here.

Exit status 77 (skipped) where pandas, matplotlib or h5py are missing; the tests that train are skipped without PyTorch, the
one that times without onnxruntime. REAP_PROGRAM names the program.
"""
import argparse
import functools
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
    import pandas  # noqa: F401
except ImportError as error:
    print("skipped: %s" % error)
    sys.exit(77)
matplotlib.use("Agg")
from matplotlib import image as picture_file  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, os.pardir, "analysis")
PROGRAM = os.environ["REAP_PROGRAM"]
sys.dont_write_bytecode = True
sys.path.insert(0, SCRIPTS)

import pictures  # noqa: E402
import results  # noqa: E402
from fashion import CALIBRATION, FOLDER, TEST, few_images  # noqa: E402

MODEL = os.path.join(FOLDER, "resnet-fashion.onnx")


def run(*words, python=sys.executable):
    """(status, output) of a script or of the program."""
    command = [python, "-B", os.path.join(SCRIPTS, words[0])] if words[0].endswith(".py") else [PROGRAM]
    command += list(words[1:] if words[0].endswith(".py") else words)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return done.returncode, done.stdout


class Analysis(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.test_images = cls.at("test.h5")
        few_images(cls.test_images, TEST, 200)
        for share in ("0.7", "0.5"):
            status, output = run("prune", MODEL, "--calib", CALIBRATION, "--images", "200", "--positions", "20", "--keep", share,
                                 "--eval", cls.test_images, "-o", cls.at(share + ".h5"), "--onnx", cls.at(share + ".onnx"),
                                 "--report", cls.at(share + ".json"), "--progress", "none")
            assert status == 0, output

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def at(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def report(cls, share):
        with open(cls.at(share + ".json")) as f:
            return json.load(f)

    def cut_off(self):
        with open(self.at("0.5.h5"), "rb") as whole, open(self.at("cut.h5"), "wb") as f:
            f.write(whole.read()[:5000])
        return self.at("cut.h5")

    def sweep(self):
        """A merged file as `reap sweep` leaves it."""
        path = self.at("sweep.h5")
        with h5py.File(path, "w") as f:
            f.attrs["format"] = "reap-sweep"
            for share in ("0.7", "0.5"):
                f["settings/keep-%s/report" % share] = json.dumps(self.report(share))
        return path

    # -------------------------------------------------------------- reading

    def test_table_has_the_reports_figures(self):
        frame = results.table(results.reports([self.at("0.7.json"), self.at("0.5.json")]))
        self.assertEqual(list(frame["name"]), ["0.5", "0.7"])  # by cost
        for row in frame.itertuples():
            report = self.report(row.name)
            self.assertEqual(row.flops, report["pruned"]["flops"])
            self.assertEqual(row.flops_share, report["pruned"]["flops"] / report["baseline"]["flops"])
            self.assertEqual((row.top1, row.original_top1), (report["pruned"]["top1"], report["baseline"]["top1"]))
            self.assertEqual((row.budget, row.value), ("keep", float(row.name)))

    def test_sweep_reads_like_its_reports(self):
        one = results.table(results.reports([self.sweep()]))
        two = results.table(results.reports([self.at("0.7.json"), self.at("0.5.json")]))
        self.assertEqual(list(one["loss"]), list(two["loss"]))

    def test_paths_are_those_of_the_model(self):
        found = results.paths(self.at("0.5.h5"))
        report = self.report("0.5")
        self.assertEqual(set(found), {l["group"] for l in report["layers"]})
        for layer in report["layers"]:
            path = found[layer["group"]]
            self.assertEqual(len(path["error"]), layer["channels"] - len(layer["kept"]))
            known = np.isfinite(path["error"])  # on the way to weights pulled towards the trained ones they are not
            self.assertTrue(known[-1])
            self.assertTrue(np.all(np.diff(path["error"][known]) >= -1e-12))

    def test_layers(self):
        frame = results.layers(self.report("0.5"))
        self.assertTrue((frame["share"] == 0.5).all())
        self.assertTrue((frame["relative_error"] > 0).all())

    def test_short_names(self):
        self.assertEqual(results.short("stage1.stage1.0.conv1.Conv"), "stage1.0.conv1")
        self.assertEqual(results.short("Conv"), "Conv")

    def test_errors_are_one_line(self):
        with open(self.at("broken.json"), "w") as f:
            f.write('{"baseline": ')
        for words, wanted in ((["tradeoff", "nothing.json"], "no such file"),
                              (["tradeoff", self.at("broken.json")], "not a JSON report"),
                              (["predicted", self.at("0.5.json"), self.at("0.7.json")], "wanted one report, got 2"),
                              (["channels", MODEL], "not a JSON report, nor a sweep"),
                              (["channels", self.folder.name], "a folder; wanted a sweep"),
                              (["channels", self.test_images], "another kind (data set); wanted a sweep"),
                              (["tradeoff", self.cut_off()], "damaged HDF5 file"),
                              (["paths", self.at("0.5.json")], "not an HDF5 file"),
                              (["paths", self.test_images], "no error path"),
                              (["tradeoff", self.at("0.5.h5")], "reap-model"),
                              (["scaling", self.at("0.5.json"), self.at("0.7.json")], "different numbers of ranks")):
            status, output = run("plot.py", *words, "-o", self.at("no.png"))
            self.assertEqual(status, 1, output)
            self.assertIn(wanted, output)
            self.assertEqual(output.count("\n"), 1, output)
            self.assertFalse(os.path.exists(self.at("no.png")))

    def test_output_is_checked(self):
        for script in (["plot.py", "channels"], ["html_report.py"]):
            status, output = run(*script, self.at("0.5.json"), "-o", self.at("none/x.png"))
            self.assertEqual((status, output.count("\n")), (1, 1), output)
            self.assertIn("none does not exist", output)

    @classmethod
    def variant(cls, name, share="0.7", **changes):
        """(name, report) of a run with other options; `ratios` stands beside them in reports."""
        report = cls.report(share)
        report["ratios"] = changes.pop("ratios", report["ratios"])
        report["options"].update(changes)
        return name, report

    def test_series_are_what_differs(self):
        found = [self.variant("a"), self.variant("b", "0.5"), self.variant("c", ratios="output"),
                 self.variant("d", method="l1", repair=False),
                 self.variant("e", "0.5", method="l1", repair=False, seed=3)]
        frame = results.table(found).set_index("name")["series"]
        self.assertEqual(list(frame[list("abcde")]), [
            "reap, repair on, uniform sizes", "reap, repair on, uniform sizes", "reap, repair on, sizes by output",
            "l1, repair off, uniform sizes", "l1, repair off, uniform sizes"])
        self.assertEqual(set(results.table(found[:2])["series"]), {"pruned"})
        other = self.variant("f", positions=0)
        other[1]["inputs"]["model"]["path"], other[1]["baseline"]["top1"] = "x/other.onnx", 0.5
        frame = results.table([found[0], other])
        self.assertEqual(list(frame["series"]), ["resnet-fashion.onnx, positions 20", "other.onnx, all positions"])
        stars = [l for l in pictures.tradeoff(frame).axes[0].lines if l.get_marker() == "*"]
        self.assertEqual(sorted(stars[0].get_ydata()), [50, 100 * found[0][1]["baseline"]["top1"]])

    def test_interval_is_wilsons(self):
        for share, trials in ((0.95, 200), (1.0, 50), (0.0, 7), (0.5, 3)):
            low, high = results.binomial_interval(share, trials)
            self.assertTrue(-1e-12 <= low <= share <= high <= 1 + 1e-12)
            for end in (low, high):  # where the share is as far as 1.96 standard deviations of this end
                self.assertAlmostEqual((share - end) ** 2, 1.96 ** 2 * end * (1 - end) / trials, delta=1e-12)

    def test_speedup(self):
        report = {"baseline": {"seconds": 3.0, "forward_seconds": 2.0},
                  "pruned": {"seconds": 2.0, "forward_seconds": 1.0}}
        self.assertEqual(results.speedup(report), 2)
        del report["pruned"]["forward_seconds"]
        self.assertEqual(results.speedup(report), 1.5)
        self.assertEqual(results.speedup({**report, "latency_ms": {"original": 4.0, "measured": 1.0}}), 4)
        self.assertIsNone(results.speedup({"baseline": {}, "pruned": {}}))

    def test_layers_are_sorted_by_number(self):
        self.assertEqual(sorted(["b10.x", "b2.x", "b2", "a"], key=results.natural), ["a", "b2", "b2.x", "b10.x"])

    # -------------------------------------------------------------- pictures

    @classmethod
    @functools.lru_cache(None)
    def pictures(cls):
        """One figure of each kind, of many layers and series."""
        found = [cls.variant("%s %s %s" % (m, r, s), s, method=m, ratios=r) for m in ("reap", "l1", "random")
                 for r in ("output", "uniform") for s in ("0.7", "0.5")]
        wide = cls.report("0.5")
        wide["groups"] = {"block%d.layer%d.convolution.Conv" % (k // 10, k): {"channels": 64, "kept": k + 1}
                          for k in range(50)}
        paths, seconds = results.paths(cls.at("0.5.h5")), cls.report("0.5")["seconds"]
        many = {"block%d.layer%d.convolution" % (k // 10, k): p for k in range(20) for p in list(paths.values())[:1]}
        return {"tradeoff": pictures.tradeoff(results.table(found)), "channels": pictures.channels(results.groups(wide)),
                "kept": pictures.kept_shares(results.all_groups(found)),
                "kept of many": pictures.kept_shares([(name, 0.5, results.groups(wide)) for name in "xy"]),
                "predicted": pictures.predicted(results.layers(cls.report("0.5"))), "paths": pictures.error_paths(paths),
                "many paths": pictures.error_paths(many),
                "scaling": pictures.scaling([(ranks, seconds) for ranks in (1, 2, 4)])}

    def test_nothing_overlaps(self):
        for name, drawing in self.pictures().items():
            drawing.canvas.draw()
            axes = [a for a in drawing.axes if a.get_visible()]
            boxes = [a.get_window_extent() for a in axes]
            for legend in drawing.legends + [a.get_legend() for a in axes if a.get_legend()]:
                place = legend.get_window_extent()
                self.assertFalse([b for b in boxes if b.overlaps(place)], name + ": legend on the data")
            ticks = [a.get_xticklabels() for a in axes] + [a.get_yticklabels() for a in axes]
            for labels in ticks + [[a.title for a in axes]]:
                shown = [t.get_window_extent() for t in labels if t.get_text() and t.get_visible()]
                for k, one in enumerate(shown):
                    self.assertFalse([o for o in shown[k + 1:] if one.overlaps(o)], name + ": labels overlap")

    def test_every_series_has_bars_and_its_own_mark(self):
        drawing = self.pictures()["tradeoff"]
        self.assertEqual(len(drawing.axes), 2)
        labels = [t.get_text() for t in drawing.legends[0].get_texts()]
        self.assertEqual(len(labels), 7)
        self.assertIn("random, sizes by output", labels)
        bars = [c for c in drawing.axes[0].containers if hasattr(c, "has_yerr")]
        self.assertEqual(len(bars), 12)
        ends = sorted(segment[:, 1].tolist() for c in bars for segment in c.lines[2][0].get_segments())
        low, high = results.binomial_interval(self.report("0.5")["pruned"]["top1"], 200)
        self.assertTrue(any(abs(a - 100 * low) < 1e-6 and abs(b - 100 * high) < 1e-6 for a, b in ends))
        for axis in drawing.axes:
            stars = [line for line in axis.lines if line.get_marker() == "*"]
            self.assertEqual([list(line.get_xdata()) for line in stars], [[100]])
            marks = {(l.get_marker(), l.get_color()) for l in axis.lines if l.get_marker() in pictures.MARKERS}
            self.assertEqual(len(marks), 6)

    def test_small_multiples(self):
        drawn = self.pictures()
        self.assertEqual(sum(a.get_visible() for a in drawn["kept"].axes), 12)
        groups = self.report("0.5")["groups"]
        self.assertEqual(sum(a.get_visible() for a in drawn["paths"].axes), len(groups))
        axis = drawn["paths"].axes[0]
        self.assertGreater(axis.get_xlim()[1], 40)  # half of the channels are left: no empty half
        self.assertLess(axis.get_ylim()[1] / min(min(l.get_ydata()) for l in axis.lines), 1e9)

    def assert_drawn(self, path):
        pixels = picture_file.imread(path)
        self.assertGreater(min(pixels.shape[:2]), 300)
        self.assertGreater(len(np.unique(pixels[..., :3].reshape(-1, 3), axis=0)), 20)

    def test_every_picture(self):
        other = self.report("0.5")
        other["ranks"], other["seconds"]["total"] = 2, other["seconds"]["total"] / 1.9
        with open(self.at("two.json"), "w") as f:
            json.dump(other, f)
        for kind, inputs in (("tradeoff", [self.at("0.7.json"), self.at("0.5.json")]), ("tradeoff", [self.sweep()]),
                             ("channels", [self.at("0.5.json")]), ("paths", [self.at("0.5.h5")]),
                             ("predicted", [self.at("0.5.json")]), ("scaling", [self.at("0.5.json"), self.at("two.json")])):
            path = self.at(kind + ".png")
            status, output = run("plot.py", kind, *inputs, "-o", path)
            self.assertEqual((status, output), (0, path + "\n"))
            self.assert_drawn(path)

    def test_tradeoff_marks_original_and_points(self):
        frame = results.table(results.reports([self.at("0.7.json"), self.at("0.5.json")]))
        axis = pictures.tradeoff(frame).axes[0]
        drawn = {(round(float(x), 6), round(float(y), 6)) for line in axis.lines
                 for x, y in zip(line.get_xdata(), line.get_ydata())}
        self.assertIn((100.0, round(100 * self.report("0.5")["baseline"]["top1"], 6)), drawn)
        for share in ("0.7", "0.5"):
            report = self.report(share)
            x = 100 * report["pruned"]["flops"] / report["baseline"]["flops"]
            self.assertIn((round(x, 6), round(100 * report["pruned"]["top1"], 6)), drawn)

    def test_html_report(self):
        for inputs, pictures_wanted in (([self.at("0.5.json"), "--model", self.at("0.5.h5")], 3), ([self.sweep()], 2)):
            path = self.at("page.html")
            status, output = run("html_report.py", *inputs, "-o", path)
            self.assertEqual(status, 0, output)
            with open(path) as f:
                page = f.read()
            self.assertEqual(page.count("data:image/png;base64,"), pictures_wanted)
            self.assertIsNone(re.search(r'(src|href)="(?!data:)', page))  # nothing from elsewhere
            self.assertNotIn("//", re.sub(r"base64,[^\"]*|<code>.*?</code>", "", page))
            report = self.report("0.5")
            self.assertIn("%.1f" % (100 * report["pruned"]["flops"] / report["baseline"]["flops"]), page)
            self.assertIn("%.4g" % report["pruned"]["loss"], page)

    def page_of_run(self):
        status, output = run("html_report.py", self.at("0.5.json"), "-o", self.at("run.html"))
        self.assertEqual(status, 0, output)
        with open(self.at("run.html")) as f:
            return f.read()

    def test_html_report_has_repaired_layers_and_speed(self):
        page, report = self.page_of_run(), self.report("0.5")
        self.assertTrue(report["repaired"])
        repaired = page[page.index("Repaired layers"):]
        for layer in report["repaired"]:
            self.assertRegex(repaired, "%s</td>.*>%.3g</td>.*>%.3g</td>" % (
                re.escape(layer["name"]), layer["relative_error_before"], layer["relative_error"]))
        self.assertIn("%.2f times as fast" % results.speedup(report), page)

    def test_tables_sort(self):
        """The page's own script, run by node on a stand-in of the document."""
        node = shutil.which("node")
        if not node:
            self.skipTest("no node")
        page = self.page_of_run()
        table = re.findall(r"<table>.*?</table>", page[page.index("Pruned layers"):], re.S)[0]
        cells = [re.findall(r'data-value="([^"]*)"', row) for row in re.findall(r"<tr><td.*?</tr>", table)]
        cells[2][6] = ""  # a layer without this figure stays below
        stand_in = """
            const heads = CELLS[0].map(() => ({a: {}, getAttribute(k) { return this.a[k]; },
              setAttribute(k, v) { this.a[k] = v; }, removeAttribute(k) { delete this.a[k]; }}));
            const buttons = heads.map(h => ({parentElement: h, addEventListener(_, f) { this.click = f; }}));
            const rows = CELLS.map(r => ({cells: r.map(value => ({dataset: {value}}))}));
            const body = {rows, append(...r) { this.rows = r; }};
            const table = {querySelectorAll: s => s === "th" ? heads : buttons, tBodies: [body]};
            const document = {querySelectorAll: () => [table]};
            """.replace("CELLS", json.dumps(cells))
        clicks = """
            const shown = k => [heads.map(h => h.a["aria-sort"]).join(""), ...body.rows.map(r => r.cells[k].dataset.value)];
            console.log(JSON.stringify([6, 6, 0, 0].map(k => (buttons[k].click(), shown(k)))));"""
        code = stand_in + re.search(r"<script>(.*)</script>", page, re.S).group(1) + clicks
        done = json.loads(subprocess.run([node, "-e", code], stdout=subprocess.PIPE, check=True).stdout)
        numbers = sorted((c[6] for c in cells if c[6]), key=float)
        names = sorted((c[0] for c in cells), key=results.natural)
        self.assertEqual(done, [["ascending", *numbers, ""], ["descending", *numbers[::-1], ""], ["ascending", *names],
                                ["descending", *names[::-1]]])

    def test_help(self):
        for name in ("plot.py", "html_report.py", "finetune.py", "latency.py", "measure/prune_floor.py",
                     "measure/networks.py"):
            status, output = run(name, "--help")
            self.assertEqual(status, 0)
            self.assertIn("usage: " + os.path.basename(name), output)

    def test_missing_modules_are_named(self):
        for words in (("plot.py", "tradeoff", self.at("0.5.json")), ("html_report.py", self.at("0.5.json"))):
            command = [sys.executable, "-S", "-E", "-B", os.path.join(SCRIPTS, words[0]), *words[1:]]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout, r"\A%s: No module named '\w+' \(Debian: python3-\w+\); see analysis/requirements.txt\n\Z" % words[0])

    # -------------------------------------------------------------- training and timing

    def test_torch_computes_what_reap_computes(self):
        try:
            import onnx_torch
            import torch
        except ImportError as error:
            self.skipTest(str(error))
        status, output = run("eval", self.at("0.5.onnx"), "--data", self.test_images, "--outputs", self.at("out.h5"), "--progress", "none")
        self.assertEqual(status, 0, output)
        import finetune
        module = onnx_torch.load(self.at("0.5.onnx")).eval()
        with torch.no_grad():
            ours = module(finetune.ImageFile(self.test_images, 0).batch(slice(0, 200))[0]).numpy()
        with h5py.File(self.at("out.h5"), "r") as f:
            theirs = f["outputs"][()]
        self.assertLess(abs(ours - theirs).max(), 1e-4 * abs(theirs).max())

    def test_finetuning_lowers_the_loss_it_trains_on(self):
        try:
            import torch  # noqa: F401
            import onnx  # noqa: F401
        except ImportError as error:
            self.skipTest(str(error))
        small, trained = self.at("small.h5"), self.at("trained.onnx")
        few_images(small, CALIBRATION, 96)
        status, output = run("finetune.py", self.at("0.5.onnx"), "--data", small, "--epochs", "3", "--batch", "32", "--lr", "0.01",
                             "--threads", "1", "-o", trained)
        self.assertEqual(status, 0, output)
        losses = []
        for model in (self.at("0.5.onnx"), trained):
            status, output = run("eval", model, "--data", small, "--report", self.at("eval.json"), "--progress", "none")
            self.assertEqual(status, 0, output)
            with open(self.at("eval.json")) as f:
                losses.append(json.load(f)["baseline"]["loss"])
        self.assertLess(losses[1], 0.9 * losses[0])

    def test_finetuning_needs_something_to_learn_from(self):
        try:
            import torch  # noqa: F401
        except ImportError as error:
            self.skipTest(str(error))
        bare = self.at("bare.h5")
        few_images(bare, CALIBRATION, 32)
        with h5py.File(bare, "a") as f:
            del f["labels"]
        status, output = run("finetune.py", self.at("0.5.onnx"), "--data", bare, "-o", self.at("never.onnx"))
        self.assertEqual(status, 1)
        self.assertIn("no labels; give --teacher", output)
        self.assertFalse(os.path.exists(self.at("never.onnx")))

    def test_finetuning_checks_before_it_trains(self):
        try:
            import torch  # noqa: F401
            import onnx  # noqa: F401
        except ImportError as error:
            self.skipTest(str(error))
        large, labels = self.at("large.h5"), self.at("labels.h5")
        for path, shape in ((large, (4, 3, 32, 32)), (labels, (4, 1, 28, 28))):
            with h5py.File(path, "w") as f:
                f["images"], f["labels"] = np.zeros(shape, np.float32), np.arange(7, 11)
        import finetune
        import script
        small, model = self.at("few.h5"), self.at("0.5.onnx")
        few_images(small, CALIBRATION, 8)
        for network, data, test, wanted in ((model, large, None, "images of 3x32x32; %s takes 1x28x28" % model),
                                            (model, small, large, "large.h5: images of 3x32x32"),
                                            (model, labels, None, "label 10, but %s has 10 classes" % model),
                                            (model, self.at("0.5.h5"), None, "no /images in it"),
                                            (self.at("0.5.h5"), small, None, "not a readable ONNX file")):
            with self.assertRaisesRegex(script.UserError, re.escape(wanted)):
                finetune.load(argparse.Namespace(model=network, data=data, eval=test, teacher=None, images=0))
        status, told = run("finetune.py", model, "--data", small, "-o", self.at("none/x.onnx"))
        self.assertEqual((status, told.count("\n")), (1, 1), told)
        self.assertIn("none does not exist", told)

    def with_onnxruntime(self):
        """A Python that has it."""
        python = os.environ.get("REAP_VENV_PYTHON", sys.executable)
        if not os.path.exists(python) or subprocess.run([python, "-c", "import onnxruntime"], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no onnxruntime")
        return python

    def test_latency(self):
        python = self.with_onnxruntime()
        status, output = run("latency.py", MODEL, self.at("0.5.onnx"), "--batch", "4", "--seconds", "0.2", "--json", self.at("l.json"), python=python)
        self.assertEqual(status, 0, output)
        with open(self.at("l.json")) as f:
            figures = json.load(f)
        self.assertEqual([n["model"] for n in figures["networks"]], [MODEL, self.at("0.5.onnx")])
        self.assertTrue(all(n["quartiles"][0] <= n["milliseconds"] <= n["quartiles"][1] for n in figures["networks"]))
        status, output = run("latency.py", self.at("0.5.json"), python=python)
        self.assertEqual(status, 1)
        self.assertIn("0.5.json", output)

    def networks(self, *words):
        """(status, rows of the table as cells, rows of the JSON) of measure/networks.py."""
        status, output = run("measure/networks.py", *words, "--images", "3", "--reap", PROGRAM, "--json", self.at("n.json"),
                             python=self.with_onnxruntime())
        with open(self.at("n.json")) as f:
            rows = json.load(f)
        return status, [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines()[2:]], rows

    def test_networks(self):
        folder = self.at("networks")
        os.makedirs(os.path.join(folder, "below"))
        shutil.copy(MODEL, os.path.join(folder, "below", "good.onnx"))
        status, ((name, *cells, told),), (row,) = self.networks(folder, "--data", TEST)
        self.assertEqual((status, name, told, cells[3]), (0, "below/good", "", "%.2f" % row["left"]))
        self.assertTrue(0 < row["eval"] < 1e-4 and row["pruned"] < 1e-4 and row["masked"] < 1e-4 < row["moved"])
        self.assertTrue(0 < row["prunable"] < row["cuttable"] <= row["groups"] and 0.2 < row["left"] < 0.3)
        with open(self.at("bad.onnx"), "wb") as f:
            f.write(b"no network")
        status, table, rows = self.networks(MODEL, self.at("bad.onnx"), "--tolerance", "0")
        self.assertEqual((status, [os.path.basename(cells[0]) for cells in table]), (1, ["resnet-fashion", "bad"]))
        self.assertIn("eval differs", table[0][-1])
        self.assertRegex(table[1][-1], "^read: bad.onnx: .+")
        self.assertNotEqual(rows[0]["eval"], row["eval"])  # other images

    def test_floor_adds_up(self):
        status, output = run("measure/prune_floor.py", MODEL, "--calib", CALIBRATION, "--images", "60", "--ranks", "1",
                             "--baseline-images", "0", "--reap", PROGRAM, "--json", self.at("floor.json"), "--", "--repair", "off")
        self.assertEqual(status, 0, output)
        with open(self.at("floor.json")) as f:
            r = json.load(f)
        dgemm = sum(r["dgemm_measured"]) / len(r["dgemm_measured"])
        moments = sum(layer["operations"] for layer in r["layers"])
        floor = r["eval_original_seconds"] + r["eval_pruned_seconds"] + moments / dgemm
        self.assertAlmostEqual(r["floor_seconds"], floor, delta=1e-9 * floor)
        self.assertAlmostEqual(r["ratio"], r["seconds"]["total"] / floor, delta=1e-9 * r["ratio"])
        for layer in r["layers"]:
            self.assertGreater(layer["operations"], 0)
            self.assertAlmostEqual(layer["share_of_dgemm"] * layer["seconds"] * dgemm, layer["operations"],
                                   delta=1e-9 * layer["operations"])
        with open(self.at("0.5.json")) as f:
            self.assertEqual([layer["name"] for layer in r["layers"]], [layer["name"] for layer in json.load(f)["layers"]])
        for phase in ("forward", "moments", "total"):
            self.assertRegex(output, r"(?m)^%s +[0-9.]+ +[0-9.]+ +[0-9.]+$" % phase)
        status, output = run("measure/prune_floor.py", "none.onnx", "--calib", CALIBRATION, "--ranks", "1", "--reap", PROGRAM)
        self.assertEqual(status, 1)
        self.assertIn("none.onnx", output)


if __name__ == "__main__":
    unittest.main()
