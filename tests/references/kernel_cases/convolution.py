# SPDX-License-Identifier: BSD-3-Clause
"""Convolutions; see make_kernels.py."""

from torch import nn

from .common import built, case, conv, exported, node, normal, same_pads, weights


def add_cases():
    def layer(name, shape, *arguments, opset=13, **options):
        case(name, lambda: exported(nn.Conv2d(*arguments, **options), shape,
                                    opset))

    layer("conv_1x1", (3, 5, 7, 5), 5, 7, 1)
    layer("conv_3x3_pad1", (3, 3, 9, 7), 3, 8, 3, padding=1)
    layer("conv_3x3_no_pad", (3, 4, 7, 9), 4, 6, 3)
    layer("conv_5x5", (3, 3, 9, 7), 3, 4, 5, padding=2)
    layer("conv_7x7_stride2", (3, 3, 13, 11), 3, 3, 7, stride=2, padding=3)
    layer("conv_2x2_stride2", (3, 4, 7, 9), 4, 5, 2, stride=2)
    layer("conv_stride2", (3, 3, 9, 7), 3, 7, 3, stride=2, padding=1)
    layer("conv_stride2_even", (3, 3, 8, 10), 3, 5, 3, stride=2, padding=1)
    layer("conv_stride_uneven", (3, 3, 9, 11), 3, 5, 3, stride=(2, 3),
          padding=1)
    layer("conv_1x1_stride2", (3, 6, 7, 9), 6, 9, 1, stride=2)
    layer("conv_dilation2", (3, 3, 11, 9), 3, 6, 3, dilation=2, padding=2)
    layer("conv_dilation_uneven", (3, 3, 11, 9), 3, 5, 3, dilation=(1, 3),
          padding=(0, 1))
    layer("conv_kernel_uneven", (3, 3, 7, 9), 3, 5, (3, 5), padding=(1, 2))
    layer("conv_kernel_1x3", (3, 4, 5, 7), 4, 6, (1, 3), padding=(0, 1))
    layer("conv_whole_image", (7, 3, 5, 7), 3, 5, (5, 7))
    layer("conv_wide_pad", (3, 3, 5, 7), 3, 4, 3, padding=4)
    layer("conv_groups2", (3, 6, 7, 5), 6, 8, 3, groups=2, padding=1)
    layer("conv_depthwise", (3, 7, 9, 7), 7, 7, 3, groups=7, padding=1)
    layer("conv_depthwise_twice", (3, 4, 7, 9), 4, 8, 3, groups=4, stride=2,
          padding=1)
    layer("conv_no_bias", (3, 4, 7, 5), 4, 6, 3, padding=1, bias=False)
    layer("conv_20_channels", (3, 20, 5, 7), 20, 19, 1)
    layer("conv_opset11", (3, 3, 7, 5), 3, 5, 3, opset=11, padding=1)
    layer("conv_opset17", (3, 3, 7, 5), 3, 5, 3, opset=17, padding=1)

    def pads_uneven():
        w, b, pads = weights(5, 3, 3, 3), normal(5), [1, 0, 2, 3]
        return built(
            [node("Conv", "input w b", name="padded", kernel_shape=[3, 3],
                  pads=pads)],
            {"w": w, "b": b}, (3, 3, 7, 9), lambda x: conv(x, w, b, pads))
    case("conv_pads_uneven", pads_uneven)

    def pads_uneven_strided():
        w, pads = weights(6, 4, 3, 2), [0, 1, 1, 0]
        return built(
            [node("Conv", "input w", kernel_shape=[3, 2], pads=pads,
                  strides=[2, 1])],
            {"w": w}, (3, 4, 8, 7),
            lambda x: conv(x, w, None, pads, stride=(2, 1)))
    case("conv_pads_uneven_stride2", pads_uneven_strided)

    # Sizes with an odd number of padded rows and columns: the two kinds of
    # SAME put the odd one on different sides.
    def auto_pad(kind, shape, kernel, stride):
        def make():
            w, b = weights(5, shape[1], *kernel), normal(5)
            pads = [0, 0, 0, 0]
            if kind != "VALID":
                pads = same_pads(shape[2:], kernel, stride,
                                 kind == "SAME_LOWER")
            return built(
                [node("Conv", "input w b", auto_pad=kind, strides=stride,
                      kernel_shape=kernel)],
                {"w": w, "b": b}, shape,
                lambda x: conv(x, w, b, pads, stride=tuple(stride)))
        return make
    case("conv_same_upper", auto_pad("SAME_UPPER", (3, 3, 7, 9), [4, 2],
                                     [1, 1]))
    case("conv_same_lower", auto_pad("SAME_LOWER", (3, 3, 7, 9), [4, 2],
                                     [1, 1]))
    case("conv_same_upper_stride2", auto_pad("SAME_UPPER", (3, 3, 8, 11),
                                             [3, 3], [2, 2]))
    case("conv_same_lower_stride2", auto_pad("SAME_LOWER", (3, 3, 8, 11),
                                             [3, 3], [2, 2]))
    # Nothing is padded, and nothing cut, where the stride exceeds the kernel.
    case("conv_same_upper_stride3", auto_pad("SAME_UPPER", (3, 3, 9, 8),
                                             [2, 2], [3, 3]))
    case("conv_auto_pad_valid", auto_pad("VALID", (3, 3, 7, 8), [3, 2],
                                         [2, 1]))

    def bare():
        # All attributes left to their defaults, kernel_shape included.
        w = weights(4, 3, 3, 5)
        return built([node("Conv", "input w")], {"w": w}, (3, 3, 7, 9),
                     lambda x: conv(x, w))
    case("conv_no_attributes", bare)

    def bias_left_out():
        w = weights(4, 3, 2, 2)
        return built([node("Conv", "input w -", auto_pad="NOTSET")], {"w": w},
                     (3, 3, 5, 7), lambda x: conv(x, w))
    case("conv_bias_left_out", bias_left_out)
