#!/usr/bin/env python3
"""The same pruning run in plain PyTorch, timed: what `reap prune --keep 0.5 --positions all` does to ResNet-56,
written the way one would write it in a script.

For each block of the residual network the input channels of its second convolution are pruned: the patches of the
calibration images (unfold) give the Gram matrix and the cross moments with the original output (and the shortcut's
drift), the channels go one by one by the exact growth of the squared error, and the weights left are solved
anew by least squares. Both networks advance together, block by block. The network is read from an ONNX file with folded
batch norms, as PyTorch exports it; inner groups only.
"""
import argparse
import json
import sys
import time


def load_network(path):
    """[(weights, bias, stride)] of the convolutions in order, shortcut convolutions apart, and the classifier's."""
    import numpy
    import onnx
    import torch
    from onnx import numpy_helper
    graph = onnx.load(path).graph
    values = {t.name: torch.from_numpy(numpy.array(numpy_helper.to_array(t))) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    convolutions = []
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        if len(node.input) < 3:
            sys.exit(f"torch_baseline.py: {node.name} has no bias; give a model with folded batch norms")
        strides = next((list(a.ints) for a in node.attribute if a.name == "strides"), [1, 1])
        convolutions.append((values[node.input[1]].float(), values[node.input[2]].float(), strides[0]))
    return convolutions


def load_images(path, count):
    import h5py
    import torch
    with h5py.File(path) as f:
        data = f["images"]
        images = torch.from_numpy(data[: count or None].astype("float32"))
        if data.dtype == "uint8":
            shape = (1, -1, 1, 1)
            mean = torch.tensor(data.attrs["mean"], dtype=torch.float32).reshape(shape)
            std = torch.tensor(data.attrs["std"], dtype=torch.float32).reshape(shape)
            images = (images * float(data.attrs["scale"]) - mean) / std
    return images


def conv(x, layer, stride=None):
    import torch
    weights, bias, own = layer
    return torch.nn.functional.conv2d(x, weights, bias, own if stride is None else stride, weights.shape[-1] // 2)


def shortcut(x, width):
    """Subsampled and padded with zeros where the shape changes (the CIFAR networks' shortcut of type A)."""
    import torch
    if x.shape[1] == width:
        return x
    x = x[:, :, ::2, ::2]
    missing = width - x.shape[1]
    return torch.nn.functional.pad(x, (0, 0, 0, 0, missing // 2, missing - missing // 2))


def moments(inputs, targets, dtype, chunk):
    """Centred Gram matrix [n, n] and cross moments [n, m] of all patches, and the means."""
    import torch
    n, m = inputs.shape[1] * 9, targets.shape[1]
    gram, cross = torch.zeros(n + 1, n + 1, dtype=torch.float64), torch.zeros(n + 1, m, dtype=torch.float64)
    for i in range(0, len(inputs), chunk):
        patches = torch.nn.functional.unfold(inputs[i:i + chunk], 3, padding=1)
        x = patches.permute(0, 2, 1).reshape(-1, n).to(dtype)
        x = torch.cat([x, torch.ones(len(x), 1, dtype=dtype)], 1)
        y = targets[i:i + chunk].permute(0, 2, 3, 1).reshape(-1, m).to(dtype)
        gram += (x.T @ x).double()
        cross += (x.T @ y).double()
    samples = gram[n, n]
    mean_x, mean_y = gram[n, :n] / samples, cross[n] / samples
    gram = gram[:n, :n] - samples * torch.outer(mean_x, mean_x)
    cross = cross[:n] - samples * torch.outer(mean_x, mean_y)
    return gram, cross, mean_x, mean_y


def eliminate(gram, cross, keep, block=9, ridge=1e-6):
    """Channels kept, by the exact growth of the squared error, and the weights re-solved for them."""
    import torch
    n = len(gram)
    scale = gram.diagonal().clamp_min(0).sqrt()
    scale = torch.where(scale > 1e-6 * scale.max(), scale, torch.full_like(scale, float("inf")))
    g = gram / scale[:, None] / scale[None, :]
    g += torch.diag(torch.where(scale.isinf(), torch.ones_like(scale), torch.full_like(scale, ridge)))
    c = cross / scale[:, None]
    inverse = torch.linalg.inv(g)
    weights = inverse @ c
    left = list(range(n // block))
    while len(left) > keep:
        growth = []
        for j in left:
            rows = slice(j * block, (j + 1) * block)
            growth.append((weights[rows] * torch.linalg.solve(inverse[rows, rows], weights[rows])).sum())
        j = left.pop(int(torch.stack(growth).argmin()))
        rows = slice(j * block, (j + 1) * block)
        factor = inverse[:, rows] @ torch.linalg.inv(inverse[rows, rows])
        weights = weights - factor @ weights[rows]
        inverse = inverse - factor @ inverse[rows, :]
    columns = torch.cat([torch.arange(j * block, (j + 1) * block) for j in left])
    solved = torch.linalg.solve(g[columns][:, columns], c[columns])
    return left, solved / scale[columns, None]


def batched(function, *tensors, size=64):
    import torch
    return torch.cat([function(*(t[i:i + size] for t in tensors)) for i in range(0, len(tensors[0]), size)])


def prune_block(first, second, original, pruned, keep_share, dtype, chunk, seconds):
    """One residual block of both networks: outputs of the original and of the pruned one."""
    import torch
    relu = torch.relu
    width = second[0].shape[0]
    start = time.perf_counter()
    target = batched(lambda x: conv(relu(conv(x, first)), second), original)
    before, now = shortcut(original, width), shortcut(pruned, width)
    inputs = batched(lambda x: relu(conv(x, first)), pruned)
    seconds["forward"] += time.perf_counter() - start
    start = time.perf_counter()
    fit = torch.arange(len(inputs)) % 10 != 9
    gram, cross, mean_x, mean_y = moments(inputs[fit], (target + before - now)[fit], dtype, chunk)
    seconds["moments"] += time.perf_counter() - start
    start = time.perf_counter()
    channels = inputs.shape[1]
    left, solved = eliminate(gram, cross, int(keep_share * channels + 0.5))
    columns = torch.cat([torch.arange(j * 9, (j + 1) * 9) for j in left])
    bias = (mean_y - mean_x[columns] @ solved).float()
    weights = solved.T.reshape(width, len(left), 3, 3).float()
    seconds["solve"] += time.perf_counter() - start
    start = time.perf_counter()
    output = batched(lambda x, s: relu(conv(x, (weights, bias, 1)) + s), inputs[:, left], now)
    original = relu(target + before)
    seconds["forward"] += time.perf_counter() - start
    return original, output


def run(options, threads):
    import torch
    torch.set_num_threads(threads)
    seconds = {"read": 0.0, "forward": 0.0, "moments": 0.0, "solve": 0.0}
    total = time.perf_counter()
    network = load_network(options.model)
    x = load_images(options.calib, options.images)
    seconds["read"] = time.perf_counter() - total
    dtype = torch.float64 if options.float64 else torch.float32
    with torch.inference_mode():
        original = batched(lambda images: torch.relu(conv(images, network[0])), x)
        pruned = original
        for k in range(1, len(network) - 1, 2):
            original, pruned = prune_block(network[k], network[k + 1], original, pruned, options.keep, dtype,
                                           options.chunk, seconds)
    seconds["total"] = time.perf_counter() - total
    drift = float((original - pruned).square().sum() / original.square().sum())
    print(f"{threads} thread{'s' if threads > 1 else ''}: " + ", ".join(f"{k} {v:.2f} s" for k, v in seconds.items()) +
          f"; relative squared error of the last features {drift:.4f}", flush=True)
    return {"threads": threads, "seconds": seconds, "error": drift}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="ResNet for CIFAR as ONNX, batch norms folded, two 3x3 convolutions a block")
    parser.add_argument("--calib", required=True, help="data set (HDF5) with `images`")
    parser.add_argument("--images", type=int, default=0, help="only the first N images (default: all)")
    parser.add_argument("--keep", type=float, default=0.5, help="share of the channels kept (default: %(default)s)")
    parser.add_argument("--float64", action="store_true",
                        help="products in float64, as reap forms them; default float32")
    parser.add_argument("--chunk", type=int, default=16, help="images per product (default: %(default)s)")
    parser.add_argument("--threads", default="1,2", help="runs with so many threads each (default: %(default)s)")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    results = [run(options, int(t)) for t in options.threads.split(",")]
    if options.json:
        with open(options.json, "w") as f:
            json.dump(results, f, indent=1)


if __name__ == "__main__":
    main()
