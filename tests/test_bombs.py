#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""ONNX files of a few kilobytes that ask for gigabytes, or for hours.

Each is served or refused (status 3, naming node or object), in less than 200
MB; networks that need large constants for a good reason are served.

REAP_PROGRAM is the program. Exit status 77 (skipped) without it.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

import onnx_bytes as onnx

PROGRAM = os.environ.get("REAP_PROGRAM")
if not PROGRAM:
    print("skipped: REAP_PROGRAM is not set")
    sys.exit(77)
SANITIZED = "ASAN_OPTIONS" in os.environ and subprocess.run(
    ["grep", "-q", "__asan_init", PROGRAM], check=False).returncode == 0
MOST = 200 << 20
X = [("x", [1, 3, 8, 8])]


def conv(name="conv", source="x", target="y", weights="w"):
    return onnx.node("Conv", [source, weights], [target], name)


def ints(name, values):
    return onnx.tensor(name, [len(values)], values, onnx.INT64)


W = onnx.tensor("w", [4, 3, 1, 1], [0.1] * 12)
Y = [("y", [1, 4, 8, 8])]


def used(nodes, tensors, value):
    """A network in which constant `value` is added to the result."""
    return onnx.model(nodes + [conv(target="z"),
                               onnx.node("Add", ["z", value], ["y"], "use")],
                      X, Y, [W] + tensors)


def filled(count, side):
    nodes = [onnx.node("ConstantOfShape", ["s"], ["c%d" % i], "fill%d" % i)
             for i in range(count)]
    nodes += [onnx.node("Concat", ["c%d" % i for i in range(count)], ["all"],
                        "join", axis=0),
              onnx.node("Slice", ["all", "zero", "one", "axes"], ["small"]),
              onnx.node("Slice", ["small", "zero", "one", "axis1"], ["c"])]
    return used(nodes, [ints("s", [side, side]), ints("zero", [0]),
                        ints("one", [1]), ints("axes", [0]),
                        ints("axis1", [1])], "c")


def chain(count, width):
    """Constants computed one from the other, none of them held for long."""
    nodes = [onnx.node("ConstantOfShape", ["s"], ["c0"], "fill")]
    nodes += [onnx.node("Add", ["c%d" % i, "c%d" % i], ["c%d" % (i + 1)],
                        "add%d" % i) for i in range(count)]
    nodes += [onnx.node("Slice", ["c%d" % count, "zero", "one"], ["c"])]
    return used(nodes, [ints("s", [width]), ints("zero", [0]),
                        ints("one", [1])], "c")


def doubling(count):
    nodes = [conv(target="c0")]
    nodes += [onnx.node("Concat", ["c%d" % i] * 2, ["c%d" % (i + 1)],
                        "cat%d" % i, axis=1) for i in range(count)]
    return onnx.model(nodes, X, [("c%d" % count, [1, 4, 8, 8])], [W])


def shared_weights(count, channels):
    nodes = [onnx.node("Conv", ["v%d" % i, "w"], ["v%d" % (i + 1)], "c%d" % i)
             for i in range(count)]
    w = onnx.tensor("w", [channels, channels, 1, 1], [0.01] * channels ** 2)
    return onnx.model(nodes, [("v0", [1, channels, 4, 4])],
                      [("v%d" % count, [1, channels, 4, 4])], [w])


def dense(layers):
    """Every layer reads the channels of all others: a square of members."""
    nodes = [onnx.node("Conv", ["x", "w"], ["c%d" % i], "p%d" % i)
             for i in range(layers)]
    nodes += [onnx.node("Concat", ["c%d" % i for i in range(layers)], ["all"],
                        "all", axis=1)]
    nodes += [onnx.node("Conv", ["all", "v"], ["d%d" % i], "q%d" % i)
              for i in range(layers)]
    nodes += [onnx.node("Concat", ["d%d" % i for i in range(layers)], ["y"],
                        "end", axis=1)]
    return onnx.model(nodes, X, Y, [
        onnx.tensor("w", [1, 3, 1, 1], [0.1] * 3),
        onnx.tensor("v", [1, layers, 1, 1], [0.1] * layers)])


def fold(op, nodes, tensors):
    return used(nodes + [onnx.node("Slice", ["big", "zero", "one"], ["c"])],
                tensors + [ints("zero", [0]), ints("one", [1])], "c")


BOMBS = {
    "constants of a graph": (filled(64, 4096), 3),
    "constants along a chain": (chain(3000, 4 << 20), 3),
    "channels doubled": (doubling(30), 3),
    "weights shared by all": (shared_weights(20000, 64), 3),
    "members squared": (dense(1500), 3),
    "range": (fold("Range", [onnx.node("Range", ["a", "b", "d"], ["big"],
                                       "far")],
                   [onnx.tensor("a", [], [0], onnx.INT64),
                    onnx.tensor("b", [], [1 << 40], onnx.INT64),
                    onnx.tensor("d", [], [1], onnx.INT64)]), 3),
    "expand": (fold("Expand", [onnx.node("Expand", ["one", "s"], ["big"],
                                         "far")],
                    [ints("s", [1 << 20, 1 << 15])]), 3),
    "gather": (fold("Gather", [
        onnx.node("ConstantOfShape", ["s"], ["g0"], "index"),
        onnx.node("Cast", ["g0"], ["g"], "cast", to=7),
        onnx.node("Gather", ["g", "g"], ["h"], "far")] +
        [onnx.node("Reshape", ["h", "minus"], ["big"])],
                    [ints("s", [8000, 1000]), ints("minus", [-1])]), 3),
    "reshape of what is not there": (used([
        onnx.node("Reshape", ["w", "s"], ["c"], "r")],
        [ints("s", [1 << 31, 1 << 31])], "c"), 3),
    "tensor without data": (onnx.model([conv()], X, Y, [
        onnx.field(1, 1 << 40) + onnx.field(2, 1) + onnx.field(8, "w")]), 3),
    "strings": (onnx.model([conv()], X, Y, [
        onnx.field(1, 1) + onnx.field(2, 8) + onnx.field(6, "a") +
        onnx.field(8, "w")]), 3),
    "pads": (onnx.model([conv(target="z"), onnx.node(
        "Pad", ["z", "p"], ["y"], "pad")], X, Y, [W, ints(
            "p", [0, 1 << 30, 0, 0, 0, 1 << 30, 0, 0])]), 3),
    "a kernel without end": (onnx.model([conv(target="z"), onnx.node(
        "MaxPool", ["z"], ["y"], "pool", kernel_shape=[1 << 31, 1 << 31],
        pads=[1 << 30] * 4)], X, Y, [W]), (0, 3)),
    "a million inputs": (onnx.model([onnx.node(
        "Concat", ["x"] * 1000000, ["y"], "cat", axis=1)], X, Y), 3),
    "empty nodes": (onnx.field(1, 8) + onnx.field(7, onnx.field(1, b"") *
                                                  1000000), 3),
    "empty inputs": (onnx.model([onnx.node("Relu", [""] * 3000000, ["y"])],
                                X, Y), 3),
    "many outputs": (onnx.model([onnx.node(
        "Split", ["x"], ["y%d" % i for i in range(100000)], "split")],
        X, Y), 3),
    "a name of a megabyte": (onnx.model([conv("n" * 1000000)], X, Y, [W]), 3),
    "a name of a megabyte, a tensor's": (onnx.model(
        [conv(target="t" * 1000000)], X, [("t" * 1000000, [1])], [W]), 3),
    "axes": (onnx.model([conv(target="z"), onnx.node(
        "ReduceMean", ["z"], ["y"], "mean", axes=[2] * 100000)],
        X, Y, [W]), (0, 3)),
    "channels of an input": (onnx.model(
        [onnx.node("Relu", ["x"], ["y"], "r")],
        [("x", [1, 1 << 28, 1, 1])], [("y", [1, 1 << 28, 1, 1])]), 3),
    "functions": (onnx.model([onnx.node("F0", ["x"], ["y"], "call")], X, Y) +
                  b"".join(onnx.field(25, onnx.field(1, "F%d" % i) +
                                      onnx.field(7, onnx.node(
                                          "F%d" % (i + 1), ["x"], ["y"])) * 9)
                           for i in range(40)), 3),
}

SERVED = {
    "a mask": (used([
        onnx.node("ConstantOfShape", ["s"], ["m0"], "mask"),
        onnx.node("Add", ["m0", "m0"], ["m1"], "twice"),
        onnx.node("Slice", ["m1", "zero", "ends", "axes"], ["c"], "cut")],
        [ints("s", [2048, 2048]), ints("zero", [0, 0]), ints("ends", [8, 8]),
         ints("axes", [0, 1])], "c")),
    "weights shared by heads": shared_weights(5, 256),
    "a chain of nodes": onnx.model(
        [conv(target="r0")] + [onnx.node("Relu", ["r%d" % i],
                                         ["r%d" % (i + 1)])
                               for i in range(20000)],
        X, [("r20000", [1, 4, 8, 8])], [W]),
    "a chain of copies": onnx.model(
        [conv(target="r0")] + [onnx.node("Identity", ["r%d" % i],
                                         ["r%d" % (i + 1)])
                               for i in range(20000)] +
        [onnx.node("Relu", ["r20000"], ["y"])], X, Y, [W]),
}


class Bombs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def inspect(self, data, name="net.onnx"):
        """Status, what was said, and the largest resident set."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        code = ("import os, resource, subprocess, sys\n"
                "r = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
                "m = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
                "print(r.returncode, m * 1024)\n")
        limit = lambda: SANITIZED or resource.setrlimit(
            resource.RLIMIT_AS, (4 << 30, 4 << 30))
        run = subprocess.run([sys.executable, "-c", code, PROGRAM, "inspect",
                              path], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, check=True, timeout=120,
                             preexec_fn=limit)
        status, peak = run.stdout.split()
        return int(status), run.stderr.decode(), int(peak)

    def check(self, data, statuses):
        status, said, peak = self.inspect(data)
        self.assertIn(status, statuses, said)
        if status == 3:
            self.assertRegex(said, r"net\.onnx: .{10,}")
        if not SANITIZED:
            self.assertLess(peak, MOST, said)

    def test_bombs(self):
        for name, (data, status) in BOMBS.items():
            with self.subTest(name):
                self.check(data, status if isinstance(status, tuple)
                           else (status,))

    def test_served(self):
        for name, data in SERVED.items():
            with self.subTest(name):
                self.check(data, (0,))

    def test_external(self):
        """Thousands of tensors that are one stretch of one file."""
        with open(os.path.join(self.folder, "data.bin"), "wb") as file:
            file.truncate(4 << 20)
        tensors = [onnx.field(1, 1 << 20) + onnx.field(2, 1) +
                   onnx.field(8, "t%d" % i) + onnx.field(
                       13, onnx.field(1, "location") +
                       onnx.field(2, "data.bin")) + onnx.field(14, 1)
                   for i in range(4000)]
        self.check(onnx.model([conv()], X, Y, [W] + tensors), (3,))


if __name__ == "__main__":
    unittest.main()
