#!/usr/bin/env python3
"""Forward pass of reap, onnxruntime and PyTorch side by side, one thread each.

Two networks: ResNet-56 for 32x32 images (--model, or random weights) in blocks of 64, and a ResNet-18 of random
weights at 224x224, built here and exported to a temporary folder. reap is measured by `reap eval --report` (seconds
of its forward pass), the others by running the same number of images in blocks of 64 or 8. Each figure is the best
of --repeat runs, the three taking turns. onnxruntime may live in another Python: --ort-python.

With ONNX files as arguments (of one square image each) these are measured in place of the two, without PyTorch.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

ORT_SCRIPT = """
import sys, time, numpy, onnxruntime
path, batch, images, size = sys.argv[1], *map(int, sys.argv[2:5])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
x = numpy.random.default_rng(0).standard_normal((batch, 3, size, size), dtype=numpy.float32)
session.run(None, {name: x})
start = time.perf_counter()
for _ in range(images // batch):
    session.run(None, {name: x})
print(time.perf_counter() - start)
"""


def torch_resnet(torch, blocks, widths, stem, classes):
    """A residual network of basic blocks; `stem` is "imagenet" (7x7, stride 2, pooling) or "cifar" (3x3)."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
            change = stride != 1 or inputs != outputs
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if change else nn.Identity()

        def forward(self, x):
            return torch.relu(self.conv2(torch.relu(self.conv1(x))) + self.shortcut(x))

    imagenet = stem == "imagenet"
    layers = [nn.Conv2d(3, widths[0], 7, 2, 3) if imagenet else nn.Conv2d(3, widths[0], 3, 1, 1), nn.ReLU()]
    if imagenet:
        layers.append(nn.MaxPool2d(3, 2, 1))
    inputs = widths[0]
    for stage, (count, width) in enumerate(zip(blocks, widths)):
        for k in range(count):
            layers.append(Block(inputs, width, 2 if stage > 0 and k == 0 else 1))
            inputs = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
    return nn.Sequential(*layers).eval()


def time_torch(torch, model, batch, images, size, channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(batch, 3, size, size).to(memory_format=layout)
    model = model.to(memory_format=layout)
    with torch.inference_mode():
        model(x)
        start = time.perf_counter()
        for _ in range(images // batch):
            model(x)
        return time.perf_counter() - start


def time_ort(python, path, batch, images, size):
    command = [python, "-c", ORT_SCRIPT, path, str(batch), str(images), str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write_images(path, images, size):
    import h5py
    import numpy
    x = numpy.random.default_rng(0).standard_normal((images, 3, size, size), dtype=numpy.float32)
    with h5py.File(path, "w") as f:
        f["images"] = x
        f["images"].attrs["layout"] = "NCHW"


def time_reap(program, path, data, folder):
    report = os.path.join(folder, "report.json")
    subprocess.run([program, "eval", path, "--data", data, "--report", report], check=True, capture_output=True)
    with open(report) as f:
        return json.load(f)["baseline"]["forward_seconds"]


def measure(name, path, model, torch, options, batch, images, size, folder):
    data = os.path.join(folder, f"{size}.h5")
    write_images(data, images, size)
    best = {}

    def note(key, seconds):
        best[key] = min(best.get(key, seconds), seconds)

    for _ in range(options.repeat):
        note("reap", time_reap(options.reap, path, data, folder))
        if options.ort_python:
            note("onnxruntime", time_ort(options.ort_python, path, batch, images, size))
        if model:
            note("PyTorch, NCHW", time_torch(torch, model, batch, images, size, False))
            note("PyTorch, channels last", time_torch(torch, model, batch, images, size, True))
    print(f"\n{name}: {images} images of {size}x{size}, blocks of {batch}, one thread, best of {options.repeat}")
    for key, seconds in best.items():
        print(f"  {key:24} {1000 * seconds / images:9.3f} ms an image   {seconds / best['reap']:5.2f} x reap's time")
    return {"name": name, "images": images, "seconds": best}


def image_size(path):
    import onnx
    graph = onnx.load(path, load_external_data=False).graph
    constants = {t.name for t in graph.initializer}
    shape = [i.type.tensor_type.shape.dim for i in graph.input if i.name not in constants][0]
    return shape[-1].dim_value


def measure_own(options, folder):
    """Networks of 3 x 32 x 32 and random weights, and of 3 x 224 x 224, built here."""
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = []
    small = torch_resnet(torch, [9, 9, 9], [16, 32, 64], "cifar", 10)
    large = torch_resnet(torch, [2, 2, 2, 2], [64, 128, 256, 512], "imagenet", 1000)
    cases = [("ResNet-56", small, 64, 640, 32, options.model), ("ResNet-18", large, 8, 32, 224, None)]
    for name, model, batch, images, size, path in cases:
        if not path:
            path = os.path.join(folder, f"{name}.onnx")
            torch.onnx.export(model, torch.randn(1, 3, size, size), path, input_names=["x"], opset_version=13,
                              dynamic_axes={"x": {0: "batch"}})
        results.append(measure(name, path, model, torch, options, batch, images, size, folder))
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="ONNX files; default: the two networks above")
    parser.add_argument("--reap", default="build/reap", help="the program (default: %(default)s)")
    parser.add_argument("--model", help="ONNX file of ResNet-56 for 32x32 images; default: random weights")
    parser.add_argument("--ort-python", help="Python that has onnxruntime; without it onnxruntime is left out")
    parser.add_argument("--repeat", type=int, default=3,
                        help="runs of each, of which the best counts (default: %(default)s)")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = [measure(path, path, None, None, options, 8, 32, image_size(path), folder)
                       for path in options.networks] or measure_own(options, folder)
    except ImportError as error:
        sys.exit(f"forward_speed.py: {error}; needs h5py, and torch or onnx")
    if options.json:
        with open(options.json, "w") as f:
            json.dump(results, f, indent=1)


if __name__ == "__main__":
    main()
