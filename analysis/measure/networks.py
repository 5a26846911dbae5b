#!/usr/bin/env python3
"""What reap makes of ONNX networks, judged by onnxruntime: one row of a Markdown table for each file.

  groups     how many `reap inspect` finds prunable, can cut with --scope all, and lists
  left       the share of the multiply-adds that `reap prune` leaves
  eval       the outputs of `reap eval` against onnxruntime's
  pruned     `reap eval` of both pruned files, ONNX and HDF5, against onnxruntime; the ONNX checker has to accept them
  masked     with --scope all, which re-solves nothing: the pruned file against the original with zeros where removed
             channels are read, both in onnxruntime

Differences are the largest one of any output, relative to that output's largest value. Images come from the first
data set of --data whose images have the shape that the network wants, or are random (normal); sizes that the file
leaves free are --size then. A network needs one input of float32. --json has the same figures, and why groups stay.

    analysis/measure/networks.py networks/ other.onnx --data images.h5 --json networks.json

The exit status is 1 if a network was refused, or a step failed or differs by more than --tolerance.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile

STEPS = ("eval", "pruned", "masked")
HEAD = ["network", "groups prunable", "cut by `all`", "of", "left", *STEPS, "failure"]


class Failure(Exception):
    """A step that did not go as it should; the text is its reason."""


class Program:
    """`reap`, with one thread unless OMP_NUM_THREADS says otherwise."""

    def __init__(self, options):
        self.prefix, self.timeout = shlex.split(options.reap), options.timeout
        self.environment = dict({"OMP_NUM_THREADS": "1"}, **os.environ)

    def call(self, *words):
        """Its output; Failure with its last message if it fails."""
        try:
            done = subprocess.run(self.prefix + [str(w) for w in words], capture_output=True, text=True,
                                  errors="replace", env=self.environment, timeout=self.timeout)
        except subprocess.TimeoutExpired:
            raise Failure("no end of reap %s after %d s" % (words[0], self.timeout)) from None
        except OSError as error:
            sys.exit("networks.py: %s: %s" % (self.prefix[0], error.strerror))
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("reap: ")]
            raise Failure(lines[-1][len("reap: "):] if lines else "reap %s: status %d" % (words[0], done.returncode))
        return done.stdout

    def evaluate(self, model, data, folder):
        """All outputs."""
        path = os.path.join(folder, "outputs.h5")
        self.call("eval", model, "--data", data, "--outputs", path, "--progress", "none")
        with h5py.File(path, "r") as f:
            names = sorted((n for n in f if n.startswith("outputs")), key=lambda n: int(n[len("outputs_"):] or 0))
            return [f[n][...] for n in names]


def runtime(path, images):
    """All outputs in onnxruntime."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 4
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0]
        batch = given.shape[0] if isinstance(given.shape[0], int) and given.shape[0] > 0 else min(4, len(images))
        parts = [session.run(None, {given.name: images[i:i + batch]}) for i in range(0, len(images), batch)]
    except Exception as error:  # onnxruntime has exception types of its own
        raise Failure("onnxruntime: " + str(error).splitlines()[0]) from None
    return [np.concatenate(outputs) for outputs in zip(*parts)]


def difference(found, wanted):
    if [y.shape for y in found] != [y.shape for y in wanted]:
        raise Failure("shapes %s in place of %s" % ([y.shape for y in found], [y.shape for y in wanted]))
    if not all(np.isfinite(y).all() for y in found + wanted):
        raise Failure("outputs that are not finite")
    return max(float(np.abs(y.astype(np.float64) - z).max()) / max(float(np.abs(z).max()), 1e-30)
               for y, z in zip(found, wanted))


def wanted_shape(path):
    """Of the only input, None for a size that is free."""
    graph = onnx.load(path, load_external_data=False).graph
    constants = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise Failure("not one input of float32")
    return [d.dim_value or None for d in inputs[0].type.tensor_type.shape.dim]


def seen(images, count):
    """The first images of a data set as the network sees them."""
    x = images[:count].astype(np.float32)
    if images.dtype == np.uint8:
        mean, std = (np.reshape(images.attrs[k], [-1] + [1] * (x.ndim - 2)) for k in ("mean", "std"))
        x = (x * images.attrs["scale"] - mean) / std
    return x.astype(np.float32)


def images_for(path, options):
    shape, count = wanted_shape(path), options.images
    if shape[0]:
        count = max(1, count // shape[0]) * shape[0]
    for known in options.data:
        with h5py.File(known, "r") as f:
            images = f["images"]
            if len(images) >= count and images.ndim == len(shape) and all(
                    want in (None, have) for want, have in zip(shape[1:], images.shape[1:])):
                return seen(images, count)
    sizes = [count] + [d or options.size for d in shape[1:]]
    return np.random.RandomState(0).standard_normal(sizes).astype(np.float32)


def write_images(images, folder):
    path = os.path.join(folder, "images.h5")
    with h5py.File(path, "w") as f:
        f["images"] = images
        f["images"].attrs["layout"] = "NCHW"
    return path


def accepted(path):
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:  # of several types
        raise Failure("the ONNX checker: " + str(error).strip().splitlines()[0]) from None


def masked_outputs(path, images, cuts, folder):
    model, target = onnx.load(path), os.path.join(folder, "masked.onnx")
    try:
        masked_network.mask(model, cuts, sizes=images.shape)
    except ValueError as error:
        raise Failure("not masked: %s" % error) from None
    onnx.save(model, target, save_as_external_data=True, location="masked.data")
    return runtime(target, images)


def pruned(path, program, data, options, row, folder):
    """Prunes and judges what was written: its outputs in onnxruntime, and the report."""
    *files, told = (os.path.join(folder, name) for name in ("pruned.onnx", "pruned.h5", "report.json"))
    program.call("prune", path, "--calib", data, "--keep", options.keep, "--scope", options.scope, "--method",
                 options.method, "--refit", options.refit, "--onnx", files[0], "-o", files[1], "--report", told,
                 "--progress", "none")
    with open(told, encoding="utf-8") as f:
        report = json.load(f)
    row.update({"left" + end: report["pruned"][what] / report["baseline"][what]
                for what, end in (("flops", ""), ("params", "_params"))})
    accepted(files[0])
    with h5py.File(data, "r") as f:
        outputs = runtime(files[0], f["images"][...])
    row["pruned"] = max(difference(program.evaluate(file, data, folder), outputs) for file in files)
    return outputs, report


def steps(path, program, options, row, folder):
    """Fills the row, step by step; Failure ends it."""
    told = json.loads(program.call("inspect", path, "--json"))
    groups = told["groups"]
    row.update(groups=len(groups), prunable=sum(g["prunable"] for g in groups),
               cuttable=sum(g["cuttable"] for g in groups), flops=told["flops"], params=told["params"],
               stay={g["name"]: g["reason"] for g in groups if not g["cuttable"]}, step="eval")
    images = images_for(path, options)
    data, original = write_images(images, folder), runtime(path, images)
    row["eval"] = difference(program.evaluate(path, data, folder), original)
    if not row["cuttable" if options.scope == "all" else "prunable"]:
        row["left"] = 1.0
        return
    row["step"] = "pruned"
    outputs, report = pruned(path, program, data, options, row, folder)
    if "cuts" in report:
        row["step"] = "masked"
        wanted = masked_outputs(path, images, report["cuts"], folder)
        row.update(masked=difference(outputs, wanted), moved=difference(wanted, original))


def check(path, name, program, options):
    row = {"network": name, "step": "read"}
    with tempfile.TemporaryDirectory() as folder:
        try:
            steps(path, program, options, row, folder)
            del row["step"]
        except Failure as failure:
            row["failure"] = str(failure).replace(path, os.path.basename(path))
    return row


def complaints(row, tolerance):
    told = ["%s: %s" % (row["step"], row["failure"])] if "failure" in row else []
    return told + ["%s differs" % step for step in STEPS if row.get(step, 0) > tolerance]


def line(row, tolerance):
    """Of the table."""
    counts = [str(row.get(key, "")) for key in ("prunable", "cuttable", "groups")]
    figures = [form % row[key] if key in row else "" for key, form in [("left", "%.2f")] + [(s, "%.0e") for s in STEPS]]
    told = "; ".join(complaints(row, tolerance)).replace("|", "\\|")
    return "| %s |" % " | ".join([row["network"], *counts, *figures, told])


def files_of(given):
    """[(path, name)] of ONNX files and of all in and below folders; names are relative to the folder of them all."""
    paths, folders = [], []
    for path in map(os.path.abspath, given):
        folders.append(path if os.path.isdir(path) else os.path.dirname(path))
        paths += sorted(os.path.join(where, name) for where, _, names in os.walk(path) for name in names
                        if name.endswith(".onnx")) if os.path.isdir(path) else [path]
    root = os.path.commonpath(folders)
    return [(path, os.path.splitext(os.path.relpath(path, root))[0]) for path in paths]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", help="ONNX files, or folders that are searched for them")
    parser.add_argument("--data", nargs="+", default=[], metavar="D.h5", help="data sets to choose from by shape")
    parser.add_argument("--images", type=int, default=4, help="for each network (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="of what the file leaves free (default: %(default)s)")
    parser.add_argument("--keep", default="0.5", help="as of reap prune, like the next three (default: %(default)s)")
    parser.add_argument("--scope", default="all", help="(default: %(default)s)")
    parser.add_argument("--method", default="l1", help="(default: %(default)s)")
    parser.add_argument("--refit", default="none", help="(default: %(default)s)")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of differences (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds of a run of reap (default: %(default)s)")
    parser.add_argument("--reap", default="build/reap", help="the program, or a command of it (default: %(default)s)")
    parser.add_argument("--json", help="write the figures to this file, after each network")
    return parser.parse_args()


def main():
    options = parse()
    global h5py, masked_network, np, onnx, onnxruntime
    try:
        import h5py
        import numpy as np
        import onnx
        import onnxruntime
        import masked_network
    except ImportError as error:
        sys.exit("networks.py: %s; see analysis/requirements.txt" % error)
    files, program, rows = files_of(options.networks), Program(options), []
    if not files:
        sys.exit("networks.py: %s: no ONNX files" % " ".join(options.networks))
    print("| %s |\n|%s" % (" | ".join(HEAD), "---|" * len(HEAD)))
    for path, name in files:
        rows.append(check(path, name, program, options))
        print(line(rows[-1], options.tolerance), flush=True)
        if options.json:
            with open(options.json, "w", encoding="utf-8") as f:
                json.dump(rows, f, indent=1)
    sys.exit(any(complaints(row, options.tolerance) for row in rows))


if __name__ == "__main__":
    main()
