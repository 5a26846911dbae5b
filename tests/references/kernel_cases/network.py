# SPDX-License-Identifier: BSD-3-Clause
"""Small networks; see make_kernels.py."""

import torch
import torch.nn.functional as F
from torch import nn

from .common import apply, case, exported


def add_cases():
    def vgg():
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 7, 3, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(112, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 5))
    for opset in (11, 13, 17):
        case("network_vgg" + ("" if opset == 13 else "_opset%d" % opset),
             lambda opset=opset: exported(vgg(), (7, 3, 8, 8), opset))
    case("network_vgg_batchnorm", lambda: exported(nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6),
        nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 7, 3, padding=1), nn.BatchNorm2d(7), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 5),
        nn.Softmax(1)), (7, 3, 9, 8)))

    # Option A of He et al.: every other pixel, empty channels around.
    def padded(x, planes):
        return F.pad(x[:, :, ::2, ::2],
                     (0, 0, 0, 0, planes // 4, planes // 4))

    # The same with the padding left to the number of channels that arrive, and
    # so, in the file, worked out from the shape.
    def padded_by_shape(x, planes):
        missing = planes - x.shape[1]
        before = missing // 2
        return F.pad(x[:, :, ::2, ::2],
                     (0, 0, 0, 0, before, missing - before))

    class Block(nn.Module):
        def __init__(self, inputs, planes, stride=1, shortcut=None):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.planes = planes
            self.shortcut = shortcut
            if stride > 1 and shortcut is None:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, planes, 1, stride, bias=False),
                    nn.BatchNorm2d(planes))

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            if isinstance(self.shortcut, nn.Module):
                x = self.shortcut(x)
            elif self.shortcut:
                x = self.shortcut(x, self.planes)
            return F.relu(y + x)

    class Residual(nn.Module):
        def __init__(self, shortcut=None):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(4)
            self.layer1 = Block(4, 4)
            self.layer2 = Block(4, 8, 2, shortcut)
            self.linear = nn.Linear(8, 5)

        def forward(self, x):
            x = F.relu(self.bn1(self.conv1(x)))
            x = self.layer2(self.layer1(x))
            # As CIFAR networks are mostly written: pooled by size, and
            # flattened through the sizes at hand.
            x = F.avg_pool2d(x, int(x.size(3)))
            return self.linear(x.view(x.size(0), -1))

    shape = (5, 3, 9, 9)

    # With all nodes kept, and as the exporter writes it by default.
    for name, shortcut in (("", None), ("_padded", padded),
                           ("_padded_by_shape", padded_by_shape)):
        case("network_residual" + name,
             lambda shortcut=shortcut: exported(Residual(shortcut), shape))
        case("network_residual%s_folded" % name,
             lambda shortcut=shortcut: exported(Residual(shortcut), shape,
                                                keep=False))
    for opset in (11, 17):
        case("network_residual_padded_opset%d" % opset,
             lambda opset=opset: exported(Residual(padded), shape, opset))

    case("network_mobile", lambda: exported(apply(
        lambda x, stem, wide, deep, flat, head: (
            lambda y: head((y + flat(deep(wide(y)))).mean((2, 3))))(stem(x)),
        nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1, bias=False), nn.BatchNorm2d(5),
                      nn.ReLU6()),
        nn.Sequential(nn.Conv2d(5, 10, 1, bias=False), nn.BatchNorm2d(10),
                      nn.ReLU6()),
        nn.Sequential(nn.Conv2d(10, 10, 3, 1, 1, groups=10, bias=False),
                      nn.BatchNorm2d(10), nn.ReLU6()),
        nn.Sequential(nn.Conv2d(10, 5, 1, bias=False), nn.BatchNorm2d(5)),
        nn.Linear(5, 4)), (5, 3, 11, 9)))

    case("network_dense", lambda: exported(apply(
        lambda x, stem, one, two, head: (lambda y: (
            lambda z: head(torch.cat([z, two(z)], 1)))(
                torch.cat([y, one(y)], 1)))(stem(x)),
        nn.Conv2d(3, 4, 3, 1, 1),
        nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(),
                      nn.Conv2d(4, 3, 3, 1, 1, bias=False)),
        nn.Sequential(nn.BatchNorm2d(7), nn.ReLU(),
                      nn.Conv2d(7, 3, 3, 1, 1, bias=False)),
        nn.Sequential(nn.BatchNorm2d(10), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                      nn.Flatten(), nn.Linear(10, 5))), (5, 3, 7, 9)))

    case("network_linear", lambda: exported(nn.Sequential(
        nn.Flatten(), nn.Linear(75, 11), nn.ReLU(), nn.Linear(11, 7),
        nn.ReLU(), nn.Linear(7, 5), nn.LogSoftmax(1)), (7, 3, 5, 5)))
