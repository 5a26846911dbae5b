#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the operator cases: one tiny network each, with images and outputs.

  kernels/NAME.onnx   input "input" [batch, C, H, W], output "output"
  kernels/NAME.bin    only where weights are kept outside the model
  kernels/NAME.h5     /images float32 [N, C, H, W], attribute layout "NCHW"
                      /outputs float32 [N, ...]
  kernels/cases.txt   one name per line

The outputs are computed in double precision by PyTorch from the weights as
they are in the model (that is, rounded to single precision), and rounded at
the end. Writing needs PyTorch, onnx, h5py and numpy; --check, which compares
the files with onnxruntime, needs onnxruntime, onnx, h5py and numpy.
"""

import argparse
import glob
import os
import sys
import warnings

import h5py
import numpy as np
import onnx

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "kernels")

# Largest difference to onnxruntime, relative to the largest output. Both sides
# have the same single precision weights, so only rounding is left.
TOLERANCE = 1e-5

# Networks of float16 are computed in that type by onnxruntime, in float32 by
# reap; those of bfloat16 it does not compute at all on a processor.
HALF_TOLERANCE = 2e-3
NOT_RUN = {"network_bfloat16"}


def write(folder, cases):
    os.makedirs(folder, exist_ok=True)
    for stale in glob.glob(os.path.join(folder, "*")):
        if stale.endswith((".onnx", ".h5", ".bin")):
            os.unlink(stale)
    for name, build in cases.items():
        made = build()
        images = np.ascontiguousarray(made.images, np.float32)
        outputs = np.ascontiguousarray(made.outputs, np.float32)
        assert np.isfinite(outputs).all() and outputs.any(), name
        assert outputs.shape[0] == images.shape[0], name
        path = os.path.join(folder, name)
        with open(path + ".onnx", "wb") as file:
            file.write(made.model.SerializeToString())
        if made.outside is not None:
            with open(path + ".bin", "wb") as file:
                file.write(made.outside)
        with h5py.File(path + ".h5", "w") as file:
            file.create_dataset("images", data=images)
            # The networks' files have a string of variable length, as Python
            # writes it; the others one of fixed length, as C programs do: a
            # reader has to take both, and it saves 4 kB per file.
            if not name.startswith("network_"):
                file["images"].attrs["layout"] = np.bytes_("NCHW")
            else:
                file["images"].attrs["layout"] = "NCHW"
            file.create_dataset("outputs", data=outputs)
    with open(os.path.join(folder, "cases.txt"), "w") as file:
        file.write("".join(name + "\n" for name in cases))
    print("%d cases" % len(cases))
    return 0


def check(folder):
    """Compare all cases with onnxruntime; 1 if one of them differs."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    failures = 0
    worst = 0.0
    with open(os.path.join(folder, "cases.txt")) as file:
        names = file.read().split()
    for name in names:
        path = os.path.join(folder, name)
        try:
            # Not in full by path: old versions write what they infer to it.
            onnx.checker.check_model(path + ".onnx")
            onnx.checker.check_model(onnx.load(path + ".onnx"),
                                     full_check=True)
            if name in NOT_RUN:
                continue
            session = onnxruntime.InferenceSession(
                path + ".onnx", options, providers=["CPUExecutionProvider"])
            inputs = [i.name for i in session.get_inputs()]
            results = [o.name for o in session.get_outputs()]
            assert inputs == ["input"], "inputs are %s" % inputs
            assert results == ["output"], "outputs are %s" % results
            with h5py.File(path + ".h5", "r") as file:
                images, outputs = file["images"][:], file["outputs"][:]
            tolerance = TOLERANCE
            if "float16" in name:
                tolerance = HALF_TOLERANCE
            if session.get_inputs()[0].type == "tensor(float16)":
                images = images.astype(np.float16)
            # All at once and one by one: the batch has to be free.
            together = session.run(None, {"input": images})[0]
            alone = np.concatenate([
                session.run(None, {"input": images[i:i + 1]})[0]
                for i in range(len(images))])
            for found in (together, alone):
                assert found.shape == outputs.shape, "shape %s, expected %s" % (
                    found.shape, outputs.shape)
                difference = np.abs(found - outputs).max()
                difference /= np.abs(outputs).max()
                if tolerance == TOLERANCE:
                    worst = max(worst, difference)
                assert difference <= tolerance, "differs by %g" % difference
        except Exception as error:
            print("%s: %s" % (name, error))
            failures += 1
    print("%d cases, %d differ, largest relative difference %.2g"
          % (len(names), failures, worst))
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true",
                        help="compare the files there are with onnxruntime")
    parser.add_argument("--folder", default=FOLDER,
                        help="where the files are (default: beside this file)")
    arguments = parser.parse_args()
    if arguments.check:
        return check(arguments.folder)
    # Only here, as the Python that has onnxruntime may have no PyTorch.
    import torch
    import kernel_cases
    torch.set_num_threads(1)
    # The exporter's remarks on what it does not fold: here that is meant.
    warnings.simplefilter("ignore")
    return write(arguments.folder, kernel_cases.all_cases())


if __name__ == "__main__":
    sys.exit(main())
