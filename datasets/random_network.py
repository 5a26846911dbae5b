#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write a network of VGG's shapes with random weights, and images to go with it.

For trying out time and memory at the size of real networks: what is pruned
from random weights is of no use, but takes as long and as much memory. Needs
NumPy, h5py and onnx; no PyTorch.
"""

import argparse
import os
import sys

import common

# Output channels of the convolutions; M is a max pooling that halves the size.
SHAPES = {
    "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
}
HIDDEN = 4096


class Network:
    """An ONNX graph that grows node by node."""

    def __init__(self, seed):
        self.numpy = common.require("numpy", "numpy")
        self.onnx = common.require("onnx", "onnx")
        self.helper = self.onnx.helper
        __import__("onnx.numpy_helper")
        self.random = self.numpy.random.default_rng(seed)
        self.nodes, self.weights = [], []
        self.last = "image"

    def constant(self, name, values):
        tensor = self.onnx.numpy_helper.from_array(
            values.astype(self.numpy.float32), name)
        self.weights.append(tensor)
        return name

    def step(self, op, name, constants=(), **attributes):
        self.nodes.append(self.helper.make_node(
            op, [self.last, *constants], [name], name, **attributes))
        self.last = name

    def layer(self, op, name, shape, **attributes):
        """Weights that keep the activations' scale, and small biases."""
        inputs = 1
        for extent in shape[1:]:
            inputs *= extent
        weights = self.random.standard_normal(shape, self.numpy.float32)
        weights *= (2.0 / inputs) ** 0.5
        biases = 0.05 * self.random.standard_normal(shape[0],
                                                    self.numpy.float32)
        self.step(op, name, [self.constant(name + ".weight", weights),
                             self.constant(name + ".bias", biases)],
                  **attributes)

    def save(self, path, size, classes):
        helper, types = self.helper, self.onnx.TensorProto
        graph = helper.make_graph(
            self.nodes, "random",
            [helper.make_tensor_value_info("image", types.FLOAT,
                                           ["N", 3, size, size])],
            [helper.make_tensor_value_info(self.last, types.FLOAT,
                                           ["N", classes])], self.weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        self.onnx.checker.check_model(model)
        common.replace_file(path, lambda aside: self.onnx.save(model, aside))


def build(shape, size, classes, seed):
    network = Network(seed)
    channels, stage, place = 3, 1, 0
    for item in SHAPES[shape].split():
        if item == "M":
            network.step("MaxPool", "pool%d" % stage, kernel_shape=[2, 2],
                         strides=[2, 2])
            stage, place, size = stage + 1, 0, size // 2
            continue
        place += 1
        name = "conv%d_%d" % (stage, place)
        network.layer("Conv", name, (int(item), channels, 3, 3),
                      kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        network.step("Relu", name + ".relu")
        channels = int(item)
    network.step("Flatten", "flatten")
    columns = channels * size * size
    for name, rows in (("fc6", HIDDEN), ("fc7", HIDDEN), ("fc8", classes)):
        network.layer("Gemm", name, (rows, columns), transB=1)
        if name != "fc8":
            network.step("Relu", name + ".relu")
        columns = rows
    return network


def make_images(count, size, seed):
    """Smooth colours with some noise, [count, 3, size, size] bytes."""
    numpy = common.require("numpy", "numpy")
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:size, 0:size] / 8.0
    images = numpy.empty((count, 3, size, size), numpy.uint8)
    for image in images:
        for plane in image:
            a, b, c, d = random.uniform(0.1, 2.0, 4)
            smooth = numpy.sin(a * x + b * y) + numpy.sin(c * x - d * y)
            noise = random.standard_normal((size, size))
            plane[:] = numpy.clip(128 + 50 * smooth + 20 * noise, 0, 255)
    return images


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("-o", "--output", metavar="NET.onnx", required=True,
                        help="the network")
    parser.add_argument("--data", metavar="D.h5",
                        help="images of that size, as a data-set file")
    parser.add_argument("--images", type=common.count, default=64,
                        metavar="N", help="how many (default %(default)s)")
    parser.add_argument("--size", type=common.count, default=224,
                        metavar="S", help="height and width, a multiple of 32 "
                        "(default %(default)s)")
    parser.add_argument("--classes", type=common.count, default=1000,
                        metavar="K", help="outputs (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S",
                        help="of weights and images (default %(default)s)")
    options = parser.parse_args()
    if options.size % 32:
        parser.error("--size has to be a multiple of 32")
    if options.seed < 0:
        parser.error("--seed has to be at least 0")
    network = build(options.shape, options.size, options.classes, options.seed)
    network.save(options.output, options.size, options.classes)
    print("%s: %s, random weights, %d bytes"
          % (options.output, options.shape, os.path.getsize(options.output)))
    if options.data:
        common.write_dataset(
            options.data, make_images(options.images, options.size,
                                      options.seed), None,
            "random images", "datasets/random_network.py", [],
            scale=1 / 255.0, mean=[0.485, 0.456, 0.406],
            std=[0.229, 0.224, 0.225])
    return 0


if __name__ == "__main__":
    common.run(main)
