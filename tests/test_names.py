#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Names that command a terminal, turn the direction of writing or are no UTF-8.

Whatever a network calls its nodes and tensors: nothing but plain lines reaches
the terminal, reports are JSON that Python reads, different names stay
different, a name as it is shown is taken where a name is asked for, and the
pruned network has its names byte by byte.

REAP_PROGRAM is the program. Exit status 77 (skipped) without it.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import onnx_bytes as onnx
import same_network

try:
    import h5py
    import numpy
except ImportError:
    h5py = None
PROGRAM = os.environ.get("REAP_PROGRAM")
if not PROGRAM:
    print("skipped: REAP_PROGRAM is not set")
    sys.exit(77)

NAMES = [b"a\x1b[31m", b"a\xff", b"a\\xff", b"\xe2\x80\xaegnp.exe",
         b"two\nlines\r", b"\xc2\x9b2J\x7f", "größe 漢字 😀".encode(),
         b"\xc0\xaf\xed\xa0\x80\xf5"]
OWN = re.compile(rb"\r\x1b\[K")  # of the progress bar itself
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f"
                     "\u2028-\u202e\u2066-\u2069\ufeff]")


def unescaped(text):
    """The bytes that an escaped name stands for."""
    parts = re.split(r"\\x([0-9a-fA-F]{2})", text)
    return b"".join(bytes([int(p, 16)]) if i % 2 else p.encode()
                    for i, p in enumerate(parts))


def network(names):
    """A chain of convolutions with these names, 4 channels each."""
    rng = random.Random(1)
    nodes, tensors, at = [], [], b"x"
    for i, name in enumerate(names):
        weights = [rng.gauss(0, 0.5) for _ in range(4 * (4 if i else 3))]
        tensors.append(onnx.tensor(b"w" + name, [4, 4 if i else 3, 1, 1],
                                   weights))
        nodes.append(onnx.node("Conv", [at, b"w" + name], [b"v" + name], name))
        nodes.append(onnx.node("Relu", [b"v" + name], [b"r" + name],
                               b"relu" + name))
        at = b"r" + name
    return onnx.model(nodes, [(b"x", [1, 3, 4, 4])], [(at, [1, 4, 4, 4])],
                      tensors, producer=b"p\xff\x1b")


class Names(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.model = os.path.join(self.folder, "net.onnx")
        with open(self.model, "wb") as file:
            file.write(network(NAMES))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_reap(self, *arguments, status=0):
        run = subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, check=False)
        self.assertEqual(run.returncode, status, run.stderr)
        for stream in (run.stdout, OWN.sub(b"", run.stderr)):
            self.assertIsNone(CONTROL.search(stream.decode()), stream)
        return run

    def calibration(self):
        if not h5py:
            self.skipTest("h5py is not there")
        path = self.path("images.h5")
        with h5py.File(path, "w") as file:
            images = numpy.random.default_rng(2).standard_normal(
                (30, 3, 4, 4)).astype("f4")
            file.create_dataset("images", data=images).attrs["layout"] = "NCHW"
        return path

    def check_names(self, layers, wanted):
        """What a report calls the layers, in any order."""
        self.assertEqual(len(set(layers)), len(wanted))
        self.assertEqual({unescaped(n) for n in layers}, set(wanted))

    def test_tables(self):
        out = self.run_reap("inspect", self.model).stdout.decode()
        for shown in (r"a\x1b[31m", r"a\xff", r"a\x5cxff", r"two\x0alines\x0d",
                      r"\xe2\x80\xaegnp.exe", "größe 漢字 😀"):
            self.assertIn("\n" + shown + " ", out)
            self.assertIn("\n%-40s Conv " % shown, out)  # of the layers
            if shown != "größe 漢字 😀":
                self.assertIn("\n%-40s        4  " % shown, out)  # the groups

    def test_json(self):
        out = self.run_reap("inspect", "--json", self.model).stdout
        report = json.loads(out.decode())
        self.check_names([layer["name"] for layer in report["layers"]], NAMES)

    def test_messages(self):
        for name in NAMES:
            bad = self.path("bad.onnx")
            with open(bad, "wb") as file:
                file.write(onnx.model(
                    [onnx.node(b"Op" + name, ["x"], ["y"], name)],
                    [("x", [1, 3, 4, 4])], [("y", [1, 3, 4, 4])]))
            self.run_reap("inspect", bad, status=3)
        self.run_reap("inspect", os.fsencode(self.folder) + b"/\x1b\xff.onnx",
                      status=3)
        self.run_reap(b"\x1b\xff", status=2)
        self.run_reap("inspect", b"--\x1b\xff", status=2)

    def test_prune(self):
        images = self.calibration()
        report, plan, pruned = (self.path(n) for n in ("r.json", "p.json",
                                                       "pruned.onnx"))
        for style in ("bar", "lines", "json"):
            run = self.run_reap(
                "prune", self.model, "--calib", images, "--keep", "0.5", "-o",
                self.path("out.h5"), "--onnx", pruned, "--report", report,
                "--save-plan", plan, "--progress", style)
            if style == "json":
                events = [json.loads(line) for line in
                          run.stderr.decode().splitlines()]
                self.check_names({e["item"] for e in events
                                  if e.get("phase") == "prune" and
                                  e.get("item")} or
                                 set(), NAMES[1:])
        with open(report, encoding="utf-8") as file:
            self.check_names([layer["name"] for layer in
                              json.load(file)["layers"]], NAMES[1:])
        with open(plan, encoding="utf-8") as file:
            self.check_names(list(json.load(file)["groups"]), NAMES[:-1])
        with open(pruned, "rb") as file:
            data = file.read()
        for name in NAMES:  # byte by byte
            self.assertIn(onnx.field(3, name), data)
            self.assertIn(onnx.field(8, b"w" + name), data)
        again = self.path("again.onnx")
        self.run_reap("prune", self.model, "--calib", images, "--plan", plan,
                      "-o", self.path("out.h5"), "--onnx", again)
        self.assertTrue(same_network.same(again, pruned))

    def notes(self, path):
        """Those of an ONNX file, which have to be UTF-8."""
        with open(path, "rb") as file:
            parts = [same_network.fields(content) for number, _, content in same_network.fields(memoryview(file.read()))
                     if number == same_network.NOTES]
        return dict((bytes(text).decode() for _, _, text in part) for part in parts)

    def test_exclude(self):
        images = self.calibration()
        for name in (rb"a\x1b[31m", b"a\xff", rb"a\xff", rb"a\x5cxff"):
            report, pruned = self.path("r.json"), self.path("pruned.onnx")
            self.run_reap("prune", self.model, "--calib", images, "--keep",
                          "0.5", "-o", pruned, "--report", report, "--exclude", name)
            self.assertIn("--exclude", self.notes(pruned)["reap.command"])
            with open(report, encoding="utf-8") as file:
                groups = [layer["group"] for layer in json.load(file)["layers"]]
            self.assertLess(len(groups), len(NAMES) - 1)


if __name__ == "__main__":
    unittest.main()
