#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a pruned network is said to lose, and bounds on it, through the program.

KL, agreement and drop on views of held-out images, and the drop on other images, are what NumPy makes of onnxruntime's
outputs of both networks; their intervals agree with those of NumPy's own random numbers. A network found within bounds
is the one of its budget. See judged.py.
"""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from judged import HERE, PROGRAM, h5py, np, onnxruntime

FASHION = os.path.join(HERE, os.pardir, "datasets", "fashion")
MODEL = os.path.join(FASHION, "resnet-fashion.onnx")
CALIB = os.path.join(FASHION, "fashion-calib.h5")
TEST = os.path.join(FASHION, "fashion-test.h5")
QUICK = ["--calib", CALIB, "--images", "1000", "--ratios", "uniform", "--positions", "2", "--repair", "off", "--progress", "none"]


def images_of(path, count):
    with h5py.File(path) as file:
        data = file["images"]
        images = data[:count].astype(np.float32) * data.attrs["scale"]
        images = (images - data.attrs["mean"].reshape(1, -1, 1, 1)) / data.attrs["std"].reshape(1, -1, 1, 1)
        return images.astype(np.float32), file["labels"][:count]


def scores(path, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0].astype(float)


def divergence(y, z):
    def logarithms(rows):
        rows = rows - rows.max(1, keepdims=True)
        return rows - np.log(np.exp(rows).sum(1, keepdims=True))
    p, q = logarithms(y), logarithms(z)
    return (np.exp(p) * (p - q)).sum(1)


class Bounds(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="reap-bounds-")

    def tearDown(self):
        shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_reap(self, *words, ranks=1, status=0):
        command = ["mpirun", "-n", str(ranks), PROGRAM, "prune", MODEL, "-o", self.path("p.onnx"), "--report", self.path("p.json")]
        done = subprocess.run(command + QUICK + list(words), capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout + done.stderr

    def report(self):
        with open(self.path("p.json"), encoding="utf-8") as file:
            return json.load(file)

    def same_interval(self, found, values):
        """Percentiles of other draws are within a tenth of the width, and for counts one image more."""
        drawn = np.random.default_rng(1).integers(0, len(values), (4000, len(values)))
        low, high = np.percentile(values[drawn].mean(1), [2.5, 97.5])
        self.assertAlmostEqual(found["mean"], values.mean(), delta=1e-4 * (abs(values).mean() + 1e-9))
        most = 0.1 * (high - low) + (1.01 / len(values) if (values == np.round(values)).all() else 0)
        self.assertLess(max(abs(found["low"] - low), abs(found["high"] - high)), most)

    def test_figures_and_intervals(self):
        text = self.run_reap("--flops", "0.5", "--views", "flips", "--eval", TEST, ranks=2)
        report = self.report()
        views = report["views"]
        images, labels = images_of(CALIB, 1000)
        images, labels = images[9::10], labels[9::10]
        flipped = np.ascontiguousarray(images[..., ::-1])
        y, z = scores(MODEL, flipped), scores(self.path("p.onnx"), flipped)
        was, now = y.argmax(1), z.argmax(1)
        self.assertEqual((views["used"], views["images"]), (["flips"], 100))
        self.assertAlmostEqual(views["agreement"]["flips"], (was == scores(MODEL, images).argmax(1)).mean())
        self.assertIsNone(views["agreement"]["mixes"])
        self.same_interval(views["kl"], divergence(y, z))
        self.same_interval(views["top1"], 1.0 * (was == now))
        self.same_interval(views["drop"], 1.0 * (was == labels) - (now == labels))
        images, labels = images_of(TEST, None)
        was, now = (scores(path, images).argmax(1) for path in (MODEL, self.path("p.onnx")))
        self.same_interval(report["pruned"]["drop"], 1.0 * (was == labels) - (now == labels))
        self.assertIn("chance in these images, not the step from views of them to new images", text)

    def test_views_that_the_original_takes_for_other_images_are_left_out(self):
        self.run_reap("--flops", "0.5")
        views = self.report()["views"]
        self.assertLess(views["agreement"]["mixes"], 0.8)
        self.assertEqual(views["used"], ["flips", "shifts"])
        self.run_reap("--flops", "0.5", "--views", "none")
        self.assertEqual((self.report()["views"]["used"], self.report()["options"]["views"]), ([], "none"))

    def test_the_smallest_network_within_a_bound(self):
        self.run_reap("--max-kl", "0.2", "--max-drop", "20%")
        report = self.report()
        search = report["search"]
        good = [t for t in search["tried"] if t["whole"] and t["within"]]
        best = min(good, key=lambda t: t["amount"])
        self.assertEqual((report["budget"]["of"], report["budget"]["asked"]), ("flops", best["amount"]))
        self.assertLessEqual(report["views"]["kl"]["high"], 0.2)
        self.assertLessEqual(report["views"]["drop"]["high"], 0.2)
        self.assertEqual(report["views"]["kl"], best["kl"])
        for tried in search["tried"]:
            self.assertEqual(tried["within"], tried["kl"]["high"] <= 0.2 and tried["drop"]["high"] <= 0.2)
        self.assertTrue(any(not t["within"] for t in search["tried"]) or best["amount"] < 0.3)
        self.assertAlmostEqual(search["provable_drop"], 1 - 0.025 ** (1 / 100))
        groups = report["groups"]
        self.run_reap("--flops", repr(best["amount"]), ranks=2)
        self.assertEqual(self.report()["groups"], groups)
        self.assertEqual(self.report()["views"], report["views"])

    def test_what_cannot_be(self):
        for words, told in ((["--max-kl", "0.1", "--flops", "0.5"], "give exactly one of"),
                            (["--max-kl", "0.1", "--checkpoint", self.path("c.h5")], "do not go with --checkpoint"),
                            (["--max-drop", "1%"], "100 images held out prove a drop of 0.03622 at the least"),
                            (["--max-kl", "0.1", "--images", "400"], "too few are held out"),
                            (["--flops", "0.5", "--views", "flips,turns"], "--views wants auto, none or some of")):
            quick = [q for q in QUICK if "--images" not in words or q not in ("--images", "1000")]
            command = [PROGRAM, "prune", MODEL, "-o", self.path("p.onnx")]
            done = subprocess.run(command + quick + words, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(told, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
