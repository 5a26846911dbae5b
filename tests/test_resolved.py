#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Layers behind a cut that are more than rows times one matrix, re-solved: against NumPy.

onnxruntime gives what such a layer reads in the pruned network and what it writes in the original; NumPy solves for its weights. What
the report says of its errors is measured there, too. Files are the same on 1, 2 and 3 ranks. Exit status 77 where numpy, h5py, onnx or
onnxruntime are missing.
"""
import json
import os
import subprocess
import sys
import tempfile

from judged import PROGRAM, TensorProto, h5py, helper, np, numpy_helper, onnx, onnxruntime

RANDOM = np.random.RandomState(11)
IMAGES = RANDOM.normal(size=(250, 3, 7, 7)).astype(np.float32)
HELD_OUT = np.arange(len(IMAGES)) % 10 == 9
RIDGE = 1e-6


class Failure(Exception):
    pass


def conv(name, x, inputs, outputs, size, group=1, stride=1):
    w = RANDOM.normal(size=(outputs, inputs // group, size, size)) * (2 * group / (inputs * size * size)) ** 0.5
    constants = [numpy_helper.from_array(w.astype(np.float32), name + ".w"),
                 numpy_helper.from_array(RANDOM.uniform(0, 0.6, outputs).astype(np.float32), name + ".b")]
    return [helper.make_node("Conv", [x, name + ".w", name + ".b"], [name], name, group=group, pads=[size // 2] * 4,
                             strides=[stride, stride])], constants


def relu(x):
    return [helper.make_node("Relu", [x], [x + ".r"])], []


def add(name, *x):
    return [helper.make_node("Add", x, [name])], []


def model(*parts):
    nodes, constants = [n for p in parts for n in p[0]], [c for p in parts for c in p[1]]
    last = nodes[-1].output[0]
    nodes += [helper.make_node("GlobalAveragePool", [last], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["y"])]
    graph = helper.make_graph(nodes, "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 7, 7])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", None])], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def separable():
    """The inputs of layer b are cut; behind it a layer for each channel, one in wide groups, with strides."""
    return model(conv("a", "x", 3, 12, 3), relu("a"), conv("b", "a.r", 12, 8, 1), relu("b"), conv("each", "b.r", 8, 8, 3, group=8),
                 relu("each"), conv("wide", "each.r", 8, 12, 3, group=2, stride=2), relu("wide"), conv("last", "wide.r", 12, 5, 1))


def stream():
    """Two layers make a stream, two read it; a Relu and a sum lie between."""
    return model(conv("a", "x", 3, 8, 3), relu("a"), conv("q", "x", 3, 10, 3), conv("p", "a.r", 8, 10, 3), add("s", "p", "q"), relu("s"),
                 conv("r", "s.r", 10, 6, 3), conv("t", "s.r", 10, 6, 1), add("sum", "r", "t"), relu("sum"), conv("last", "sum.r", 6, 5, 1))


def values(path, names):
    network = onnx.load(path)
    network.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    return [v.astype(np.float64) for v in session.run(names, {"x": IMAGES})]


def constants(path):
    return {c.name: numpy_helper.to_array(c) for c in onnx.load(path).graph.initializer}


def run(folder, *words, ranks=1):
    command = (["mpirun", "-n", str(ranks)] if ranks > 1 else []) + [PROGRAM, *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise Failure("%s: status %d: %s" % (" ".join(command), done.returncode, done.stderr[-600:]))


def prune(folder, *options, producers=0, ranks=1):
    run(folder, "prune", "model.onnx", "--calib", "data.h5", "-o", "out.h5", "--onnx", "out.onnx", "--report", "out.json", "--progress",
        "none", "--log-level", "warning", "--producers", producers, "--classifier", "keep", *options, ranks=ranks)
    with open(os.path.join(folder, "out.json"), encoding="utf-8") as file:
        return {layer["name"]: layer for layer in json.load(file)["repaired"]}


def patches(x, size, stride):
    """[images, channels, size * size, positions] of padded windows."""
    x = np.pad(x, ((0, 0), (0, 0), (size // 2,) * 2, (size // 2,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    return windows.transpose(0, 1, 4, 5, 2, 3).reshape(*x.shape[:2], size * size, -1)


def solve(x, y):
    """Least squares with a bias and the ridge that the program documents: rows x, y to weights and bias."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    ridge = np.diag((RIDGE * (x * x).sum(0)) ** 0.5)
    w = np.linalg.lstsq(np.vstack([x, ridge]), np.vstack([y, np.zeros((x.shape[1], y.shape[1]))]), rcond=None)[0]
    return w, mean_y - mean_x @ w


def near(what, found, wanted, share=1e-4):
    apart = np.abs(np.asarray(found) - wanted).max()
    if not apart <= share * np.abs(wanted).max():
        raise Failure("%s: %.3g apart of %.3g" % (what, apart, np.abs(wanted).max()))


def relative(y, target):
    """Of all channels, each with its own mean."""
    return ((y - target) ** 2).sum() / ((target - target.mean((0, 2, 3), keepdims=True)) ** 2).sum()


def check_errors(name, record, now, before, target):
    for key, y, images in (("relative_error", now, ~HELD_OUT), ("held_out_error", now, HELD_OUT),
                           ("relative_error_before", before, ~HELD_OUT), ("held_out_error_before", before, HELD_OUT)):
        near("%s: %s" % (name, key), record[key], relative(y[images], target[images]), 1e-3)
    if not record["changed"] or not record["held_out_error"] < record["held_out_error_before"]:
        raise Failure("%s: was not made better: %s" % (name, record))


def old_weights(folder, name):
    """The pruned network with the layer as it was trained."""
    network, old = onnx.load(os.path.join(folder, "out.onnx")), constants(os.path.join(folder, "model.onnx"))
    for c in network.graph.initializer:
        if c.name.startswith(name + "."):
            c.CopyFrom(numpy_helper.from_array(old[c.name], c.name))
    onnx.save(network, os.path.join(folder, "old.onnx"))
    return values(os.path.join(folder, "old.onnx"), [name])[0]


def check_groups(folder, name, reads, groups, size, stride, record):
    x, now = values(os.path.join(folder, "out.onnx"), [reads, name])
    target, = values(os.path.join(folder, "model.onnx"), [name])
    found = constants(os.path.join(folder, "out.onnx"))
    rows = patches(x, size, stride)[~HELD_OUT]
    inputs, outputs = x.shape[1] // groups, now.shape[1] // groups
    for g in range(groups):
        mine = rows[:, g * inputs:(g + 1) * inputs].reshape(len(rows), inputs * size * size, -1)
        w, b = solve(mine.transpose(0, 2, 1).reshape(-1, inputs * size * size),
                     target[~HELD_OUT, g * outputs:(g + 1) * outputs].transpose(0, 2, 3, 1).reshape(-1, outputs))
        near("%s: weights of group %d" % (name, g), found[name + ".w"][g * outputs:(g + 1) * outputs].reshape(outputs, -1), w.T)
        near("%s: bias of group %d" % (name, g), found[name + ".b"][g * outputs:(g + 1) * outputs], b, 1e-3)
    if record["channels"] != x.shape[1] or record["samples"] != rows.shape[0] * rows.shape[3]:
        raise Failure("%s: %s channels, %s rows" % (name, record["channels"], record["samples"]))
    check_errors(name, record, now, old_weights(folder, name), target)


def check_separable(folder):
    records = prune(folder, "--keep", 0.5)
    if sorted(records) != ["each", "last", "wide"]:
        raise Failure("re-solves %s" % sorted(records))
    check_groups(folder, "each", "b.r", 8, 3, 1, records["each"])
    check_groups(folder, "wide", "each.r", 2, 3, 2, records["wide"])
    check_ranks(folder, "--keep", 0.5)
    for name, record in prune(folder, "--keep", 0.5, "--images", 20, "--positions", 4).items(): # fewer rows than columns of wide
        if not record["held_out_error"] <= record["held_out_error_before"]:
            raise Failure("%s: worse on images held out: %s" % (name, record))
    if "each" in prune(folder, "--keep", 0.5, "--repair", "off"):
        raise Failure("re-solves what it is not to")


def check_stream(folder):
    """The layer that writes into a cut stream is solved for one that reads it, and the stream stays near the original for the other."""
    with open(os.path.join(folder, "plan.json"), "w", encoding="utf-8") as file:
        json.dump({"groups": {"q": 5}}, file)
    options = ["--scope", "all", "--plan", "plan.json"]
    both = []
    for producers in (0, 4):
        record = prune(folder, *options, producers=producers)["r"]
        with open(os.path.join(folder, "out.json"), encoding="utf-8") as file:
            kept = json.load(file)["cuts"][0]["kept"]
        wanted, read = values(os.path.join(folder, "model.onnx"), ["r", "s.r"])
        found, now = values(os.path.join(folder, "out.onnx"), ["r", "s.r"])
        read = read[:, kept]
        for key, images in (("relative_error", ~HELD_OUT), ("held_out_error", HELD_OUT)):
            near("r: %s, %d rounds" % (key, producers), record[key], relative(found[images], wanted[images]), 1e-3)
        both.append(relative(found[HELD_OUT], wanted[HELD_OUT]) + ((now - read)[HELD_OUT] ** 2).sum() / (read[HELD_OUT] ** 2).sum())
    made = record["producer"]
    if made["name"] != "p" or not made["changed"] or made["rounds"] < 1:
        raise Failure("r is solved in turn with %s" % made)
    if not both[1] < 0.98 * both[0]:
        raise Failure("errors of layer and stream are %.4g, with the producer %.4g" % tuple(both))
    check_ranks(folder, *options, producers=4)


def check_ranks(folder, *options, **how):
    wanted = constants(os.path.join(folder, "out.onnx"))
    for ranks in (2, 3):
        prune(folder, *options, ranks=ranks, **how)
        found = constants(os.path.join(folder, "out.onnx"))
        if found.keys() != wanted.keys() or any(found[k].tobytes() != wanted[k].tobytes() for k in found):
            raise Failure("%d ranks write other weights than one" % ranks)


def main():
    failed = 0
    for make, check in ((separable, check_separable), (stream, check_stream)):
        with tempfile.TemporaryDirectory() as folder:
            onnx.save(make(), os.path.join(folder, "model.onnx"))
            with h5py.File(os.path.join(folder, "data.h5"), "w") as file:
                file["images"] = IMAGES
                file["images"].attrs["layout"] = "NCHW"
            try:
                check(folder)
            except Failure as failure:
                print("%s: %s" % (make.__name__, failure))
                failed += 1
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
