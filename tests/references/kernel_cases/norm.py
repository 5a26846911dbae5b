# SPDX-License-Identifier: BSD-3-Clause
"""Batch normalisation; see make_kernels.py."""

from torch import nn

from .common import apply, case, exported


def add_cases():
    case("conv_batchnorm", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 7, 3, padding=1, bias=False), nn.BatchNorm2d(7)),
        (3, 3, 7, 9)))
    case("conv_batchnorm_bias", lambda: exported(nn.Sequential(
        nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, eps=0.05)), (3, 4, 7, 5)))
    case("conv_batchnorm_opset11", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), (3, 3, 7, 9), 11))
    case("conv_batchnorm_opset17", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), (3, 3, 7, 9), 17))
    case("conv_batchnorm_groups", lambda: exported(nn.Sequential(
        nn.Conv2d(6, 6, 3, groups=6, padding=1, bias=False), nn.BatchNorm2d(6),
        nn.ReLU(), nn.Conv2d(6, 5, 1, bias=False), nn.BatchNorm2d(5)),
        (3, 6, 7, 5)))

    def silence(module):
        # The folded weights of this channel are zero: it is constant.
        module[1].weight.data[2] = 0.0
    case("conv_batchnorm_zero_scale", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6),
        nn.ReLU(), nn.Conv2d(6, 4, 1)), (3, 3, 7, 5), adjust=silence))
    case("batchnorm_conv", lambda: exported(nn.Sequential(
        nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3, padding=1)), (3, 4, 7, 5)))
    case("batchnorm_relu_conv", lambda: exported(nn.Sequential(
        nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1)),
        (3, 4, 7, 5)))
    case("batchnorm_two_readers", lambda: exported(apply(
        # The convolution is read without its batch norm as well.
        lambda x, c, n: (lambda y: n(y) + y)(c(x)),
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)), (3, 3, 5, 7)))
    case("batchnorm_two_convolutions", lambda: exported(apply(
        lambda x, a, b, n: n(a(x)) + n(b(x)),
        nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)),
        (3, 3, 5, 7)))
    case("linear_batchnorm", lambda: exported(nn.Sequential(
        nn.Flatten(), nn.Linear(75, 7), nn.BatchNorm1d(7)), (7, 3, 5, 5)))
