# SPDX-License-Identifier: BSD-3-Clause
"""Numbers of 16 bits; see make_kernels.py."""

import numpy as np
import torch
import torch.nn.functional as F
from onnx import TensorProto

from .common import built, case, conv, double, node, normal, raw, uniform, weights


def bfloat16(array):
    """The upper halves of float32 numbers, and what they stand for."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    bits = ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def half_tensor(name, bits, kind, as_ints=False):
    """float16 or bfloat16, as raw bytes or as a list of integers."""
    tensor = TensorProto(name=name, data_type=kind, dims=bits.shape)
    if as_ints:
        tensor.int32_data.extend(int(b) for b in bits.flat)
    else:
        tensor.raw_data = bits.tobytes()
    return tensor


def add_cases():
    shape = (3, 3, 5, 7)
    f16, b16 = TensorProto.FLOAT16, TensorProto.BFLOAT16
    f32 = TensorProto.FLOAT

    def cast_around(constants, expected, before=()):
        """A float16 convolution in a float32 network."""
        return built(list(before) + [
            node("Cast", "input", "x", to=f16),
            node("Conv", "x w b", "y", name="layer"),
            node("Cast", "y", to=f32)], constants, shape, expected)

    def halves(scale=1.0):
        return ((scale * weights(5, 3, 3, 3)).astype(np.float16),
                (scale * normal(5)).astype(np.float16))

    def plain():
        w, b = halves()
        return cast_around({"w": w, "b": b}, lambda x: conv(x, w, b))
    case("weights_float16", plain)

    def int32_data():
        w, b = halves()
        return cast_around(
            {k: half_tensor(k, v.view(np.uint16), f16, True)
             for k, v in (("w", w), ("b", b))}, lambda x: conv(x, w, b))
    case("weights_float16_int32_data", int32_data)

    def rounded():
        # The network rounds its weights itself.
        w, b = weights(5, 3, 3, 3), normal(5)
        return cast_around(
            {"v": w, "a": b},
            lambda x: conv(x, w.astype(np.float16), b.astype(np.float16)),
            [node("Cast", "v", "w", to=f16), node("Cast", "a", "b", to=f16)])
    case("weights_cast_float16", rounded)

    def subnormal():
        # Turned into float32 at once, so that they may be compared closely.
        w, b = halves(1e-6)
        assert 0 < np.abs(w[w != 0]).min() < 2 ** -20
        return built([node("Cast", "w", "v", to=f32),
                      node("Cast", "b", "a", to=f32),
                      node("Conv", "input v a")], {"w": w, "b": b}, shape,
                     lambda x: conv(x, w, b))
    case("weights_float16_subnormal", subnormal)

    def constant_node():
        w, b = halves()
        return built([node("Constant", "", "c", value=raw("", w)),
                      node("Cast", "c", "w", to=f32),
                      node("Cast", "b", "a", to=f32),
                      node("Conv", "input w a")], {"b": b}, shape,
                     lambda x: conv(x, w, b))
    case("weights_float16_constant_node", constant_node)

    def brain():
        w, w_value = bfloat16(weights(5, 3, 3, 3))
        b, b_value = bfloat16(1e-39 * normal(5))
        return built([node("Cast", "w", "v", to=f32),
                      node("Cast", "b", "a", to=f32),
                      node("Conv", "input v a")],
                     {"w": half_tensor("w", w, b16),
                      "b": half_tensor("b", b, b16, True)}, shape,
                     lambda x: conv(x, w_value, b_value))
    case("weights_bfloat16", brain)

    def network(kind, convert, opset):
        """All of one type, input and output included."""
        def make():
            c = {"w": weights(6, 3, 3, 3), "scale": uniform(0.5, 1.5, 6),
                 "shift": normal(6), "mean": normal(6),
                 "var": uniform(0.3, 2.0, 6), "v": weights(8, 6, 3, 3),
                 "b": normal(8), "g": weights(4, 8), "h": normal(4)}
            both = {k: convert(v) for k, v in c.items()}
            own = {k: double(v) for k, (_, v) in both.items()}

            def expected(x):
                x = F.conv2d(x, own["w"], None, padding=1)
                x = F.batch_norm(x, own["mean"], own["var"], own["scale"],
                                 own["shift"])
                x = F.conv2d(torch.relu(x), own["v"], own["b"])
                return F.linear(torch.relu(x).mean((2, 3)), own["g"], own["h"])
            # What the type can hold, so that both sides see the same.
            images = convert(normal(5, 3, 7, 9))[1].astype(np.float32)
            return built(
                [node("Conv", "input w", "c1", "first", pads=[1] * 4),
                 node("BatchNormalization", "c1 scale shift mean var", "n1",
                      "norm"),
                 node("Relu", "n1", "r1"),
                 node("Conv", "r1 v b", "c2", "second"),
                 node("Relu", "c2", "r2"),
                 node("GlobalAveragePool", "r2", "p"),
                 node("Flatten", "p", "f"),
                 node("Gemm", "f g h", "output", "last", transB=1)],
                {k: half_tensor(k, bits, kind)
                 for k, (bits, _) in both.items()}, images, expected,
                opset, kind=kind)
        return make

    def float16(array):
        value = array.astype(np.float16)
        return value.view(np.uint16), value
    case("network_float16", network(f16, float16, 13))
    # The first operator set in which layers may have this type.
    case("network_bfloat16", network(b16, bfloat16, 22))
