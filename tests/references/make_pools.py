#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the pooling cases: windows at random, and what they give.

  pools.txt   one case per line: operator and opset; then height and width;
              kernel, strides, dilations (y, x each); pads (top, left, bottom,
              right); auto_pad, ceil_mode, count_include_pad; the output's
              height and width, 0 0 if there is none; and the output, in rows

The one image has one channel: pixel i, in rows, is (37 i mod 64) / 8 - 4. The
outputs are onnxruntime's (tried: 1.32). Left out is what it does in ways of
its own: windows larger than the padded image without ceil_mode, where the
standard's formula leaves no output and its integer division gives one; and
auto_pad SAME_* of windows with dilations, for which it pads as if there were
none, or with strides larger than the kernel, where it pads by less than zero.
"""

import os
import random

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = 400


def draw(rng):
    """Parameters of a case, in the order of the file."""
    op = rng.choice(["MaxPool", "AveragePool"])
    opset = rng.choice([10, 12, 18, 19, 22])
    dilated = (op == "MaxPool" or opset >= 19) and rng.random() < 0.5
    size = [rng.randint(1, 7) for _ in "yx"]
    kernel = [rng.randint(1, 4) for _ in "yx"]
    strides = [rng.randint(1, 4) for _ in "yx"]
    dilations = [rng.randint(1, 3) if dilated else 1 for _ in "yx"]
    pads = [rng.randint(0, k - 1) for k in kernel + kernel]
    auto = rng.choice(["NOTSET"] * 7 + ["VALID", "SAME_UPPER", "SAME_LOWER"])
    if auto[:4] == "SAME":
        dilations = [1, 1]
        strides = [min(s, k) for s, k in zip(strides, kernel)]
    if auto != "NOTSET":
        pads = [0, 0, 0, 0]
    ceil = int(rng.random() < 0.7)
    counted = rng.randint(0, 1) if op == "AveragePool" else 0
    return (op, opset, size, kernel, strides, dilations, pads, auto, ceil,
            counted)


def rounded_to_one(size, kernel, dilations, pads, ceil):
    room = [size[i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1
            for i in (0, 1)]
    return not ceil and min(room) < 0


def compute(case):
    """The output [height, width], or None."""
    op, opset, size, kernel, strides, dilations, pads, auto, ceil, counted = case
    attributes = {"kernel_shape": kernel, "strides": strides, "ceil_mode": ceil}
    if auto == "NOTSET":
        attributes["pads"] = pads
    else:
        attributes["auto_pad"] = auto
    if dilations != [1, 1]:
        attributes["dilations"] = dilations
    if op == "AveragePool":
        attributes["count_include_pad"] = counted
    image = np.arange(size[0] * size[1]) * 37 % 64 / 8 - 4
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], **attributes)], "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1] + size)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options,
            providers=["CPUExecutionProvider"])
        output = session.run(
            None, {"x": image.astype(np.float32).reshape([1, 1] + size)})[0]
    except Exception:
        return None
    return output[0, 0] if output.size else None


def line(case, output):
    op, opset, size, kernel, strides, dilations, pads, auto, ceil, counted = case
    words = [op, opset] + size + kernel + strides + dilations + pads
    words += [auto, ceil, counted]
    words += [0, 0] if output is None else list(output.shape)
    values = [] if output is None else ["%.7g" % v for v in output.flatten()]
    return " ".join([str(word) for word in words] + values) + "\n"


def main():
    rng = random.Random(1)
    lines = []
    while len(lines) < CASES:
        case = draw(rng)
        size, kernel, _, dilations, pads, auto, ceil = case[2:9]
        if auto[:4] != "SAME" and rounded_to_one(size, kernel, dilations, pads,
                                                 ceil):
            continue
        lines.append(line(case, compute(case)))
    with open(os.path.join(HERE, "pools.txt"), "w") as file:
        file.write("".join(lines))
    print("%d cases, %d without an output" % (
        len(lines), sum(" 0 0\n" in text for text in lines)))


if __name__ == "__main__":
    main()
