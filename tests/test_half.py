#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of float16 and bfloat16 through the program: they keep their type.

The embedded networks are converted, pruned and evaluated. The result has to be
a valid model in which every tensor still has its type, and has to compute what
reap says it computes, here and in onnxruntime where that is installed.

REAP_PROGRAM is the program, REAP_TEST_PYTHON another Python to run this with.
Exit status 77 (skipped) where onnx, NumPy or h5py are missing.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

OTHER = os.environ.pop("REAP_TEST_PYTHON", None)
if OTHER:
    os.execv(OTHER, [OTHER, "-B"] + sys.argv)
PROGRAM = os.environ.get("REAP_PROGRAM")

try:
    import h5py
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    print("skipped: %s" % error)
    sys.exit(77)
if not PROGRAM:
    print("skipped: REAP_PROGRAM is not set")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
FASHION = os.path.join(HERE, os.pardir, "datasets", "fashion")
CALIB = os.path.join(FASHION, "fashion-calib.h5")
TEST = os.path.join(FASHION, "fashion-test.h5")
IMAGES = 200

F32, F16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16


def halved(tensor, kind):
    """A float32 tensor in another type."""
    values = numpy_helper.to_array(tensor)
    if kind == F16:
        data = values.astype(np.float16).tobytes()
    else:
        bits = np.ascontiguousarray(values).view(np.uint32)
        data = ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(
            np.uint16).tobytes()
    return TensorProto(name=tensor.name, dims=tensor.dims, data_type=kind,
                       raw_data=data)


def convert(model, kind, cast):
    """The network in another type; cast: with float32 input and output."""
    graph = model.graph
    for i, tensor in enumerate(graph.initializer):
        if tensor.data_type == F32:
            graph.initializer[i].CopyFrom(halved(tensor, kind))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.t.data_type == F32:
                attribute.t.CopyFrom(halved(attribute.t, kind))
    del graph.value_info[:]
    ends = (graph.input[0], graph.output[0])
    if not cast:
        for end in ends:
            end.type.tensor_type.elem_type = kind
        return model
    source, result = (end.name for end in ends)
    for node in graph.node:
        for names, old in ((node.input, source), (node.output, result)):
            for k, name in enumerate(names):
                if name == old:
                    names[k] = old + "_inside"
    graph.node.insert(0, helper.make_node(
        "Cast", [source], [source + "_inside"], to=kind))
    graph.node.append(helper.make_node(
        "Cast", [result + "_inside"], [result], to=F32))
    return model


class Half(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="reap-half-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def reap(self, *arguments):
        done = subprocess.run([PROGRAM] + list(arguments), text=True,
                              capture_output=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def prune(self, name, kind, cast, *options):
        model = onnx.load(os.path.join(FASHION, name + ".onnx"))
        if kind == BF16:
            # The first operators and file format that have this type.
            model.opset_import[0].version = 22
            model.ir_version = 10
        onnx.save(convert(model, kind, cast), self.path("half.onnx"))
        self.reap("prune", self.path("half.onnx"), "--calib", CALIB,
                  "--images", str(IMAGES), "--positions", "10", "--keep",
                  "0.5", "-o", self.path("out.h5"), "--onnx",
                  self.path("out.onnx"), "--eval", TEST, "--report",
                  self.path("prune.json"), *options)
        self.reap("eval", self.path("out.onnx"), "--data", TEST, "--outputs",
                  self.path("outputs.h5"), "--report", self.path("eval.json"))
        self.check_types(kind)
        self.check_top1()

    def check_types(self, kind):
        model = onnx.load(self.path("out.onnx"))
        before = onnx.load(self.path("half.onnx"))
        kinds = {t.name: t.data_type for t in model.graph.initializer}
        floats = [k for k in kinds.values() if k != TensorProto.INT64]
        self.assertEqual(set(floats), {kind})
        shrunk = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
        whole = sum(int(np.prod(t.dims)) for t in before.graph.initializer)
        self.assertLess(shrunk, 0.7 * whole)
        try:
            # Old versions do not know all operator sets.
            version = model.opset_import[0].version
            if version <= onnx.defs.onnx_opset_version():
                onnx.checker.check_model(model, full_check=True)
        except Exception as error:
            self.fail("not a valid model: %s" % error)

    def check_top1(self):
        """What was evaluated while pruning is what was written."""
        with open(self.path("prune.json")) as stream:
            pruned = json.load(stream)["pruned"]
        with open(self.path("eval.json")) as stream:
            written = json.load(stream)
        found = written.get("baseline", written)["top1"]
        self.assertAlmostEqual(pruned["top1"], found, 9)

    def check_elsewhere(self):
        """The same from onnxruntime, which computes in float16."""
        try:
            import onnxruntime
        except ImportError as error:
            self.skipTest(str(error))
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            self.path("out.onnx"), settings,
            providers=["CPUExecutionProvider"])
        with h5py.File(TEST, "r") as file:
            data = file["images"]
            images = data[:IMAGES].astype(np.float32) * data.attrs["scale"]
            images = ((images - data.attrs["mean"][:, None, None])
                      / data.attrs["std"][:, None, None])
        with h5py.File(self.path("outputs.h5"), "r") as file:
            wanted = file["outputs"][:IMAGES]
        end = session.get_inputs()[0]
        if end.type == "tensor(float16)":
            images = images.astype(np.float16)
        found = session.run(None, {end.name: images})[0].astype(np.float32)
        self.assertLess(np.abs(found - wanted).max() / np.abs(wanted).max(),
                        0.02)
        same = (found.argmax(1) == wanted.argmax(1)).mean()
        self.assertGreaterEqual(same, 0.98)

    def test_float16(self):
        self.prune("vgg-fashion", F16, False)
        self.check_elsewhere()

    def test_float16_with_casts(self):
        self.prune("vgg-fashion", F16, True)
        self.check_elsewhere()

    def test_float16_residual(self):
        self.prune("resnet-fashion", F16, False)
        self.check_elsewhere()

    def test_bfloat16(self):
        self.prune("vgg-fashion", BF16, False)


if __name__ == "__main__":
    unittest.main()
