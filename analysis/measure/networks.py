#!/usr/bin/env python3
"""What reap makes of a list of ONNX networks: a line of a table for each.

For every file: is it read, does `reap eval` give onnxruntime's outputs, how much of the multiply-adds does
`reap prune` leave, is the written file sound, and does it compute what it should:

- onnx.checker, with full checks, accepts the written file;
- onnxruntime gives for it what `reap eval` gives for it and for the .h5;
- where nothing was re-solved, it equals the original with the weights set to zero that read what was cut. That holds
  in networks without normalisation over channels; the column says "norm" for others that differ.

Inputs are drawn at random, so networks may have random weights. Differences are relative to the largest output, over
all outputs. The table is Markdown; --json has all figures and messages.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

CHANNEL_NORMS = {"LayerNormalization", "RMSNormalization", "GroupNormalization", "LRN", "LpNormalization", "ReduceL2"}
COLUMNS = ["network", "prunable", "with coupled", "of", "left", "eval", "checker", "written", "masked"]


def run(program, *words):
    """Status, standard output and the last line of standard error."""
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return done.returncode, done.stdout, lines[-1] if lines else ""


def session(path):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def outputs_of(path, x):
    """All outputs in onnxruntime, image by image where the file fixes the batch."""
    import numpy
    runtime = session(path)
    given = runtime.get_inputs()[0]
    step = given.shape[0] if isinstance(given.shape[0], int) else len(x)
    parts = [runtime.run(None, {given.name: x[i:i + step]}) for i in range(0, len(x), step)]
    return [numpy.concatenate(part) for part in zip(*parts)]


def stored_outputs(path):
    import h5py
    with h5py.File(path, "r") as f:
        names = ["outputs"] + [f"outputs_{k}" for k in range(1, len(f))]
        return [f[name][()] for name in names if name in f]


def difference(found, wanted):
    """The largest over all outputs; a shape that differs counts as infinite."""
    import numpy
    if len(found) != len(wanted) or any(a.shape != b.shape for a, b in zip(found, wanted)):
        return float("inf")
    apart = [float(numpy.abs(a.astype(float) - b).max()) / max(float(numpy.abs(b).max()), 1e-30)
             for a, b in zip(found, wanted)]
    return max(apart) if all(a == a for a in apart) else float("inf")


def draw_inputs(path, model, count, folder):
    """Random inputs and a data set of them, or None where the file leaves sizes open."""
    import h5py
    import numpy
    constants = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim][1:]
    if len(inputs) != 1 or not all(dims):
        return None, None
    x = numpy.random.default_rng(0).standard_normal((count, *dims)).astype(numpy.float32)
    data = os.path.join(folder, "data.h5")
    with h5py.File(data, "w") as f:
        f["images"] = x
        f["images"].attrs["layout"] = "NCHW"
    return x, data


def layer_nodes(model, layers):
    """Nodes by the names that reap gives layers: the node's own, or <operator>_<index in the file>."""
    found = {}
    for k, node in enumerate(model.graph.node):
        name = node.name.removeprefix("/").replace("/", ".") or f"{node.op_type}_{k}"
        found.setdefault(name, node)
    return {name: found[name] for name in layers if name in found}


def constants_at(model, names, x):
    """What onnxruntime computes for values that depend on no input, such as weights that the file standardises."""
    import onnx
    from onnx import helper
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    runtime = session(copy.SerializeToString())
    return dict(zip(names, runtime.run(None, {runtime.get_inputs()[0].name: x})))


def masked(model, cuts, x, path):
    """Writes the original with the weights for channels that were cut set to zero; returns the layer that could not be."""
    import onnx
    from onnx import helper, numpy_helper
    members = [m for cut in cuts for m in cut["members"] if m["role"] == "consumes"]
    nodes = layer_nodes(model, {m["layer"] for m in members})
    lost = next((m["layer"] for m in members if m["layer"] not in nodes), None)
    if lost:
        return lost
    known = constants_at(model, list({node.input[1] for node in nodes.values()}), x)
    masks = {name: known[node.input[1]].copy() for name, node in nodes.items()}
    for member in members:
        node, w = nodes[member["layer"]], masks[member["layer"]]
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if given.get("group", 1) > 1:
            continue  # others read what it makes of them
        axis = 1 if node.op_type == "Conv" or given.get("transB") else 0
        if w.shape[axis] != member["entries"]:
            return member["layer"]
        w[(slice(None), member["removed"]) if axis else member["removed"]] = 0
    for k, (name, w) in enumerate(masks.items()):
        nodes[name].input[1] = f"masked weights {k}"
        model.graph.initializer.append(numpy_helper.from_array(w, nodes[name].input[1]))
    model.ir_version = max(model.ir_version, 4)
    onnx.save(model, path)
    return None


def axes_of(model, node):
    from onnx import helper, numpy_helper
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if "axes" in given or len(node.input) < 2:
        return list(given.get("axes", []))
    for t in model.graph.initializer:
        if t.name == node.input[1]:
            return numpy_helper.to_array(t).ravel().tolist()
    for other in model.graph.node:
        if node.input[1] in other.output and other.op_type == "Constant":
            return numpy_helper.to_array(other.attribute[0].t).ravel().tolist()
    return []


def mixes_channels(model):
    """Whether a normalisation looks at all channels: then what is cut changes the others, and zeros are not the same."""
    shaped = {n.output[0] for n in model.graph.node if n.op_type == "Reshape"}
    for node in model.graph.node:
        axes = axes_of(model, node) if node.op_type == "ReduceMean" else []
        if node.op_type in CHANNEL_NORMS or 1 in axes or len(axes) == 1:
            return True
        if node.op_type == "InstanceNormalization" and node.input[0] in shaped:
            return True
    return False


def accepted(path):
    import onnx
    try:
        onnx.checker.check_model(path, full_check=True)
        return True
    except onnx.checker.ValidationError as error:
        return str(error).splitlines()[0]


def evaluate(options, path, data, folder):
    stored = os.path.join(folder, "outputs.h5")
    status, _, why = run(options.reap, "eval", path, "--data", data, "--outputs", stored, "--progress", "none")
    found = stored_outputs(stored) if status == 0 else why
    if os.path.exists(stored):
        os.remove(stored)
    return found


def compare_written(options, model, row, x, data, folder):
    import onnx
    path = os.path.join(folder, "pruned.onnx")
    row["checker"] = accepted(path)
    runtime = outputs_of(path, x)
    found = [evaluate(options, os.path.join(folder, "pruned" + end), data, folder) for end in (".onnx", ".h5")]
    row["written"] = next((f for f in found if isinstance(f, str)), None) or max(difference(f, runtime) for f in found)
    with open(os.path.join(folder, "report.json"), encoding="utf-8") as f:
        report = json.load(f)
    row["left"] = report["pruned"]["flops"] / report["baseline"]["flops"]
    if options.refit != "none":
        return
    original, row["norm"] = os.path.join(folder, "masked.onnx"), mixes_channels(model)
    missing = masked(model, report.get("cuts", []), x, original)
    row["masked"] = f"not compared: {missing}" if missing else difference(runtime, outputs_of(original, x))


def measure(options, path, folder):
    import onnx
    row = {"network": os.path.splitext(os.path.relpath(path, options.root))[0]}
    status, text, why = run(options.reap, "inspect", "--json", path)
    if status != 0:
        return dict(row, refused=why)
    told = json.loads(text)
    row["of"] = len(told["groups"])
    row["prunable"] = sum(g["prunable"] for g in told["groups"])
    row["with coupled"] = sum(g["cuttable"] for g in told["groups"])
    row["groups"] = {g["name"]: g.get("reason") for g in told["groups"] if not g["prunable"]}
    model = onnx.load(path)
    x, data = draw_inputs(path, model, options.images, folder)
    if x is None:
        return dict(row, refused="its input has open sizes, or there are several; this script draws none")
    found = evaluate(options, path, data, folder)
    if isinstance(found, str):
        return dict(row, refused=found)
    row["eval"] = difference(found, outputs_of(path, x))
    rule = ["--keep", options.keep, "--scope", options.scope, "--method", options.method, "--refit", options.refit]
    at = {word: os.path.join(folder, "pruned" + end) for word, end in (("-o", ".h5"), ("--onnx", ".onnx"))}
    status, _, why = run(options.reap, "prune", path, "--calib", data, *rule, "--progress", "none", "-o", at["-o"],
                         "--onnx", at["--onnx"], "--report", os.path.join(folder, "report.json"))
    if status != 0:
        return dict(row, left=1.0, note=why)
    compare_written(options, model, row, x, data, folder)
    return row


def cell(row, name):
    value = row.get(name, "")
    if value is True:
        return "ok"
    if name == "masked" and row.get("norm") and value > 1e-4:
        return "norm"
    if isinstance(value, float):
        return f"{value:.3f}" if name == "left" else f"{value:.0e}"
    return str(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", help="ONNX files")
    parser.add_argument("--reap", default="build/reap", help="the program (default: %(default)s)")
    parser.add_argument("--keep", default="0.5")
    parser.add_argument("--scope", default="all", choices=["inner", "all"])
    parser.add_argument("--method", default="l1")
    parser.add_argument("--refit", default="none")
    parser.add_argument("--images", type=int, default=4, help="random inputs for each network (default: %(default)s)")
    parser.add_argument("--json", help="write all figures to this file")
    options = parser.parse_args()
    try:
        import h5py  # noqa: F401
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        sys.exit(f"networks.py: {error}; needs h5py, onnx and onnxruntime")
    options.root = os.path.commonpath([os.path.dirname(os.path.abspath(p)) for p in options.networks])
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    for path in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows.append(measure(options, os.path.abspath(path), folder))
            except Exception as error:  # of a runtime: the next network is tried
                rows.append({"network": path, "refused": f"{type(error).__name__}: {str(error).splitlines()[0]}"})
        row = rows[-1]
        print("| " + " | ".join(cell(row, name) for name in COLUMNS) + " |" + row.get("refused", row.get("note", "")),
              flush=True)
        if options.json:
            with open(options.json, "w", encoding="utf-8") as f:
                json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
