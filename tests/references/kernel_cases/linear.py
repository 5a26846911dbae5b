# SPDX-License-Identifier: BSD-3-Clause
"""Matrix products; see make_kernels.py."""

import numpy as np
import torch
from torch import nn

from .common import built, case, double, exported, node, normal, weights


def add_cases():
    shape = (5, 3, 5, 7)
    size = 105

    def gemm(name, c=None, transposed=True, opset=13, **attributes):
        def make():
            w = weights(6, size)
            constants = {"w": w if transposed else w.T.copy()}
            inputs = "flat w"
            if c is not None:
                constants["c"] = c()
                inputs += " c"
            if transposed:
                attributes["transB"] = 1
            alpha = attributes.get("alpha", 1.0)
            beta = attributes.get("beta", 1.0)

            def expected(x):
                y = alpha * (x.flatten(1) @ double(w).T)
                return y if c is None else y + beta * double(constants["c"])
            return built([node("Flatten", "input", "flat", axis=1),
                          node("Gemm", inputs, name="linear", **attributes)],
                         constants, shape, expected, opset)
        case(name, make)

    # 0.75 and the like are exact in single precision, as the attributes are.
    gemm("gemm_trans_b", lambda: normal(6))
    gemm("gemm_plain", lambda: normal(6), transposed=False, transB=0)
    gemm("gemm_no_attributes", lambda: normal(6), transposed=False)
    gemm("gemm_alpha_beta", lambda: normal(6), alpha=0.75, beta=-1.5)
    gemm("gemm_alpha_beta_plain", lambda: normal(6), transposed=False,
         alpha=-0.5, beta=2.5)
    gemm("gemm_beta_zero", lambda: normal(6), beta=0.0)
    gemm("gemm_no_c")
    gemm("gemm_no_c_alpha", transposed=False, alpha=1.25, beta=3.0)
    gemm("gemm_c_row", lambda: normal(1, 6), beta=0.5)
    gemm("gemm_c_scalar", lambda: np.float32(0.625), beta=2.0)
    gemm("gemm_c_one", lambda: normal(1))
    gemm("gemm_c_one_by_one", lambda: normal(1, 1), transposed=False)
    gemm("gemm_opset11", lambda: normal(6), opset=11)
    gemm("gemm_opset10", lambda: normal(6), opset=10, alpha=0.75)

    case("linear", lambda: exported(nn.Sequential(
        nn.Flatten(), nn.Linear(size, 5)), shape))
    case("linear_no_bias", lambda: exported(nn.Sequential(
        nn.Flatten(), nn.Linear(size, 5, bias=False)), shape))

    def matmul(add, name):
        def make():
            w, b = weights(6, size).T.copy(), normal(6)
            nodes = [node("Flatten", "input", "flat"),
                     node("MatMul", "flat w", "product" if add else "output")]
            constants = {"w": w}
            if add:
                nodes.append(node("Add", add))
                constants["b"] = b
            return built(nodes, constants, shape, lambda x: x.flatten(1)
                         @ double(w) + (double(b) if add else 0.0))
        case(name, make)
    matmul("", "matmul")
    matmul("product b", "matmul_add")
    matmul("b product", "matmul_add_swapped")

    def matmul_twice():
        w, v, b = weights(7, size).T.copy(), weights(4, 7).T.copy(), normal(7)
        return built([node("Flatten", "input", "flat"),
                      node("MatMul", "flat w", "p"), node("Add", "p b", "q"),
                      node("Relu", "q", "r"), node("MatMul", "r v")],
                     {"w": w, "b": b, "v": v}, shape, lambda x: torch.relu(
                         x.flatten(1) @ double(w) + double(b)) @ double(v))
    case("matmul_relu_matmul", matmul_twice)
