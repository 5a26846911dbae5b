#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Images far beyond those of any camera, or all alike, are warned of; ordinary ones are not; figures that overflow end the run.

REAP_PROGRAM is the program. Exit status 77 (skipped) without it, h5py or NumPy.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import onnx_bytes as onnx

PROGRAM = os.environ.get("REAP_PROGRAM")
try:
    import h5py
    import numpy
except ImportError:
    PROGRAM = None
if not PROGRAM:
    print("skipped: REAP_PROGRAM is not set, or h5py or NumPy is missing")
    sys.exit(77)


def network():
    rng = random.Random(5)

    def weights(name, *dims):
        return onnx.tensor(name, dims, [rng.gauss(0, 0.7) for _ in
                                        range(dims[0] * dims[1])])
    return onnx.model(
        [onnx.node("Conv", ["x", "w1"], ["a"], "c1"),
         onnx.node("Relu", ["a"], ["b"]),
         onnx.node("Conv", ["b", "w2"], ["c"], "c2"),
         onnx.node("Relu", ["c"], ["d"]),
         onnx.node("GlobalAveragePool", ["d"], ["e"]),
         onnx.node("Flatten", ["e"], ["f"]),
         onnx.node("Gemm", ["f", "w3"], ["y"], "fc", transB=1)],
        [("x", [1, 3, 4, 4])], [("y", [1, 4])],
        [weights("w1", 8, 3, 1, 1), weights("w2", 8, 8, 1, 1),
         weights("w3", 4, 8)])


class Range(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        with open(self.path("net.onnx"), "wb") as file:
            file.write(network())
        images = numpy.random.default_rng(6).standard_normal((60, 3, 4, 4))
        self.images("usual", images)
        self.images("big", images * 1e30)
        self.images("overflow", images * 8e37)
        self.images("bytes", numpy.abs(images) * 80)
        self.images("zero", images * 0)
        self.images("many", numpy.concatenate([images] * 10) * 80)

    def path(self, name):
        return os.path.join(self.folder, name)

    def images(self, name, values):
        with h5py.File(self.path(name + ".h5"), "w") as file:
            data = file.create_dataset("images", data=values.astype("f4"))
            data.attrs["layout"] = numpy.bytes_("NCHW")
            file.create_dataset("labels", data=numpy.arange(len(values)) % 4)

    def prune(self, calibration, evaluation, command="prune",
              budget=("--keep", "0.5")):
        run = subprocess.run(
            [PROGRAM, command, self.path("net.onnx"), "--calib",
             self.path(calibration + ".h5"), "--eval",
             self.path(evaluation + ".h5"), *budget, "-o",
             self.path(f"out-{command}.h5"), "--progress", "none"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False)
        return run.returncode, run.stderr.decode()

    def test_usual(self):
        for name in ("usual", "bytes"):
            status, said = self.prune(name, name)
            self.assertEqual(status, 0, said)
            for word in ("far beyond", "all values", "divergence"):
                self.assertNotIn(word, said)

    def test_large(self):
        status, said = self.prune("usual", "big")
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"warning: .*big\.h5: .* values up to .*e\+30")
        self.assertRegex(said, r"warning: .*big\.h5: a KL divergence of ")
        self.assertNotIn("usual.h5: its", said)

    def test_chance(self):
        status, said = self.prune("usual", "many")
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"many\.h5: the original network has .* by chance \(25\.0 %\).* far from a few")
        self.assertNotIn("usual.h5: the original", said)  # too few to tell
        status, said = self.prune("many", "many")  # before any work, and once
        self.assertEqual(status, 0, said)
        self.assertEqual(said.count("by chance"), 1, said)
        for command, budget in (("prune", ("--max-kl", "0.5")),
                                ("sweep", ("--keep", "0.75,0.5"))):
            status, said = self.prune("many", "many", command, budget)
            self.assertEqual(said.count("by chance"), 1, said)
        status, said = self.prune("usual", "usual")
        self.assertNotIn("by chance", said)

    def test_constant(self):
        status, said = self.prune("zero", "zero")
        self.assertEqual(status, 0, said)
        self.assertEqual(said.count("all values of all images are 0"), 1)

    def test_overflow(self):
        status, said = self.prune("usual", "overflow")
        self.assertEqual(status, 5, said)
        self.assertRegex(said, r"image \d+ of .*overflow\.h5 is not finite")


if __name__ == "__main__":
    unittest.main()
