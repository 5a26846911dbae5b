#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Networks whose nodes share tensors, or that drag left-overs along, pruned and exported; onnxruntime judges.

Of each network: what is pruned by a rule, without re-solving anything, computes what the original does with the removed channels'
weights set to zero; pruned with everything on, the two written files compute the same; what is only exported computes the same
as the original; what has to be gone is gone. Exit status 77 where numpy, h5py, onnx or onnxruntime are missing.
"""
import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys
import tempfile

from judged import PROGRAM, TensorProto, h5py, helper, np, numpy_helper, onnx, onnxruntime
from same_network import same

RULE = ["--method", "l1", "--refit", "none", "--repair", "off", "--producers", "0", "--classifier", "keep"]
RANDOM = np.random.RandomState(5)
IMAGES = RANDOM.normal(size=(64, 3, 4, 4)).astype(np.float32)


class Network:
    """Nodes and initialisers put together one after the other."""

    def __init__(self):
        self.nodes, self.constants, self.gone = [], [], []

    def constant(self, name, array):
        kind = np.int64 if np.asarray(array).dtype.kind == "i" else np.float32
        self.constants.append(numpy_helper.from_array(np.asarray(array, kind), name))
        return name

    def weights(self, name, *shape):
        return self.constant(name, RANDOM.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5)

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs.split(), output.split(), name="node " + output.split()[0], **attributes))
        return output.split()[0]

    def conv(self, name, x, inputs, outputs, relu=True, size=3):
        self.weights(name + ".w", outputs, inputs, size, size)
        self.constant(name + ".b", RANDOM.normal(size=outputs) * 0.3)
        self.node("Conv", "%s %s.w %s.b" % (x, name, name), name, pads=[size // 2] * 4)
        return self.node("Relu", name, name + ".r") if relu else name

    def head(self, x, inputs):
        self.node("GlobalAveragePool", x, "pooled")
        self.node("Flatten", "pooled", "flat")
        self.weights("fc.w", inputs, 5)
        return self.node("Gemm", "flat fc.w", "y")

    def model(self, outputs=("y",), inputs=(), ir=8, functions=(), opset=13):
        listed = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])] + list(inputs)
        if ir < 4:
            listed += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.constants]
        graph = helper.make_graph(self.nodes, "network", listed,
                                  [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs], self.constants)
        domains = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("local", 1)] if functions else [])
        return helper.make_model(graph, opset_imports=domains, ir_version=ir, functions=list(functions))


def trunk(net):
    return net.conv("b", net.conv("a", "x", 3, 8), 8, 6)


def shared_everywhere(ir=8):
    """One vector is bias, scale, shift and mean, in one group and in others, folded and not, straight and through nodes."""
    net = Network()
    net.constant("p", [0.5, -0.75, 1, 1.25, -0.25, 0.6])
    net.constant("q", [1, 2, 0.5, 0.25, 3, 1])
    net.node("Identity", "p", "p2")
    net.weights("w", 6, 6, 1, 1)
    x = net.conv("a", "x", 3, 6)
    x = net.node("BatchNormalization", x + " p p p q", "n1")
    x = net.node("Relu", x, "r1")
    x = net.node("BatchNormalization", x + " p p p q", "n2")
    x = net.node("Relu", net.node("Conv", x + " w p", "c1"), "r2")
    x = net.node("BatchNormalization", x + " p2 p p2 q", "n3")
    x = net.node("Relu", net.node("Conv", x + " w p2", "c2"), "r3")
    x = net.node("BatchNormalization", net.node("Conv", x + " w", "c3") + " p p p q", "folded")
    net.head(net.node("Relu", x, "r4"), 6)
    return net.model(ir=ir), net


def shared_shapes():
    """Two Reshapes to a number of columns take it from one tensor; a third tensor is an output of the network as well."""
    net = Network()
    net.constant("columns", [-1, 128])
    net.weights("v", 128, 5)
    for name in "ab":
        flat = net.node("Reshape", net.conv(name, "x", 3, 8) + " columns", name + ".flat")
        net.node("MatMul", flat + " v", name + ".y")
    net.node("Add", "a.y b.y", "y")
    return net.model(outputs=("y", "v")), net


def left_over_choice():
    """An If that nothing needs, whose branches read the network's tensors; its own weights go, shared ones stay."""
    net = Network()
    x = trunk(net)
    net.weights("only", 1, 6, 1, 1)
    net.constant("limit", [0.0])
    branch = helper.make_graph([helper.make_node("Mul", [x, "only"], ["m"]), helper.make_node("Add", ["m", "a.b.sum"], ["z"])],
                               "branch", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])
    net.node("ReduceSum", "a.b", "a.b.sum", keepdims=0)
    net.node("ReduceMax", x, "top", keepdims=0)
    net.node("Greater", "top limit", "above")
    net.node("If", "above", "chosen", then_branch=branch, else_branch=branch)
    net.gone = ["only", "limit", "node chosen", "node top", "node a.b.sum"]
    net.head(x, 6)
    return net.model(), net


def left_over_function():
    """A loss by a function of the model's own, with labels as a second input."""
    net = Network()
    x = trunk(net)
    net.weights("centre", 1, 6, 1, 1)
    net.head(x, 6)
    loss = helper.make_function("local", "Loss", ["a", "b", "c"], ["l"], [helper.make_node("Sub", ["a", "b"], ["d"]),
                                helper.make_node("Mul", ["d", "c"], ["l"])], [helper.make_opsetid("", 13)])
    net.nodes.append(helper.make_node("Loss", [x, "centre", "labels"], ["loss"], name="node loss", domain="local"))
    net.gone = ["centre", "node loss"]
    labels = helper.make_tensor_value_info("labels", TensorProto.FLOAT, [1])
    return net.model(inputs=[labels], functions=[loss]), net


def left_over_outputs(ir=8):
    """Indices and masks that only left-overs read; of the nodes that make them the first outputs are used."""
    net = Network()
    x = net.node("MaxPool", net.conv("a", "x", 3, 8), "p indices", kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Dropout", net.conv("b", x, 8, 6), "d mask")
    net.node("Cast", "indices", "i", to=TensorProto.FLOAT)
    net.node("Not", "mask", "dropped")
    net.constant("flat.shape", [-1, 32])
    net.node("Reshape", "p flat.shape", "f")
    net.gone = ["flat.shape", "node i", "node dropped", "node f"]
    net.head(x, 6)
    return net.model(ir=ir), net


def flattened_to_channels(op):
    """The columns of a flattened map become channels of a convolution."""
    net = Network()
    x = net.conv("b", net.conv("a", "x", 3, 8), 8, 4)
    net.node("Flatten", x, "columns")
    net.constant("axes", [2, 3])
    net.constant("shape", [-1, 64, 1, 1])
    x = net.node(op, "columns " + ("axes" if op == "Unsqueeze" else "shape"), "image")
    net.head(net.conv("c", x, 64, 6, size=1), 6)
    return net.model(), net


def summed():
    """Residual streams by Sums of one, two, three tensors and a number."""
    net = Network()
    net.constant("half", 0.5)
    a = net.conv("a", "x", 3, 8)
    b = net.conv("c", net.conv("b", a, 8, 6), 6, 8, relu=False)
    x = net.node("Sum", "%s %s half %s" % (a, b, a), "s1")
    x = net.node("Sum", net.node("Sum", x, "s2") + " " + net.conv("e", net.conv("d", x, 8, 5), 5, 8, relu=False), "s3")
    net.head(net.node("Relu", x, "r"), 8)
    return net.model(opset=11), net


def constant_layer(bias):
    """A layer without weights: its outputs are constant, or zero."""
    net = Network()
    x = net.conv("c", net.conv("b", net.conv("a", "x", 3, 8), 8, 8), 8, 6, size=1)
    net.head(x, 6)
    for i, t in enumerate(net.constants):
        if t.name == "b.w" or (t.name == "b.b" and not bias):
            net.constants[i] = numpy_helper.from_array(np.zeros(t.dims, np.float32), t.name)
    return net.model(), net


CASES = {"shared everywhere": shared_everywhere, "shared everywhere, IR 3": lambda: shared_everywhere(3),
         "shared shapes": shared_shapes, "left-over choice": left_over_choice, "left-over function": left_over_function,
         "left-over outputs": left_over_outputs, "left-over outputs, IR 3": lambda: left_over_outputs(3),
         "flattened, Unsqueeze": lambda: flattened_to_channels("Unsqueeze"),
         "flattened, Reshape": lambda: flattened_to_channels("Reshape"), "summed": summed,
         "constant layer": lambda: constant_layer(True), "zero layer": lambda: constant_layer(False)}


NETWORKS = {}  # those of CASES that are wanted, made


def reap(*words):
    # Two networks at a time: processes without a daemon of Open MPI's must not share a session folder.
    environment = dict(os.environ, OMP_NUM_THREADS="1", OMPI_MCA_orte_tmpdir_base=os.path.dirname(words[1]))
    done = subprocess.run([PROGRAM, *words], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, "reap %s: status %d: %s" % (" ".join(words), done.returncode, done.stderr[-300:])


def runtime(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model if isinstance(model, str) else model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    given = {i.name: IMAGES if i.name == "x" else np.zeros(1, np.float32) for i in session.get_inputs()}
    return session.run(None, given)[0]


def evaluate(path, folder):
    out = os.path.join(folder, "out.h5")
    reap("eval", path, "--data", os.path.join(folder, "data.h5"), "--outputs", out, "--log-level", "warning", "--progress", "none")
    with h5py.File(out) as file:
        return file["outputs"][...]


def prune(folder, *options):
    """Prunes to o.h5 and o.onnx; the layers of the report."""
    return report(folder, *options)["layers"]


def report(folder, *options):
    words = ["prune", "m.onnx", "--calib", "data.h5", "-o", "o.h5", "--onnx", "o.onnx", "--report", "o.json"]
    reap(*[os.path.join(folder, w) if "." in w else w for w in words], "--progress", "none", "--log-level", "quiet", *options)
    with open(os.path.join(folder, "o.json")) as file:
        return json.load(file)


def masked(model, layers):
    """The original with the removed channels' weights set to zero."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    constants = {t.name: numpy_helper.to_array(t) for t in copy.graph.initializer}
    for layer in layers:
        node = [n for n in copy.graph.node if n.name == layer["name"]][0]
        w = constants[node.input[1]].copy()
        rows = w.reshape(w.shape[0], layer["channels"], -1) if w.ndim == 4 else w.reshape(layer["channels"], -1, w.shape[1])
        rows[(slice(None), layer["removed"]) if w.ndim == 4 else layer["removed"]] = 0
        node.input[1] = "masked " + node.name
        copy.graph.initializer.append(numpy_helper.from_array(rows.reshape(w.shape), node.input[1]))
    copy.ir_version = max(copy.ir_version, 4)
    return copy


def close(found, wanted, what):
    largest, apart = np.abs(wanted).max(), np.abs(found.reshape(wanted.shape) - wanted).max()
    assert apart <= 2e-4 * max(largest, 1e-3), "%s: %.3g apart of %.3g" % (what, apart, largest)


def check_gone(path, gone):
    graph = onnx.load(path).graph
    left = {n.name for n in graph.node} | {t.name for t in graph.initializer} | {i.name for i in graph.input}
    assert not left & set(gone), "%s are still there" % (left & set(gone))


def shapes(model):
    """Of tensors between nodes, as the model tells them: numbers, or names of free sizes."""
    return {v.name: [d.dim_value if d.HasField("dim_value") else d.dim_param for d in v.type.tensor_type.shape.dim]
            for v in model.graph.value_info}


def check_shapes(path, before):
    """All that were told still are, of tensors that are left, with the sizes that the onnx package infers."""
    model = onnx.load(path)
    told, left = shapes(model), {n.output[0] for n in model.graph.node}  # of masks and indices reap knows nothing
    missing = set(shapes(before)) & left - set(told)
    assert told and not missing, "the shapes of %s are not told" % missing
    del model.graph.value_info[:]
    wanted = shapes(onnx.shape_inference.infer_shapes(model))
    wrong = {name for name in set(told) & set(wanted) if any(isinstance(a, int) and isinstance(b, int) and a != b
                                                            for a, b in zip(told[name], wanted[name]))}
    assert set(told) & set(wanted) and not wrong, "the shapes of %s are wrong" % wrong
    assert model.producer_name == "reap"


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def check_notes(folder, options, groups):
    """The file tells its making, by nothing that changes from run to run: its plan alone makes it again."""
    path, again = (os.path.join(folder, name) for name in ("o.onnx", "again.onnx"))
    notes = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert notes["reap.command"] == " ".join(["reap prune"] + options), notes["reap.command"]
    assert json.loads(notes["reap.plan"]) == {"groups": {name: g["kept"] for name, g in groups.items()}}
    for key, name in (("model", "m.onnx"), ("calibration", "data.h5")):
        assert notes["reap.%s_sha256" % key] == sha256(os.path.join(folder, name)), key
    reap("export", os.path.join(folder, "o.h5"), again)
    assert sha256(again) == sha256(path), "o.h5 and o.onnx differ"
    with open(os.path.join(folder, "plan.json"), "w") as file:
        file.write(notes["reap.plan"])
    report(folder, "--plan", os.path.join(folder, "plan.json"), *RULE)
    assert same(again, path), "the plan makes another network"


def check(model, net, folder):
    model = onnx.shape_inference.infer_shapes(model)
    path, exported, pruned = (os.path.join(folder, name) for name in ("m.onnx", "exported.onnx", "o.onnx"))
    with open(path, "wb") as file:
        file.write(model.SerializeToString())
    with h5py.File(os.path.join(folder, "data.h5"), "w") as file:
        file.create_dataset("images", data=IMAGES).attrs["layout"] = "NCHW"
    close(evaluate(path, folder), runtime(path), "eval")
    reap("export", path, exported)
    close(runtime(exported), runtime(path), "export")
    check_gone(exported, net.gone)
    pruning = report(folder, "--keep", "0.5", *RULE)
    layers = pruning["layers"]
    assert sum(len(layer["removed"]) for layer in layers) > 0, "nothing was removed"
    check_shapes(pruned, model)
    check_notes(folder, ["--keep 0.5 --method l1 --refit none --repair off --producers 0 --classifier keep"], pruning["groups"])
    close(runtime(pruned), runtime(masked(model, layers)), "masked")
    for options, end in ((["--keep", "0.5"], "onnx"), (["--flops", "0.7"], "h5")):
        prune(folder, *options)
        check_gone(pruned, net.gone)
        close(evaluate(os.path.join(folder, "o." + end), folder), runtime(pruned), "written ." + end)


def fails(name):
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(*NETWORKS[name], folder)
            return False
        except Exception as error:
            print("FAILED %s: %s: %s" % (name, type(error).__name__, str(error)[-600:]))
            return True


def main():
    names = [name for name in CASES if len(sys.argv) < 2 or name in sys.argv[1:]]
    NETWORKS.update((name, CASES[name]()) for name in names)  # in order: they share the random numbers
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        failures = sum(pool.map(fails, names))
    print("%d networks, %d failures" % (len(names), failures))
    return failures > 0 or not names


if __name__ == "__main__":
    sys.exit(main())
