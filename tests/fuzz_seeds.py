"""First files for the fuzzer: a small network, data sets of several kinds, JSON. Usage: fuzz_seeds.py FOLDER"""

import json
import os
import random
import sys

import h5py
import numpy as np

import onnx_bytes as onnx

folder = sys.argv[1]
rng = random.Random(3)


def write(name, data):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def weights(name, *dims):
    count = 1
    for d in dims:
        count *= d
    return onnx.tensor(name, dims, [rng.gauss(0, 0.5) for _ in range(count)])


write("net.onnx", onnx.model(
    [onnx.node("Conv", ["x", "w1", "b1"], ["a"], "c1", pads=[1, 1, 1, 1]),
     onnx.node("Relu", ["a"], ["b"], "r1"),
     onnx.node("Conv", ["b", "w2"], ["c"], "c2"),
     onnx.node("Relu", ["c"], ["d"], "r2"),
     onnx.node("GlobalAveragePool", ["d"], ["e"], "pool"),
     onnx.node("Flatten", ["e"], ["f"], "flat"),
     onnx.node("Gemm", ["f", "w3", "b3"], ["y"], "fc", transB=1)],
    [("x", [1, 2, 4, 4])], [("y", [1, 3])],
    [weights("w1", 4, 2, 3, 3), weights("b1", 4), weights("w2", 4, 4, 1, 1),
     weights("w3", 3, 4), weights("b3", 3)]))

write("net_large.onnx", onnx.model(  # a tensor that is read past the message
    [onnx.node("Gemm", ["x", "w1"], ["a"], "c1"), onnx.node("Relu", ["a"], ["b"], "r1"),
     onnx.node("Gemm", ["b", "w2"], ["y"], "fc")],
    [("x", [1, 34])], [("y", [1, 3])], [weights("w1", 34, 32), weights("w2", 32, 3)]))

own = (onnx.field(1, "twice") + onnx.field(4, "a") + onnx.field(5, "c") + onnx.field(7, onnx.node("Relu", ["a"], ["b"])) +
       onnx.field(7, onnx.node("Add", ["b", "a"], ["c"])) + onnx.field(9, onnx.field(1, "") + onnx.field(2, 13)) +
       onnx.field(10, "own"))
write("net_function.onnx", onnx.model(
    [onnx.node("Gemm", ["x", "w1"], ["p"], "c1"), onnx.node("twice", ["p"], ["q"], "f") + onnx.field(7, "own"),
     onnx.node("Gemm", ["q", "w2"], ["y"], "fc")],
    [("x", [1, 4])], [("y", [1, 3])], [weights("w1", 4, 4), weights("w2", 4, 3)]) +
      onnx.field(8, onnx.field(1, "own") + onnx.field(2, 1)) + onnx.field(25, own))

values = np.random.default_rng(4)
with h5py.File(os.path.join(folder, "images_inputs.h5"), "w") as file:
    file.create_dataset("inputs/x", data=values.standard_normal((30, 2, 4, 4), dtype="f4")).attrs["layout"] = "NCHW"
    file.create_dataset("inputs/n", data=values.integers(0, 9, (30, 3)))
for name, kind, packed in (("images.h5", "f4", None), ("images_u8.h5", "u1", None),
                           ("images_gzip.h5", "f4", "gzip")):
    with h5py.File(os.path.join(folder, name), "w") as file:
        data = values.integers(0, 255, (30, 2, 4, 4)).astype(kind)
        if kind == "f4":
            data = data / np.float32(255)
        images = file.create_dataset("images", data=data, compression=packed,
                                     chunks=(4, 2, 4, 4) if packed else None)
        images.attrs["layout"] = np.bytes_("NCHW")
        if kind == "u1":
            images.attrs["scale"] = np.float32(1 / 255)
            images.attrs["mean"] = np.zeros(2, "f4")
            images.attrs["std"] = np.ones(2, "f4")
        file.create_dataset("labels", data=np.arange(30) % 3)

write("plan_list.json", json.dumps({"groups": {"c1": [0, 2], "c2": 3}}).encode())
write("plan_escape.json", b'{"groups": {"c\\u0031": 2, "\\\\x63": [1e0]}}')
write("latency_small.json", json.dumps({
    "format": "reap-latency", "version": 1, "model_sha256": "0" * 64,
    "whole_ms": 1.5, "layers": {"c1": {"in": [1, 2], "out": [1, 4], "ms": [
        [0.1, 0.2], [0.3, 0.4]]}}}).encode())
