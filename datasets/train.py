#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Train small Fashion-MNIST networks and export them as ONNX."""

import argparse
import inspect
import json
import os
import random
import time

import common
import fashion_mnist
import fashion_networks

numpy = torch = nn = F = onnx = None

# Images at the head of the test set that are embedded as fashion-test.h5.
SUBSET = 2000


def load_libraries():
    """Import late, so that --help works without PyTorch."""
    global numpy, torch, nn, F, onnx
    numpy = common.require("numpy", "numpy")
    torch = common.require("torch", "torch")
    onnx = common.require("onnx", "onnx")
    nn = torch.nn
    F = torch.nn.functional


# Name of each network, how to build it, and whether its batch norms are
# folded: one network of each kind, as both are met in practice. None: where
# the exporter can. The first two are embedded.
NETWORKS = {
    "vgg-fashion": (lambda: fashion_networks.build_vgg(nn, F), True),
    "resnet-fashion": (lambda: fashion_networks.build_resnet(nn, F), False),
    "mobile-fashion": (lambda: fashion_networks.build_mobile(nn, F), None),
    "dense-fashion": (lambda: fashion_networks.build_dense(nn, F), None),
    "resnext-fashion": (lambda: fashion_networks.build_resnext(nn, F), None),
    "vit-fashion": (lambda: fashion_networks.build_vit(nn, F), None),
}
EMBEDDED = ("vgg-fashion", "resnet-fashion")


def initialise(model):
    """He initialisation: the networks have to train in few epochs."""
    if getattr(model, "initialised", False):
        return
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out",
                                    nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)


def normalise(images):
    """What the network sees; the data-set files carry the same constants."""
    x = torch.from_numpy(images.astype(numpy.float32))
    scale = numpy.float32(fashion_mnist.SCALE)
    return (x * float(scale) - fashion_mnist.MEAN[0]) / fashion_mnist.STD[0]


def augment(images, generator):
    """Shift each image by up to 2 pixels, mirror half of them."""
    number, _, height, width = images.shape
    padded = numpy.pad(images[:, 0], ((0, 0), (2, 2), (2, 2)))
    rows = (generator.integers(0, 5, (number, 1))
            + numpy.arange(height))[:, :, None]
    columns = generator.integers(0, 5, (number, 1)) + numpy.arange(width)
    mirrored = generator.random((number, 1)) < 0.5
    columns = numpy.where(mirrored, columns[:, ::-1], columns)[:, None, :]
    return padded[numpy.arange(number)[:, None, None], rows, columns][:, None]


def train(model, images, labels, options):
    """SGD with momentum under a one-cycle learning rate."""
    generator = numpy.random.default_rng(options.seed)
    target = torch.from_numpy(labels.astype(numpy.int64))
    number = len(images)
    steps = (number + options.batch - 1) // options.batch

    # Weight decay is for the weights; on biases and batch norms it only
    # shrinks activations.
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.SGD(
        [{"params": weights, "weight_decay": options.weight_decay},
         {"params": others, "weight_decay": 0.0}],
        lr=options.rate, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=options.epochs * steps,
        pct_start=0.2, cycle_momentum=False)

    model.to(memory_format=torch.channels_last)
    for epoch in range(options.epochs):
        model.train()
        start = time.monotonic()
        order = generator.permutation(number)
        loss_sum = 0.0
        right = 0
        for first in range(0, number, options.batch):
            pick = order[first:first + options.batch]
            x = normalise(augment(images[pick], generator))
            x = x.contiguous(memory_format=torch.channels_last)
            y = target[pick]
            with torch.autocast("cpu", dtype=torch.bfloat16,
                                enabled=options.precision == "bfloat16"):
                logits = model(x)
            logits = logits.float()
            loss = F.cross_entropy(logits, y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += float(loss) * len(pick)
            right += int((logits.argmax(1) == y).sum())
        print("epoch %d/%d: loss %.4f, training accuracy %.2f %%, %.0f s"
              % (epoch + 1, options.epochs, loss_sum / number,
                 100.0 * right / number, time.monotonic() - start),
              flush=True)
    model.to(memory_format=torch.contiguous_format)


def correct(model, images, labels):
    """For each image, whether the network is right; in float32."""
    result = []
    with torch.no_grad():
        for first in range(0, len(images), 500):
            part = slice(first, first + 500)
            choice = model(normalise(images[part])).argmax(1).numpy()
            result.append(choice == labels[part])
    return numpy.concatenate(result)


def check(path, folded):
    """The exported file has to be what the networks are embedded for."""
    network = onnx.load(path)
    try:
        onnx.checker.check_model(network, full_check=True)
    except Exception as error:
        raise common.DataError(path, "ONNX checker: %s"
                               % str(error).splitlines()[0]) from None
    nodes = network.graph.node
    norms = [n for n in nodes if n.op_type == "BatchNormalization"]
    if folded and norms:
        raise common.DataError(path, "%d batch norms were not folded"
                               % len(norms))
    if folded is False and not norms:
        raise common.DataError(path, "the batch norms were folded away")
    if any(len(n.output) != 1 for n in norms):
        raise common.DataError(path, "a batch norm is in training form")
    for unwanted in ("Dropout", "Identity"):
        if any(n.op_type == unwanted for n in nodes):
            raise common.DataError(path, "a node %s is left" % unwanted)


def untie(graph):
    """Give every parameter its own values.

    The exporter stores equal parameters once and refers to the others through
    Identity nodes. The two batch norms that end in one addition always learn
    equal biases, so that this does happen; a pruned network needs them apart.
    """
    values = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Identity" and node.input[0] in values:
            copy = graph.initializer.add()
            copy.CopyFrom(values[node.input[0]])
            copy.name = node.output[0]
            graph.node.remove(node)


def export(model, path, name, folded):
    def write(aside):
        # PRESERVE keeps batch norms apart from the convolutions, and writes
        # them in inference form because the model is in evaluation mode.
        mode = torch.onnx.TrainingMode
        plain = {"dynamo": False} if "dynamo" in inspect.signature(
            torch.onnx.export).parameters else {}
        torch.onnx.export(
            model, torch.zeros(1, 1, 28, 28), aside, opset_version=13,
            input_names=["input"], output_names=["logits"],
            dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
            training=mode.PRESERVE if folded is False else mode.EVAL,
            do_constant_folding=folded is not False, **plain)
        network = onnx.load(aside)
        network.graph.name = name
        untie(network.graph)
        onnx.save(network, aside)
        check(aside, folded)

    common.replace_file(path, write)


def run_network(name, data, options):
    build, folded = NETWORKS[name]
    (images, labels), (test_images, test_labels) = data
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    model = build()
    initialise(model)
    parameters = sum(p.numel() for p in model.parameters())
    print("%s: %d parameters, %d training images, %d epochs, seed %d, %s"
          % (name, parameters, len(images), options.epochs, options.seed,
             options.precision), flush=True)

    start = time.monotonic()
    train(model, images, labels, options)
    seconds = time.monotonic() - start
    model.eval()
    if folded:
        model.fold()

    path = os.path.join(options.output, name + ".onnx")
    export(model, path, name, folded)
    right = correct(model, test_images, test_labels)
    subset = right[:SUBSET]
    result = {
        "network": name,
        "parameters": parameters,
        "training_images": len(images),
        "epochs": options.epochs,
        "seed": options.seed,
        "batch": options.batch,
        "rate": options.rate,
        "weight_decay": options.weight_decay,
        "threads": options.threads,
        "precision": options.precision,
        "torch": torch.__version__,
        "seconds": round(seconds),
        "test": {"images": len(right), "correct": int(right.sum()),
                 "accuracy": float(right.mean())},
        "embedded_test": {"images": len(subset), "correct": int(subset.sum()),
                          "accuracy": float(subset.mean())},
    }

    def write(aside):
        with open(aside, "w") as stream:
            json.dump(result, stream, indent=2)
            stream.write("\n")

    common.replace_file(os.path.join(options.output, name + ".json"), write)
    for what in ("test", "embedded_test"):
        print("%s: %s: %d of %d right, accuracy %.2f %%"
              % (name, what.replace("_", " "), result[what]["correct"],
                 result[what]["images"], 100.0 * result[what]["accuracy"]))
    print("%s: %d bytes" % (path, os.path.getsize(path)), flush=True)


def main():
    parser = argparse.ArgumentParser(
        description="Train networks on Fashion-MNIST and export each as "
        "NAME.onnx (opset 13, input \"input\" [batch, 1, 28, 28], output "
        "\"logits\" [batch, 10]) with its settings and measured accuracy in "
        "NAME.json. vgg-fashion has its batch norms folded into the "
        "convolutions, resnet-fashion keeps them as BatchNormalization; of the "
        "others those are folded that stand behind a convolution.",
        epilog="Needs PyTorch and onnx. Results repeat exactly only with the "
        "same version of PyTorch, processor type, precision and number of "
        "threads. Exit status: 0 done, 2 wrong option, 3 unusable file.")
    parser.add_argument(
        "network", nargs="*", metavar="NETWORK",
        help="%s (default: the first two, one after another)"
        % ", ".join(NETWORKS))
    parser.add_argument(
        "--source", metavar="FOLDER", default=fashion_mnist.SOURCE,
        help="folder with the four idx files (default: %(default)s)")
    common.add_output_folder(parser)
    parser.add_argument(
        "--epochs", metavar="N", type=common.count, default=14,
        help="passes over the training set (default: %(default)s)")
    parser.add_argument(
        "--seed", metavar="N", type=int, default=1,
        help="seed of every random choice (default: %(default)s)")
    parser.add_argument(
        "--threads", metavar="N", type=common.count, default=1,
        help="threads of PyTorch (default: %(default)s)")
    parser.add_argument(
        "--limit", metavar="N", type=common.count,
        help="train on the first N images only, for a quick trial")
    parser.add_argument(
        "--batch", metavar="N", type=common.count, default=128,
        help="images per step (default: %(default)s)")
    parser.add_argument(
        "--rate", metavar="X", type=common.positive, default=0.1,
        help="highest learning rate of the cycle (default: %(default)s)")
    parser.add_argument(
        "--weight-decay", metavar="X", type=common.positive, default=5e-4,
        help="weight decay (default: %(default)s)")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="bfloat16",
        help="arithmetic of convolutions in training; bfloat16 is more than "
        "twice as fast on processors that have it; weights, export and "
        "measurement are float32 either way (default: %(default)s)")
    options = parser.parse_args()
    for name in options.network:
        if name not in NETWORKS:
            parser.error("unknown network '%s' (there are: %s)"
                         % (name, ", ".join(NETWORKS)))
    if options.seed < 0:
        parser.error("--seed must not be negative")

    load_libraries()
    torch.set_num_threads(options.threads)
    images, labels = fashion_mnist.load(options.source, "train")
    data = ((images[:options.limit], labels[:options.limit]),
            fashion_mnist.load(options.source, "test"))
    common.make_folder(options.output)
    for name in options.network or EMBEDDED:
        run_network(name, data, options)
    return 0


if __name__ == "__main__":
    common.run(main)
