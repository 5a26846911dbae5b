#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Coupled groups chosen jointly and everything behind them re-solved: networks with every channel twice.

One of each two channels can go without any loss, if the method finds them and the layers behind are re-solved: the pruned network
computes what the original does. Nothing but that tells which channels these are: their weights are the largest, and the
duplicates' readers are drawn at random. Kept channels are the same on any number of ranks. Exit status 77 where numpy, h5py, onnx
or onnxruntime are missing.
"""
import json
import os
import subprocess
import sys
import tempfile

from judged import PROGRAM, TensorProto, h5py, helper, np, numpy_helper, onnx, onnxruntime

RANDOM = np.random.RandomState(7)
IMAGES = RANDOM.normal(size=(80, 3, 6, 6)).astype(np.float32)
UNITS = 12
ORDER = RANDOM.permutation(UNITS)  # unit i is the same as its twin
TWIN = np.empty(UNITS, int)
TWIN[ORDER[::2]], TWIN[ORDER[1::2]] = ORDER[1::2], ORDER[::2]


class Network:
    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs.split(), [output], output, **attributes))
        return output

    def conv(self, name, x, inputs, outputs, twins=False, size=3, group=1):
        """Outputs that are twins have the same weights, with all their inputs alike."""
        w, b = RANDOM.normal(size=(outputs, inputs // group, size, size)), RANDOM.normal(size=outputs) * 0.3
        if twins:
            first = np.minimum(np.arange(outputs), TWIN)
            w, b = w[first] * 2, b[first]
        self.constant(name + ".w", w * (2 / np.prod(w.shape[1:])) ** 0.5)
        self.constant(name + ".b", b)
        self.node("Conv", "%s %s.w %s.b" % (x, name, name), name, pads=[size // 2] * 4, group=group)
        return self.node("Relu", name, name + ".r")

    def model(self, x, channels):
        self.node("GlobalAveragePool", x, "pooled")
        self.node("Flatten", "pooled", "flat")
        self.constant("fc.w", RANDOM.normal(size=(channels, 5)))
        self.node("Gemm", "flat fc.w", "y")
        graph = helper.make_graph(self.nodes, "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 6, 6])],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def residual():
    """A stream that two layers make and two read."""
    net = Network()
    x = net.conv("a", "x", 3, UNITS, twins=True)
    for name in "bc":
        y = net.conv(name + "2", net.conv(name, x, UNITS, 7), 7, UNITS, twins=True)
        x = net.node("Add", "%s %s" % (x, y), name + ".sum")
    return net.model(net.conv("last", x, UNITS, 6), 6)


def depthwise():
    """An inverted bottleneck: a layer for each channel between the producer and the only reader."""
    net = Network()
    x = net.conv("a", "x", 3, UNITS, twins=True)
    x = net.conv("each", x, UNITS, UNITS, twins=True, group=UNITS)
    return net.model(net.conv("last", x, UNITS, 6, size=1), 6)


def joined():
    """Beside the units the reader has channels of another layer, which stay."""
    net = Network()
    x = net.conv("a", "x", 3, UNITS, twins=True)
    y = net.conv("other", "x", 3, 5)
    net.node("Concat", "%s %s" % (y, x), "both", axis=1)
    return net.model(net.conv("last", "both", UNITS + 5, 6), 6)


def written_and_read():
    """x + conv(x): the layer reads the stream and makes it."""
    net = Network()
    x = net.conv("a", "x", 3, UNITS, twins=True)
    w, b = RANDOM.normal(size=(UNITS, UNITS, 1, 1)), np.zeros(UNITS)
    w = w[np.minimum(np.arange(UNITS), TWIN)]
    net.constant("b.w", w * (1 / UNITS) ** 0.5)
    net.constant("b.b", b)
    net.node("Conv", x + " b.w b.b", "b")
    return net.model(net.conv("last", net.node("Add", x + " b", "sum"), UNITS, 6), 6)


def normalised():
    """A norm over the channels, which one of each two gives the same mean and variance."""
    net = Network()
    x = net.conv("a", "x", 3, UNITS, twins=True)
    for name in ("scale", "shift"):
        net.constant(name, RANDOM.normal(size=UNITS)[np.minimum(np.arange(UNITS), TWIN)].reshape(-1, 1, 1))
    net.constant("epsilon", 0.01)
    net.node("ReduceMean", x, "mean", axes=[1])
    net.node("Sub", x + " mean", "centred")
    net.node("Mul", "centred centred", "squares")
    net.node("ReduceMean", "squares", "variance", axes=[1])
    net.node("Sqrt", net.node("Add", "variance epsilon", "raised"), "deviation")
    net.node("Mul", net.node("Div", "centred deviation", "unit") + " scale", "scaled")
    return net.model(net.conv("last", net.node("Add", "scaled shift", "normed"), UNITS, 6), 6)


def grouped():
    """Only a convolution in wide groups reads what the first layer makes."""
    net = Network()
    x = net.conv("a", "x", 3, 16)
    x = net.conv("wide", x, 16, 16, group=2)
    return net.model(net.conv("last", x, 16, 6), 6)


class Failure(Exception):
    pass


def run(folder, *words, ranks=1, status=0):
    command = (["mpirun", "-n", str(ranks)] if ranks > 1 else []) + [PROGRAM, *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode != status:
        raise Failure("%s: status %d: %s" % (" ".join(command), done.returncode, done.stderr[-600:]))
    return done


def outputs(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": IMAGES})[0]


def prune(folder, *options, ranks=1):
    """Kept units of the group of layer a, and how far the outputs are from the original's."""
    run(folder, "prune", "model.onnx", "--calib", "data.h5", "--scope", "all", "-o", "out.h5", "--onnx", "out.onnx", "--report",
        "out.json", "--progress", "none", "--log-level", "warning", *options, ranks=ranks)
    with open(os.path.join(folder, "out.json"), encoding="utf-8") as file:
        report = json.load(file)
    kept = next(cut["kept"] for cut in report["cuts"] if cut["group"].startswith("a"))
    wanted, found = outputs(os.path.join(folder, "model.onnx")), outputs(os.path.join(folder, "out.onnx"))
    return kept, float(np.abs(found - wanted).max() / np.abs(wanted).max())


def check(make, folder):
    write(make, folder)
    groups = json.loads(run(folder, "inspect", "model.onnx", "--json").stdout)["groups"]
    name = next(g["name"] for g in groups if "a" in g["producers"])
    with open(os.path.join(folder, "plan.json"), "w", encoding="utf-8") as file:
        json.dump({"groups": {name: UNITS // 2}}, file)
    plan = ["--plan", "plan.json"]
    kept, apart = prune(folder, *plan)
    if len(kept) != UNITS // 2 or any(TWIN[k] in kept for k in kept):
        raise Failure("keeps %s, whose twins are %s" % (kept, [int(TWIN[k]) for k in kept]))
    if apart > 2e-4:
        raise Failure("one of each two channels less, and outputs differ by %.2g" % apart)
    for ranks, solver in ((2, "scalapack"), (3, "auto")):
        other, apart = prune(folder, *plan, "--solver", solver, ranks=ranks)
        if other != kept or apart > 2e-4:
            raise Failure("%d ranks (%s) keep %s, one keeps %s; outputs differ by %.2g" % (ranks, solver, other, kept, apart))
    by_weights, apart = prune(folder, *plan, "--method", "l1")
    if len(by_weights) != UNITS // 2:
        raise Failure("l1 keeps %s" % by_weights)
    solved = prune(folder, *plan, "--method", "l1", "--producers", 0)[1]
    plain = prune(folder, *plan, "--method", "l1", "--refit", "none")[1]
    if not solved < 0.7 * plain:
        raise Failure("l1: outputs differ by %.3g re-solved, by %.3g as cut" % (solved, plain))


def check_budget(folder):
    """Of the residual network, by losses: the budget is met."""
    for options in (["--flops", 0.6], ["--params", 0.5], ["--flops", 0.3, "--ratios", "path"], ["--flops", 0.4, "--ratios", "uniform"]):
        run(folder, "prune", "model.onnx", "--calib", "data.h5", "--scope", "all", "-o", "out.h5", "--report", "out.json",
            "--progress", "none", *options)
        with open(os.path.join(folder, "out.json"), encoding="utf-8") as file:
            report = json.load(file)
        key = options[0][2:]
        if report["pruned"][key] > options[1] * report["baseline"][key]:
            raise Failure("%s: %s left of %s" % (options, report["pruned"][key], report["baseline"][key]))


def write(make, folder):
    onnx.save(make(), os.path.join(folder, "model.onnx"))
    with h5py.File(os.path.join(folder, "data.h5"), "w") as file:
        file["images"] = IMAGES
        file["images"].attrs["layout"] = "NCHW"


def check_grouped(folder):
    """Nothing tells of such units but the weights; the network is pruned all the same."""
    write(grouped, folder)
    kept, apart = prune(folder, "--keep", 0.5)
    for options, ranks in (([], 2), (["--method", "l1"], 1)):
        other = prune(folder, "--keep", 0.5, *options, ranks=ranks)[0]
        if len(kept) != 4 or other != kept or not apart < 2:
            raise Failure("keeps %s, and %s with %s; outputs differ by %.2g" % (kept, other, options, apart))


def check_default(folder, make):
    """Coupled groups take part only where inner ones do not reach the budget."""
    command = ["prune", "model.onnx", "--calib", "data.h5", "-o", "out.h5", "--report", "out.json", "--progress", "none", "--flops"]
    for options, scope in (([0.5], "inner" if make in (joined, residual) else "all"), ([0.1], "all")):
        run(folder, *command, *options)
        with open(os.path.join(folder, "out.json"), encoding="utf-8") as file:
            found = json.load(file)["options"]["scope"]
        if found != scope:
            raise Failure("--flops %s: scope %s, not %s" % (options[0], found, scope))
    if "cannot be reached" not in run(folder, *command, 0.1, "--scope", "inner", status=2).stderr:
        raise Failure("inner groups reach 0.1 of the multiply-adds")
    kept = []
    for options in ([0.1, "--save-plan", "saved.json"], ["--plan", "saved.json"]):
        words = command if options[0] == 0.1 else command[:-1]
        run(folder, *words, *options)
        with open(os.path.join(folder, "out.json"), encoding="utf-8") as file:
            kept.append([(cut["group"], cut["kept"]) for cut in json.load(file)["cuts"]])
    if kept[0] != kept[1]:
        raise Failure("a saved plan keeps %s, the run that saved it kept %s" % (kept[1], kept[0]))


def main():
    failed = 0
    for make in (grouped, normalised, depthwise, joined, written_and_read, residual):
        with tempfile.TemporaryDirectory() as folder:
            try:
                if make is grouped:
                    check_grouped(folder)
                    continue
                check(make, folder)
                if make is normalised:
                    continue
                check_default(folder, make)
                if make is residual:
                    check_budget(folder)
            except Failure as failure:
                print("%s: %s" % (make.__name__, failure))
                failed += 1
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
