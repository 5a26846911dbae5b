#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The ONNX project's own tests of backends (in the onnx package), through reap eval.

Each is a model of one or a few nodes with inputs and the outputs they have to give. Its first float32 input becomes the
images; the others become initialisers, since most are weights. Two forms are tried:
  - axis 0 is the batch; ranks other than 4 get a Reshape in front;
  - the whole input is one image, with a Reshape in front and one behind, so that any shape and any axis can take part.
A model is right if a form that reap takes gives the outputs within the tolerance of the ONNX project's runner, wrong if
any form gives others, or ends in any way but a refusal. Models without float32 tensors at both ends are not applicable.

tests/run.sh --long runs this (REAP_TEST_LONG=1). By hand: test_onnx_backend.py NAME ..., NAME being part of a folder's
name, "" all; REAP_PROGRAM names the program. Exit status 77 where the package is missing or another version.
"""
import argparse
import collections
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

OTHER = os.environ.pop("REAP_VENV_PYTHON", None)
if OTHER and os.path.exists(OTHER):
    os.execv(OTHER, [OTHER, "-B"] + sys.argv)
try:
    import h5py
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper, version_converter
except ImportError as error:
    print("SKIPPED: %s" % error)
    sys.exit(77)

VERSION = "1.16.2"
FOLDERS = ["node", "simple", "pytorch-converted", "pytorch-operator"]
HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.environ.get("REAP_PROGRAM", os.path.join(HERE, os.pardir, "build", "reap"))
RELATIVE, ABSOLUTE = 1e-3, 1e-7  # the defaults of onnx.backend.test.runner
OLDEST, CONVERTED_TO = 7, 13  # operator sets
LEAST_RIGHT = 200
PATIENCE = 300


class NotApplicable(Exception):
    """Not a network on images of float32."""


def tensors(folder, kind):
    """Tensors of input_*.pb or output_*.pb, in order."""
    found = []
    for i in range(len(glob.glob(os.path.join(folder, kind + "_*.pb")))):
        with open(os.path.join(folder, "%s_%d.pb" % (kind, i)), "rb") as file:
            tensor = TensorProto()
            tensor.ParseFromString(file.read())
        found.append(tensor)
    return found


def is_float_tensor(info):
    return info.type.WhichOneof("value") == "tensor_type" and info.type.tensor_type.elem_type == TensorProto.FLOAT


def load(path):
    """A model; one older than what reap reads is converted as its message advises, where the package can do so."""
    model = onnx.load(path)
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if not versions or versions[0] >= OLDEST:
        return model
    try:
        return version_converter.convert_version(model, CONVERTED_TO)
    except Exception:
        return model


class Sample:
    """A model with one set of data, ready to be written in reap's forms."""

    def __init__(self, folder):
        self.model = load(os.path.join(folder, "model.onnx"))
        graph, data = self.model.graph, os.path.join(folder, "test_data_set_0")
        constant = {t.name for t in graph.initializer}
        self.inputs = [i for i in graph.input if i.name not in constant]
        self.at = next((k for k, info in enumerate(self.inputs) if is_float_tensor(info)), None)  # becomes the images
        if self.at is None:
            raise NotApplicable("no input is a float32 tensor")
        if any(i.type.WhichOneof("value") != "tensor_type" for i in self.inputs):
            raise NotApplicable("an input is not a tensor")
        self.outputs = [(i, o) for i, o in enumerate(graph.output) if is_float_tensor(o)]
        if not self.outputs:
            raise NotApplicable("no output is a float32 tensor")
        self.given, self.wanted = tensors(data, "input"), tensors(data, "output")
        self.images = numpy_helper.to_array(self.given[self.at])
        if self.images.size == 0 or any(numpy_helper.to_array(self.wanted[i]).size == 0 for i, _ in self.outputs):
            raise NotApplicable("an empty tensor")

    def graph_with(self, images, nodes_before, nodes_behind, first, result):
        """A copy whose input is `images`; other inputs are initialisers, `result` is the only output."""
        model = onnx.ModelProto.FromString(self.model.SerializeToString())
        graph = model.graph
        del graph.input[:], graph.output[:], graph.value_info[:]
        graph.input.append(images)
        graph.output.append(result)
        for info, tensor in zip(self.inputs, self.given):
            if info.name == self.inputs[self.at].name:
                continue
            copy = TensorProto.FromString(tensor.SerializeToString())
            copy.name = info.name
            graph.initializer.append(copy)
        nodes = list(graph.node)
        for node in nodes:
            node.input[:] = [first if name == self.inputs[self.at].name else name for name in node.input]
        del graph.node[:]
        graph.node.extend(nodes_before + nodes + nodes_behind)
        model.ir_version = max(model.ir_version, 4)
        return model

    def as_batch(self, output):
        """Axis 0 is the batch. (model, images), or None for a single number."""
        shape = list(self.images.shape)
        if not shape:
            return None
        if len(shape) == 4:
            info = helper.make_tensor_value_info("images in", TensorProto.FLOAT, shape)
            return self.graph_with(info, [], [], "images in", output), self.images
        flat = self.images.reshape(shape[0], -1, 1, 1)
        info = helper.make_tensor_value_info("images in", TensorProto.FLOAT, flat.shape)
        return self.graph_with(info, self.reshaped("images in", "input", [-1] + shape[1:]), [], "input", output), flat

    def as_image(self, output):
        """All of the input is one image."""
        flat = self.images.reshape(1, -1, 1, 1)
        info = helper.make_tensor_value_info("images in", TensorProto.FLOAT, flat.shape)
        result = helper.make_tensor_value_info("result", TensorProto.FLOAT, None)
        model = self.graph_with(info, self.reshaped("images in", "input", self.images.shape),
                                self.reshaped(output.name, "result", [1, -1]), "input", result)
        return model, flat

    @staticmethod
    def reshaped(source, to, shape):
        value = numpy_helper.from_array(np.array(shape, dtype=np.int64))
        return [helper.make_node("Constant", [], [to + " shape"], name=to + " shape", value=value),
                helper.make_node("Reshape", [source, to + " shape"], [to], name=to + " reshape")]


def reason_of(text):
    """A refusal without names and numbers."""
    line = [s for s in text.splitlines() if s.startswith("reap")][-1]
    found = re.search(r"the operator (\S+)", line)
    if found:
        return "the operator %s" % found.group(1)
    return re.sub(r"\"[^\"]*\"", "\"...\"", re.sub(r"-?\d+(\.\d+)?", "#", line.split(": ", 2)[-1]))[:150]


def evaluate(model, images, folder):
    """(status, message, outputs) of reap eval."""
    paths = [os.path.join(folder, name) for name in ("model.onnx", "data.h5", "outputs.h5")]
    onnx.save(model, paths[0])
    with h5py.File(paths[1], "w") as file:
        file["images"] = images.astype(np.float32)
        file["images"].attrs["layout"] = "NCHW"
    # Open MPI starts a daemon for a process without mpirun, unless told so; such processes share folders.
    alone = dict(os.environ, OMPI_MCA_ess_singleton_isolated="1", OMPI_MCA_orte_tmpdir_base=folder)
    try:
        done = subprocess.run(
            [PROGRAM, "eval", paths[0], "--data", paths[1], "--outputs", paths[2], "--log-level", "warning"],
            env=alone, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return 1, "no end after %d s" % PATIENCE, None
    if done.returncode:
        return done.returncode, done.stderr.strip(), None
    with h5py.File(paths[2]) as file:
        return 0, "", file["outputs"][...]


def check_form(form, wanted):
    """right, refused or wrong, and how."""
    with tempfile.TemporaryDirectory(prefix="reap-onnx-") as folder:
        status, text, found = evaluate(*form, folder)
    if status in (3, 5) and "reap:" in text and (status == 3 or "is not finite" in text):
        return "refused", reason_of(text)
    if status:
        return "wrong", "ended with %d: %s" % (status, text[-200:])
    if found.size != wanted.size:
        return "wrong", "shapes %s and %s" % (found.shape, wanted.shape)
    if not np.allclose(found.reshape(wanted.shape), wanted, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
        apart = np.abs(found.reshape(wanted.shape) - wanted).max()
        return "wrong", "%.3g apart, outputs up to %.3g" % (apart, np.abs(wanted).max())
    return "right", ""


def attempt(folder):
    """(name, kind, reason); name with its folder."""
    name = "/".join(folder.split(os.sep)[-2:])
    try:
        sample = Sample(folder)
    except NotApplicable as reason:
        return name, "not applicable", str(reason)
    except Exception as error:  # a sequence or a map in place of a tensor
        return name, "not applicable", "its data are not tensors (%s)" % type(error).__name__
    outcomes = []
    for index, output in sample.outputs:
        wanted = numpy_helper.to_array(sample.wanted[index])
        for form in (sample.as_batch(output), sample.as_image(output)):
            outcomes.append(check_form(form, wanted) if form else ("refused", "a single number"))
    for kind in ("wrong", "right"):
        for found, how in outcomes:
            if found == kind:
                return name, kind, how
    return (name,) + outcomes[-1]


def tell(results):
    kinds = collections.Counter(kind for _, kind, _ in results)
    for name, kind, how in results:
        if kind == "wrong":
            print("WRONG %s: %s" % (name, how.replace("\n", " ")))
    for kind in ("refused", "not applicable"):
        for reason, n in collections.Counter(how for _, k, how in results if k == kind).most_common():
            print("%5d %s: %s" % (n, kind, reason))
    right = collections.Counter(name.split("/")[0] for name, kind, _ in results if kind == "right")
    print("right: " + ", ".join("%d of %s" % (n, folder) for folder, n in sorted(right.items())))
    print("%d models of onnx %s: %s" % (len(results), VERSION, ", ".join(
        "%d %s" % (kinds[kind], kind) for kind in ("right", "not applicable", "refused", "wrong"))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of names of tests")
    given = parser.parse_args()
    if not given.names and os.environ.get("REAP_TEST_LONG") != "1":
        print("SKIPPED: tests/run.sh --long runs this")
        return 77
    if onnx.__version__ != VERSION or not os.path.exists(PROGRAM):
        print("SKIPPED: wants onnx %s (here %s) and %s" % (VERSION, onnx.__version__, PROGRAM))
        return 77
    root = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    folders = sorted(f for kind in FOLDERS for f in glob.glob(os.path.join(root, kind, "*")) if os.path.isdir(f))
    folders = [f for f in folders if not given.names or any(name in f for name in given.names)]
    for name in ("OMP_NUM_THREADS", "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
        os.environ.setdefault(name, "1")
    with concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results = list(pool.map(attempt, folders))
    tell(results)
    right = sum(kind == "right" for _, kind, _ in results)
    if not given.names and right < LEAST_RIGHT:
        print("FAILED: fewer than %d are right" % LEAST_RIGHT)
        return 1
    return int(any(kind == "wrong" for _, kind, _ in results))


if __name__ == "__main__":
    sys.exit(main())
