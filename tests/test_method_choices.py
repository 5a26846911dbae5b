#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every method keeps the channels that its definition says, on one to three ranks.

One group of a network is pruned. What its definition says is worked out from the activations of the layer that reads it, which
onnxruntime computes, by tests/method_references.py. Networks are two small ones, the trained one in datasets/fashion and, where
TEST_DATA_DIR has it, ResNet-20 with CIFAR-10's images. Exit status 77 where numpy, h5py, onnx or onnxruntime are missing.
"""
import json
import os
import subprocess
import sys
import tempfile

from judged import HERE, PROGRAM, TensorProto, h5py, helper, np, numpy_helper, onnx, onnxruntime

import method_references as references

FASHION = os.path.join(HERE, os.pardir, "datasets", "fashion")
DATA = os.environ.get("TEST_DATA_DIR") or ""
RANDOM = np.random.RandomState(22)  # with which exchange, obs-frozen and reap-post do not choose as reap does, nor fpgm by squares of distances


class Failure(Exception):
    pass


# ------------------------------------------------------------------ networks

def norm(name, channels):
    """Constants of a batch norm."""
    return {name + ".gamma": RANDOM.uniform(-1, 2, channels), name + ".beta": RANDOM.normal(size=channels) * 0.5,
            name + ".mean": RANDOM.normal(size=channels) * 0.3, name + ".var": RANDOM.uniform(0.5, 2, channels)}


def model(nodes, constants, outputs):
    constants = [numpy_helper.from_array(np.asarray(c, np.float32), name) for name, c in constants.items()]
    graph = helper.make_graph(nodes, "network", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 6, 6])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", outputs])], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


DEAD, TWINS = {2, 5}, {4, 7}


def convolutions(degenerate=False):
    """Two convolutions with their norms, then a classifier. Degenerate: some channels of the first are always zero, two are the same."""
    mixed = RANDOM.normal(size=(12, 5)) @ RANDOM.normal(size=(5, 27)) * 0.2 + RANDOM.normal(size=(12, 27)) * 0.1  # alike in part
    constants = {"a.w": mixed.reshape(12, 3, 3, 3), "b.w": RANDOM.normal(size=(7, 12, 3, 3)) * 0.2,
                 "c.w": RANDOM.normal(size=(7, 5)), **norm("an", 12), **norm("bn", 7)}
    constants["bn.beta"] += np.where(np.arange(7) % 2, 4, -4)  # some outputs are hardly ever positive, others nearly always
    for c in DEAD if degenerate else ():
        constants["an.gamma"][c], constants["an.beta"][c] = 0, -1
    for name in ("a.w", "an.gamma", "an.beta", "an.mean", "an.var") if degenerate else ():
        constants[name][max(TWINS)] = constants[name][min(TWINS)]
    nodes = [helper.make_node("Conv", ["x", "a.w"], ["a"], name="a", pads=[1] * 4),
             helper.make_node("BatchNormalization", ["a", "an.gamma", "an.beta", "an.mean", "an.var"], ["an"]),
             helper.make_node("Relu", ["an"], ["ar"]),
             helper.make_node("Conv", ["ar", "b.w"], ["b"], name="b", pads=[1] * 4),
             helper.make_node("BatchNormalization", ["b", "bn.gamma", "bn.beta", "bn.mean", "bn.var"], ["bn"]),
             helper.make_node("Relu", ["bn"], ["br"]),
             helper.make_node("GlobalAveragePool", ["br"], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["flat"]),
             helper.make_node("Gemm", ["flat", "c.w"], ["y"], name="c")]
    return model(nodes, constants, 5)


def stream():
    """Two layers make its channels and two read them."""
    constants = {"a.w": RANDOM.normal(size=(12, 3, 3, 3)) * 0.4, "b.w": RANDOM.normal(size=(7, 12, 3, 3)) * 0.2,
                 "b2.w": RANDOM.normal(size=(12, 7, 3, 3)) * 0.2, "c.w": RANDOM.normal(size=(8, 12, 3, 3)) * 0.2, "c.b": RANDOM.normal(size=8),
                 "d.w": RANDOM.normal(size=(8, 5)), **norm("an", 12), **norm("bn", 7), **norm("b2n", 12)}
    nodes = []

    def convolve(x, name, normed):
        nodes.append(helper.make_node("Conv", [x, name + ".w"] + ([] if normed else [name + ".b"]), [name], name=name, pads=[1] * 4))
        if normed:
            words = [name + "n." + word for word in ("gamma", "beta", "mean", "var")]
            nodes.append(helper.make_node("BatchNormalization", [name] + words, [name + "n"]))
        return name + "n" if normed else name

    def positive(x):
        nodes.append(helper.make_node("Relu", [x], [x + "r"]))
        return x + "r"

    x = convolve("x", "a", True)
    y = convolve(positive(convolve(positive(x), "b", True)), "b2", True)
    nodes.append(helper.make_node("Add", [x, y], ["sum"]))
    last = positive(convolve(positive("sum"), "c", False))
    nodes.extend([helper.make_node("GlobalAveragePool", [last], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["flat"]),
                  helper.make_node("Gemm", ["flat", "d.w"], ["y"], name="d")])
    return model(nodes, constants, 5)


def flattened():
    """A matrix product behind a Flatten: a channel has as many columns as an image of it has places."""
    constants = {"a.w": RANDOM.normal(size=(10, 3, 3, 3)) * 0.4, "b.w": RANDOM.normal(size=(10 * 4, 6)) * 0.3,
                 "b.b": RANDOM.normal(size=6), **norm("an", 10)}
    nodes = [helper.make_node("Conv", ["x", "a.w"], ["a"], name="a", strides=[2, 2]),
             helper.make_node("BatchNormalization", ["a", "an.gamma", "an.beta", "an.mean", "an.var"], ["an"]),
             helper.make_node("Relu", ["an"], ["ar"]), helper.make_node("Flatten", ["ar"], ["flat"]),
             helper.make_node("Gemm", ["flat", "b.w", "b.b"], ["y"], name="b")]
    return model(nodes, constants, 6)


# ------------------------------------------------------------------ from a network to a problem

def constant(network, name):
    return numpy_helper.to_array(next(c for c in network.graph.initializer if c.name == name)).astype(np.float64)


def folded(network, node):
    """Weights [outputs, ...] and bias of a layer with the norm behind it folded in, and the norm's scales."""
    weights = constant(network, node.input[1])
    if node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute):
        weights = weights.T
    bias = constant(network, node.input[2]) if len(node.input) > 2 else np.zeros(len(weights))
    after = [n for n in network.graph.node if node.output[0] in n.input]
    if after and after[0].op_type == "BatchNormalization":
        gamma, beta, mean, var = (constant(network, name) for name in after[0].input[1:5])
        epsilon = next((a.f for a in after[0].attribute if a.name == "epsilon"), 1e-5)
        factor = gamma / np.sqrt(var + epsilon)
        return weights * factor.reshape([-1] + [1] * (weights.ndim - 1)), (bias - mean) * factor + beta, gamma
    return weights, bias, np.ones(len(weights))


def patches(x, node):
    """[samples, channels, places] of a 3x3 convolution of stride 1 with padding 1."""
    n, channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    shifts = [padded[:, :, dy:dy + height, dx:dx + width] for dy in range(3) for dx in range(3)]
    return np.stack(shifts, -1).transpose(0, 2, 3, 1, 4).reshape(-1, channels, 9)


def layer_inputs(network, value, images):
    """What onnxruntime computes for a value, for images that are not held out."""
    network = onnx.ModelProto.FromString(network.SerializeToString())
    network.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    used = images[np.arange(len(images)) % 10 != 9]
    return session.run([value], {session.get_inputs()[0].name: used})[0].astype(np.float64)


def reader_of(network, node, channels, images):
    weights, bias, _ = folded(network, node)
    inputs = layer_inputs(network, node.input[0], images)
    x = patches(inputs, node) if node.op_type == "Conv" else inputs.reshape(len(inputs), channels, -1)
    return references.reader(x, weights.reshape(len(weights), channels, -1).transpose(1, 2, 0), bias, rectified(network, node))


def rectified(network, node):
    """Whether a Relu follows, perhaps behind a norm."""
    after = [n for n in network.graph.node if node.output[0] in n.input]
    if after and after[0].op_type == "BatchNormalization":
        after = [n for n in network.graph.node if after[0].output[0] in n.input]
    return len(after) == 1 and after[0].op_type == "Relu"


def problem_of(network, producers, consumers, images):
    nodes = {n.name: n for n in network.graph.node}
    made = [folded(network, nodes[name]) for name in producers]
    filters = np.concatenate([weights.reshape(len(weights), -1) for weights, _, _ in made], 1)
    scales = sum(np.abs(scales) for _, _, scales in made)
    return references.problem([reader_of(network, nodes[name], len(filters), images) for name in consumers], filters, scales)


# ------------------------------------------------------------------ the program

def run(folder, *words, ranks=1):
    command = (["mpirun", "-n", str(ranks)] if ranks > 1 else []) + [PROGRAM, *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise Failure("%s: status %d: %s" % (" ".join(command), done.returncode, done.stderr[-600:]))
    return done


def settings(folder, case, keep=None):
    """The group alone loses channels, and nothing but its reader is re-solved."""
    groups = json.loads(run(folder, "inspect", case.model, "--json").stdout)["groups"]
    others = ",".join("%s=%d" % (g["name"], g["channels"]) for g in groups if g["prunable"] and g["name"] != case.group)
    return [case.model, "--scope", "all" if len(case.consumers) > 1 else "inner", "--calib", case.data, "--images", case.images, "--keep", keep or case.keep, "--repair", "off", "--ridge", "1e-6", "--progress", "none",
            "--log-level", "quiet"] + (["--min-keep", others] if others else [])


def sweep(folder, case, ranks):
    """Each method with the channels that it keeps of the group, at each share, by one sweep over all of them."""
    run(folder, "sweep", *settings(folder, case), "--method", ",".join(case.methods), "-o", "%d.h5" % ranks, ranks=ranks)
    return choices_in(folder, "%d.h5" % ranks, case)


def choices_in(folder, name, case):
    return sorted((r["options"]["method"], kept_of(r, case)) for r in reports_in(folder, name))


def reports_in(folder, name):
    with h5py.File(os.path.join(folder, name), "r") as file:
        return [json.loads(setting["report"][()]) for setting in file["settings"].values()]


def kept_of(report, case):
    return next(layer["kept"] for layer in report["layers"] + report.get("cuts", []) if layer["group"] == case.group)


class Case:
    """A group of a network: the nodes of its producers and consumers, and the share of its channels that stays."""

    def __init__(self, path, data, producers, consumers, group, keep, images):
        self.model, self.data, self.group, self.keep, self.images, self.consumers = path, data, group, keep, images, consumers
        self.methods = [m for m in references.CHOICES if m not in ("exchange", "reap-post") or len(consumers) == 1]
        with h5py.File(data, "r") as file:
            pixels, attributes = file["images"][:images], dict(file["images"].attrs)
        if pixels.dtype == np.uint8:
            shape = (1, -1, 1, 1)
            pixels = pixels * np.float32(attributes["scale"])
            pixels = (pixels - np.reshape(attributes["mean"], shape)) / np.reshape(attributes["std"], shape)
        self.network = onnx.load(path)
        self.problem = problem_of(self.network, producers, consumers, pixels.astype(np.float32))


def small(folder, make, keep):
    path, data = os.path.join(folder, "model.onnx"), os.path.join(folder, "data.h5")
    onnx.save(make(), path)
    with h5py.File(data, "w") as file:
        file["images"] = RANDOM.normal(size=(220, 3, 6, 6)).astype(np.float32)
        file["images"].attrs["layout"] = "NCHW"
    return Case(path, data, ["a", "b2"], ["b", "c"], "a", keep, 220) if make is stream else Case(path, data, ["a"], ["b"], "a", keep, 220)


def check_choices(folder, case, ranks):
    for n in ranks:
        choices = sweep(folder, case, n)
        if {method for method, _ in choices} != set(case.methods):
            raise Failure("a sweep lacks methods: %s" % choices)
        for method, kept in choices:
            wanted = references.CHOICES[method](case.problem, len(kept))
            if kept not in (wanted if method == "cp" else [wanted]):
                raise Failure("%s on %d rank(s) keeps %s, its definition %s" % (method, n, kept, wanted))


def check_passes(folder, case):
    """Statistics are gathered once for all methods: by the time of the sweep there are no calibration images to pass over. Channels are
    those that the methods choose on images, where all inputs are the original network's."""
    images, labels = os.path.join(folder, "eval.h5"), RANDOM.randint(5, size=case.images)
    with h5py.File(case.data, "r") as file, h5py.File(images, "w") as copy:
        file.copy("images", copy)
        copy["labels"] = labels.astype(np.int64)
    run(folder, "stats", case.model, "--calib", case.data, "-o", "stats.h5", "--progress", "none", "--log-level", "quiet")
    os.rename(case.data, case.data + ".away")
    words = settings(folder, case)
    words[words.index("--calib"):words.index("--keep")] = ["--from-stats", "stats.h5", "--eval", images]
    run(folder, "sweep", *words, "--method", ",".join(case.methods), "-o", "frozen.h5")
    os.rename(case.data + ".away", case.data)
    reports = reports_in(folder, "frozen.h5")
    found, wanted = (choices_in(folder, name, case) for name in ("frozen.h5", "1.h5"))
    if found != wanted or any(
            r["seconds"]["forward"] or r["seconds"]["moments"] or r["pruned"]["images"] != case.images for r in reports):
        raise Failure("a sweep on statistics keeps %s, one on images %s" % (found, wanted))


def check_lasso(case, counts):
    """Another program's LASSO leaves a set that the definition allows, at a penalty found by bisection."""
    try:
        from sklearn.linear_model import Lasso
    except ImportError:
        print("SKIPPED: no scikit-learn to compare the LASSO with")
        return
    z = references.contributions(case.problem)
    y = np.concatenate([(r.y - r.bias).ravel() / np.sqrt(r.energy) for r in case.problem.readers])
    highest, compared = np.abs(z.T @ y).max() / len(z), 0
    for count in counts:
        low, high, kept = 0.0, highest, []
        for _ in range(60):
            middle = (low + high) / 2
            fit = Lasso(alpha=middle, fit_intercept=False, precompute=True, tol=1e-12, max_iter=1000000).fit(z, y)
            kept = np.flatnonzero(fit.coef_).tolist()
            if len(kept) == count:
                break
            low, high = (middle, high) if len(kept) > count else (low, middle)
        if len(kept) != count:
            continue  # no penalty that was tried leaves just so many
        compared += 1
        if kept not in references.cp(case.problem, count):
            raise Failure("scikit-learn's LASSO keeps %s, the definition %s" % (kept, references.cp(case.problem, count)))
    if not compared:
        raise Failure("scikit-learn's LASSO left none of the numbers %s of channels" % (counts,))


def check_degenerate(folder):
    """Channels that are always zero go first, by all that look at activations; of two that are the same, one goes next where the method
    knows what channels explain of one another."""
    case = small(tempfile.mkdtemp(dir=folder), lambda: convolutions(True), 0.75)
    for method, kept in sweep(os.path.dirname(case.model), case, 1):
        if len(kept) != 9 or method in ("reap", "reap-post", "cp", "thinet", "id", "obd", "obs-frozen", "exchange") and DEAD & set(kept):
            raise Failure("%s keeps %s; always zero are %s" % (method, kept, DEAD))
        if method in ("reap", "reap-post", "exchange", "id") and TWINS <= set(kept):
            raise Failure("%s keeps %s; the same are %s" % (method, kept, TWINS))


def check_weights(folder, case):
    """Weights that methods give themselves, in the network that is written; those of others are refused."""
    for method, reference in (("thinet", references.scaled_weights), ("id", references.interpolated_weights)):
        run(folder, "prune", *settings(folder, case, 0.4), "--method", method, "--refit", "method", "-o", "out.onnx", "--report", "out.json")
        with open(os.path.join(folder, "out.json"), encoding="utf-8") as file:
            kept = kept_of(json.load(file), case)
        network = onnx.load(os.path.join(folder, "out.onnx"))
        found, bias, _ = folded(network, next(n for n in network.graph.node if n.name == case.consumers[0]))
        found = found.reshape(len(found), len(kept), -1).transpose(1, 2, 0)
        wanted = reference(case.problem, kept)
        apart = np.abs(found - wanted).max() / np.abs(wanted).max()
        if apart > 1e-4 or np.abs(bias - case.problem.readers[0].bias).max() > 1e-5:
            raise Failure("weights of %s differ from its definition's by %.2g" % (method, apart))
    try:
        run(folder, "prune", *settings(folder, case, 0.4), "--method", "l1", "--refit", "method", "-o", "out.onnx")
    except Failure as refusal:
        if "method l1 has no weights of its own" in str(refusal):
            return
    raise Failure("l1 gives weights of its own")


def main():
    failed = 0
    for name, ranks in (("convolutions", (1, 2, 3)), ("flattened", (1, 3)), ("stream", (1, 2)), ("fashion", (1,)), ("resnet-20", (1, 2, 3))):
        with tempfile.TemporaryDirectory() as folder:
            try:
                if name == "convolutions":
                    case = small(folder, convolutions, "0.25,0.42,0.67")
                elif name == "flattened":
                    case = small(folder, flattened, 0.6)
                elif name == "stream":
                    case = small(folder, stream, 0.5)
                elif name == "fashion":
                    case = Case(os.path.join(FASHION, "resnet-fashion.onnx"), os.path.join(FASHION, "fashion-calib.h5"),
                                ["/stage2/stage2.1/conv1/Conv"], ["/stage2/stage2.1/conv2/Conv"], "stage2.stage2.1.conv1.Conv", 0.3, 40)
                elif os.path.exists(os.path.join(DATA, "resnet20-cifar10-bn.onnx")):
                    case = Case(os.path.join(DATA, "resnet20-cifar10-bn.onnx"), os.path.join(DATA, "cifar10-calib.h5"),
                                ["/layer2/layer2.1/conv1/Conv"], ["/layer2/layer2.1/conv2/Conv"], "layer2.layer2.1.conv1.Conv", 0.45, 60)
                else:
                    print("SKIPPED: %s has no resnet20-cifar10-bn.onnx" % (DATA or "TEST_DATA_DIR"))
                    continue
                check_choices(folder, case, ranks)
                if name == "convolutions":
                    check_passes(folder, case)
                    check_lasso(case, (3, 5, 8))
                if name not in ("fashion", "stream"):
                    check_weights(folder, case)
                if name == "flattened":
                    check_degenerate(folder)
            except Failure as failure:
                print("%s: %s" % (name, failure))
                failed += 1
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
