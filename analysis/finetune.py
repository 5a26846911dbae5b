#!/usr/bin/env python3
"""Trains a pruned network for some more epochs and writes it as ONNX.

reap needs no retraining. With labels and time, training recovers part of the lost accuracy. PyTorch runs the network of
the ONNX file and also trains its batch norms, by stochastic gradient descent with momentum and a cosine schedule. With
--teacher the original's soft-max is a second target, or the only one without labels.
"""
import argparse
import os
import sys
import time

import results
import script


class ImageFile:
    """A data set of reap's, normalised as the network sees it."""

    def __init__(self, path, limit):
        import torch
        self.path = path
        with results.hdf5(path, "a data set with images") as f:
            if "images" not in f:
                raise script.UserError("%s: no /images in it; wanted a data set for a network of one input" % path)
            data = f["images"]
            self.images = torch.from_numpy(data[:limit or None])
            self.labels = torch.from_numpy(f["labels"][:limit or None].astype("int64")) if "labels" in f else None
            self.affine = None
            if data.dtype == "uint8":
                shape = (1, -1, 1, 1)
                mean = torch.tensor(data.attrs["mean"], dtype=torch.float32).reshape(shape)
                std = torch.tensor(data.attrs["std"], dtype=torch.float32).reshape(shape)
                self.affine = (float(data.attrs["scale"]), mean, std)

    def __len__(self):
        return len(self.images)

    def batch(self, places):
        x = self.images[places].float()
        if self.affine:
            scale, mean, std = self.affine
            x = (x * scale - mean) / std
        return x, None if self.labels is None else self.labels[places]


def augment(x, shift, generator):
    """Random mirror images and shifts with zeros coming in: what small images are usually trained with."""
    import torch
    flips = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(flips[:, None, None, None], x.flip(3), x)
    if shift == 0:
        return x
    padded = torch.nn.functional.pad(x, [shift] * 4)
    places = torch.randint(0, 2 * shift + 1, (len(x), 2), generator=generator)
    height, width = x.shape[2:]
    return torch.stack([p[:, r:r + height, c:c + width] for p, (r, c) in zip(padded, places.tolist())])


def accuracy(module, data, batch):
    import torch
    module.eval()
    right, loss = 0, 0.0
    with torch.no_grad():
        for start in range(0, len(data), batch):
            x, labels = data.batch(slice(start, start + batch))
            logits = module(x)
            right += int((logits.argmax(1) == labels).sum())
            loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
    return right / len(data), loss / len(data)


def accuracy_text(module, test):
    right, loss = accuracy(module, test, 256)
    return "test top-1 %.2f %%, loss %.4f" % (100 * right, loss)


def objective(logits, labels, taught, weight):
    import torch
    total = 0.0
    if labels is not None and (taught is None or weight < 1):
        total = (1 - weight if taught is not None else 1) * torch.nn.functional.cross_entropy(logits, labels)
    if taught is not None:
        share = weight if labels is not None else 1
        total = total + share * torch.nn.functional.kl_div(torch.log_softmax(logits, 1), torch.softmax(taught, 1),
                                                           reduction="batchmean")
    return total


def train(module, teacher, data, test, arguments):
    import math
    import torch
    generator = torch.Generator().manual_seed(arguments.seed)
    optimizer = torch.optim.SGD(module.parameters(), lr=arguments.lr, momentum=0.9, nesterov=True,
                                weight_decay=arguments.weight_decay)
    batches = -(-len(data) // arguments.batch)
    for epoch in range(arguments.epochs):
        module.train()
        order, start, sum_loss = torch.randperm(len(data), generator=generator), time.time(), 0.0
        for k in range(batches):
            progress = (epoch + k / batches) / arguments.epochs
            for group in optimizer.param_groups:
                group["lr"] = arguments.lr * 0.5 * (1 + math.cos(math.pi * progress))
            x, labels = data.batch(order[k * arguments.batch:(k + 1) * arguments.batch])
            x = augment(x, arguments.shift, generator) if arguments.augment else x
            with torch.no_grad():
                taught = teacher(x) if teacher else None
            loss = objective(module(x), labels, taught, arguments.distill)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sum_loss += loss.item()
            if not math.isfinite(sum_loss):
                sys.exit("finetune.py: the loss is no longer a number; try a smaller --lr")
        line = "epoch %d/%d: loss %.4f" % (epoch + 1, arguments.epochs, sum_loss / batches)
        if test:
            line += ", " + accuracy_text(module, test)
        print("%s (%.0f s)" % (line, time.time() - start), flush=True)


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", metavar="PRUNED.onnx")
    parser.add_argument("--data", required=True, metavar="D.h5",
                        help="training images (reap's format), with labels unless --teacher is given")
    parser.add_argument("--eval", metavar="D.h5", help="test images: accuracy before, after every epoch and in the end")
    parser.add_argument("--teacher", metavar="ORIGINAL.onnx", help="distil from the original")
    parser.add_argument("--distill", type=float, default=0.5,
                        help="the teacher's share of the loss if there are labels (default 0.5)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.005, help="learning rate at the start (default 0.005)")
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--augment", action="store_true", help="mirror images and shifts by up to --shift pixels")
    parser.add_argument("--shift", type=int, default=4)
    parser.add_argument("--images", type=int, default=0, help="use the first N only")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", required=True, metavar="OUT.onnx")
    return parser.parse_args()


def check_sizes(path, module, data):
    """Before any training: images fit the network, and labels its classes."""
    import torch
    wanted, given = module.input_shape, list(data.images.shape)
    if len(wanted) != len(given) or any(w not in (None, g) for w, g in zip(wanted[1:], given[1:])):
        raise script.UserError("%s: images of %s; %s takes %s (? is any)" % (
            data.path, "x".join(map(str, given[1:])), path, "x".join(str(w or "?") for w in wanted[1:])))
    x, labels = data.batch(slice(0, 2))
    module.eval()
    with torch.no_grad():
        outputs = module(x)
    if outputs.dim() != 2:
        raise script.UserError("%s: its output has the shape %s; wanted scores of classes"
                               % (path, list(outputs.shape)))
    if labels is not None and int(data.labels.max()) >= outputs.shape[1]:
        raise script.UserError("%s: label %d, but %s has %d classes"
                               % (data.path, data.labels.max(), path, outputs.shape[1]))


def load(arguments):
    """(network, teacher or None, training images, test images or None), which fit one another."""
    import onnx_torch
    module = onnx_torch.load(arguments.model)
    teacher = onnx_torch.load(arguments.teacher).eval() if arguments.teacher else None
    data = ImageFile(arguments.data, arguments.images)
    test = ImageFile(arguments.eval, 0) if arguments.eval else None
    if data.labels is None and not teacher:
        raise script.UserError("%s has no labels; give --teacher ORIGINAL.onnx to learn from" % arguments.data)
    if test and test.labels is None:
        raise script.UserError("%s has no labels to measure accuracy with" % arguments.eval)
    for path, network, images in ((arguments.model, module, data), (arguments.teacher, teacher, data),
                                  (arguments.model, module, test)):
        if network and images:
            check_sizes(path, network, images)
    return module, teacher, data, test


def main():
    arguments = options()
    script.check_output(arguments.output)
    import torch
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    module, teacher, data, test = load(arguments)
    if test:
        print("before: " + accuracy_text(module, test), flush=True)
    train(module, teacher, data, test, arguments)
    module.eval()
    beside = arguments.output + ".part"
    module.write(beside)
    os.replace(beside, arguments.output)
    print("written %s" % arguments.output)


if __name__ == "__main__":
    script.run(main)
