# SPDX-License-Identifier: BSD-3-Clause
"""Where and how files keep weights; see make_kernels.py."""

import torch
from onnx import TensorProto, helper

from .common import built, case, conv, double, node, normal, raw, weights


def add_cases():
    shape = (3, 3, 5, 7)

    def as_floats(name, array):
        """The same tensor as a list of numbers instead of raw bytes."""
        return helper.make_tensor(name, TensorProto.FLOAT, array.shape,
                                  array.flatten().tolist())

    def float_data():
        w, b = weights(5, 3, 3, 3), normal(5)
        return built([node("Conv", "input w b")],
                     {"w": as_floats("w", w), "b": as_floats("b", b)}, shape,
                     lambda x: conv(x, w, b))
    case("weights_float_data", float_data)

    def int64_data():
        # The sizes of a Reshape as a list of numbers.
        target = helper.make_tensor("target", TensorProto.INT64, (2,),
                                    (-1, 105))
        return built([node("Reshape", "input target")], {"target": target},
                     shape, lambda x: x.flatten(1))
    case("sizes_int64_data", int64_data)

    def constant_nodes():
        w, b = weights(5, 3, 3, 3), normal(5)
        return built([node("Constant", "", "w", value=raw("", w)),
                      node("Constant", "", "b", value_floats=b.tolist()),
                      node("Conv", "input w b")], {}, shape,
                     lambda x: conv(x, w, b))
    case("weights_constant_nodes", constant_nodes)

    def shared():
        w, b, c = weights(4, 4, 3, 3), normal(4), normal(4)
        return built([node("Identity", "w", "w_again"),
                      node("Conv", "input w b", "first", pads=[1] * 4),
                      node("Relu", "first", "r"),
                      node("Conv", "r w_again c", pads=[1] * 4)],
                     {"w": w, "b": b, "c": c}, (3, 4, 5, 7),
                     lambda x: conv(torch.relu(conv(x, w, b, [1] * 4)), w, c,
                                    [1] * 4))
    case("weights_shared_identity", shared)

    def shared_directly():
        w, b = weights(4, 4, 3, 3), normal(4)
        return built([node("Conv", "input w b", "first"),
                      node("Relu", "first", "r"), node("Conv", "r w b")],
                     {"w": w, "b": b}, (3, 4, 7, 9),
                     lambda x: conv(torch.relu(conv(x, w, b)), w, b))
    case("weights_shared", shared_directly)

    def transposed_matmul():
        w = weights(6, 105)
        return built([node("Flatten", "input", "flat"),
                      node("Transpose", "w", "w_turned", perm=[1, 0]),
                      node("MatMul", "flat w_turned")], {"w": w}, shape,
                     lambda x: x.flatten(1) @ double(w).T)
    case("weights_transposed_matmul", transposed_matmul)

    def transposed_conv():
        # [kh, kw, n, m], as channels-last frameworks keep them. Without perm
        # the order is reversed: [m, n, kw, kh].
        w, v = weights(4, 3, 3, 2), weights(5, 4, 2, 3)
        return built(
            [node("Transpose", "w", "w_turned", perm=[3, 2, 0, 1]),
             node("Conv", "input w_turned", "first"),
             node("Relu", "first", "r"),
             node("Transpose", "v", "v_turned"), node("Conv", "r v_turned")],
            {"w": w.transpose(2, 3, 1, 0), "v": v.transpose(3, 2, 1, 0)},
            (3, 3, 7, 9), lambda x: conv(torch.relu(conv(x, w)), v))
    case("weights_transposed_conv", transposed_conv)

    def outside(name, arrays, padding, lengths):
        """Tensors in NAME.bin, with `padding` bytes in front of each."""
        data, tensors = b"", {}
        for key, array in arrays.items():
            data += b"\xee" * padding
            tensor = TensorProto(name=key, data_type=TensorProto.FLOAT,
                                 dims=array.shape,
                                 data_location=TensorProto.EXTERNAL)
            content = array.tobytes()
            entries = {"location": name + ".bin", "offset": str(len(data))}
            if lengths:
                entries["length"] = str(len(content))
            for entry in entries.items():
                tensor.external_data.add(key=entry[0], value=entry[1])
            data += content
            tensors[key] = tensor
        return data, tensors

    def external():
        w, b = weights(5, 3, 3, 3), normal(5)
        data, tensors = outside("weights_external", {"w": w, "b": b}, 64, True)
        return built([node("Conv", "input w b")], tensors, shape,
                     lambda x: conv(x, w, b), outside=data)
    case("weights_external", external)

    def external_no_length():
        # Without a length the data reach to the end of the file.
        w = weights(5, 3, 3, 3)
        data, tensors = outside("weights_external_no_length", {"w": w}, 12,
                                False)
        return built([node("Conv", "input w")], tensors, shape,
                     lambda x: conv(x, w), outside=data)
    case("weights_external_no_length", external_no_length)

    def also_inputs():
        # Up to file format 3 all initialisers had to be inputs too.
        w, b = weights(5, 3, 3, 3), normal(5)
        return built([node("Conv", "input w b")], {"w": w, "b": b}, shape,
                     lambda x: conv(x, w, b), opset=8, also_inputs=("w", "b"))
    case("weights_also_inputs", also_inputs)

    def dead():
        # Nodes and weights that no output needs.
        w, b, v = weights(5, 3, 3, 3), normal(5), weights(2, 5, 1, 1)
        return built([node("Conv", "input w b", "c"), node("Relu", "c"),
                      node("Conv", "c v", "unused")],
                     {"w": w, "b": b, "v": v, "spare": normal(7)}, shape,
                     lambda x: torch.relu(conv(x, w, b)))
    case("unused_nodes", dead)
