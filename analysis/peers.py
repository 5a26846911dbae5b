#!/usr/bin/env python3
"""Prunes a network with other programs to the same multiply-adds, for compare.py to set beside reap's methods.

  Torch-Pruning  magnitude, Taylor and Hessian, with uniform sizes and with sizes by one ranking of all channels
                 (global): bare, and trained for some epochs on the calibration images and their labels
  onnxsim        structured pruning by magnitude and by activations (wanda): bare, and with its refit

The networks come to FOLDER/peers as ONNX, with peers.json about them; the same command again computes what is missing.
Torch-Pruning's network is the ONNX file's, layer by layer (onnx_torch.py), and its weights go back into that file. It
prunes the groups that reap prunes: `--scope inner` those with one producer and one consumer, `all` whatever it finds.
"""
import argparse
import json
import os
import sys
import time

import judge
import script

IMPORTANCES = ("magnitude", "taylor", "hessian")
STEPS = 200  # in which channels go, until the budget is reached


def inspect(program, model):
    return json.loads(judge.command([program, "inspect", model, "--json"], model))


def kept_layers(module, told, scope):
    """Layers whose outputs stay, by what reap tells of the network's groups."""
    layers = module.linear_layers()
    if len(layers) != len(told["layers"]):
        raise script.UserError("%d layers; reap finds %d" % (len(layers), len(told["layers"])))
    groups = [g for g in told["groups"] if g["prunable"] or (scope == "all" and g["cuttable"])]
    may_go = {name for g in groups for name in g["producers"]}
    return [layer for layer, known in zip(layers, told["layers"]) if known["name"] not in may_go]


def gradients(module, data, kind):
    """Of the loss by every parameter: its mean over the images, or the mean of its square."""
    import torch
    sums = {p: torch.zeros_like(p) for p in module.parameters()}
    size = 1 if kind == "hessian" else 64
    for start in range(0, len(data), size):
        x, labels = data.batch(slice(start, start + size))
        module.zero_grad()
        torch.nn.functional.cross_entropy(module(x), labels, reduction="sum").backward()
        for p, total in sums.items():
            if p.grad is not None:
                total += p.grad.pow(2) if kind == "hessian" else p.grad
    for p, total in sums.items():
        p.grad = total / len(data)


def positions(module, example):
    """{layer: multiply-adds for each weight}."""
    found = {}

    def count(layer, _, y):
        found[layer] = y[0].numel() // layer.weight.shape[0]
    hooks = [layer.register_forward_hook(count) for layer in module.linear_layers()]
    module(example)
    for hook in hooks:
        hook.remove()
    return found


def torch_pruning(arguments, data, importance, sizes, budgets, write):
    """Steps of Torch-Pruning until each budget is reached, from the largest on; write(budget, module, seconds)."""
    import onnx_layers
    import torch_pruning as tp
    module = onnx_layers.load(arguments.model).eval()
    kind = {"magnitude": tp.importance.GroupMagnitudeImportance, "taylor": tp.importance.GroupTaylorImportance,
            "hessian": tp.importance.GroupHessianImportance}[importance]
    start = time.time()
    if importance != "magnitude":  # once: Torch-Pruning cuts them with the weights
        gradients(module, data, importance)
    kept = kept_layers(module, inspect(arguments.reap, arguments.model), arguments.scope)
    example = data.batch(slice(0, 2))[0]
    per_weight = positions(module, example)
    cost = lambda: sum(count * layer.weight.numel() for layer, count in per_weight.items())
    whole = cost()
    pruner = tp.pruner.BasePruner(module, example, kind(), global_pruning=sizes == "output", pruning_ratio=0.98,
                                  iterative_steps=STEPS, ignored_layers=kept)
    steps = 0
    for budget in sorted(budgets, reverse=True):
        while cost() > budget * whole:
            if steps == STEPS:
                raise script.UserError("%.2f of the multiply-adds are left at the end" % (cost() / whole))
            pruner.step()
            steps += 1
        write(budget, module, time.time() - start)


def train(arguments, source, target):
    """finetune.py on the calibration images and their labels; at a tenth of the learning rate if that diverges."""
    words = ["--data", arguments.calib, "--images", str(arguments.images or 0), "--epochs", str(arguments.epochs),
             "--batch", str(arguments.batch), "--threads", "1", "-o", target]
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "finetune.py")
    for lr in (arguments.lr, arguments.lr / 10):
        try:
            judge.command([sys.executable, beside, source, "--lr", str(lr)] + words, "lr %g" % lr)
            return lr
        except script.UserError as error:
            last = error
    raise last


class Results:
    """What is there: networks and peers.json."""

    def __init__(self, folder, arguments):
        self.folder, self.path, self.rows, self.arguments = folder, os.path.join(folder, "peers.json"), {}, arguments
        os.makedirs(folder, exist_ok=True)
        if os.path.exists(self.path):
            with open(self.path) as f:
                self.rows = json.load(f)

    def model(self, name):
        return os.path.join(self.folder, name + ".onnx")

    def add(self, name, **row):
        self.rows[name] = row
        with open(self.path + ".part", "w") as f:
            json.dump(self.rows, f, indent=1)
        os.replace(self.path + ".part", self.path)
        print("%s: %s" % (name, row.get("failed") or "%.1f %% of the multiply-adds, top-1 %.2f %%, KL %.4f" % (
            100 * row["flops_share"], 100 * row["top1"], row["kl"])), flush=True)

    def judge(self, name, **row):
        """Adds the network of that name with its figures by `reap eval`."""
        a = self.arguments
        words = [a.reap, "eval", self.model(name), "--against", a.model, "--data", a.eval, "--report", "-"]
        told = json.loads(judge.command(words + ["--progress", "none"], name))
        after, before = told["pruned"], told["baseline"]
        self.add(name, **row, flops_share=after["flops"] / before["flops"], top1=after["top1"], kl=after["kl"],
                 loss=after["loss"])


def name_of(program, method, treatment, sizes, budget):
    return "-".join((program, method, treatment, sizes, "%g" % budget))


def add_torch_pruning(arguments, found, data):
    for importance in IMPORTANCES:
        for sizes in ("uniform", "output"):
            label = {"method": "Torch-Pruning " + importance, "sizes": sizes}
            names = {b: name_of("torch-pruning", importance, "bare", sizes, b) for b in arguments.flops}
            wanted = [b for b in arguments.flops if names[b] not in found.rows]

            def write(budget, module, seconds):
                module.write(found.model(names[budget]))
                found.judge(names[budget], **label, treatment="bare", budget=budget, seconds=seconds)
            try:
                if wanted:
                    torch_pruning(arguments, data, importance, sizes, wanted, write)
            except Exception as error:  # of whatever kind: another program's
                for budget in wanted:
                    if names[budget] not in found.rows:
                        found.add(names[budget], failed="%s: %s" % (type(error).__name__, first_line(error)))
            for budget, name in names.items():
                add_trained(arguments, found, name, label, budget)


def first_line(error):
    return (str(error).strip().splitlines() or ["no reason"])[0]


def add_trained(arguments, found, bare, label, budget):
    name = bare.replace("-bare-", "-trained-")
    if name in found.rows or "failed" in found.rows[bare] or not arguments.epochs:
        return
    start = time.time()
    try:
        lr = train(arguments, found.model(bare), found.model(name))
    except script.UserError as error:
        found.add(name, failed=first_line(error))
        return
    seconds = found.rows[bare]["seconds"] + time.time() - start
    found.judge(name, **label, treatment="trained", budget=budget, seconds=seconds, lr=lr)


def batches(model, data, size=50):
    name = model.graph.input[0].name
    return [{name: data.batch(slice(start, start + size))[0].numpy()} for start in range(0, len(data), size)]


def search(budget, prune, share):
    """The least sparsity, to a hundredth, whose network is within the budget; the network."""
    low, high, best = 0, 99, None
    while low < high:
        middle = (low + high) // 2
        network = prune(middle / 100)
        if share(network) <= budget:
            high, best = middle, network
        else:
            low = middle + 1
    if best is None:
        raise script.UserError("the budget is not reached")
    return best


def add_onnxsim(arguments, found, data):
    import onnx
    import onnxsim
    original = onnx.load(arguments.model)
    whole = inspect(arguments.reap, arguments.model)["flops"]
    images = batches(original, data)
    scratch = os.path.join(found.folder, "onnxsim.part.onnx")

    def share(network):
        onnx.save(network, scratch)
        return inspect(arguments.reap, scratch)["flops"] / whole
    kinds = {"magnitude": lambda s: onnxsim.apply_structured_pruning_cpp(original, sparsity=s),
             "wanda": lambda s: onnxsim.apply_structured_wanda_pruning_cpp(original, images, sparsity=s)}
    for method, prune in kinds.items():
        for budget in arguments.flops:
            names = {t: name_of("onnxsim", method, t, "uniform", budget) for t in ("bare", "refit")}
            label = {"method": "onnxsim " + method, "sizes": "uniform", "budget": budget}
            if all(name in found.rows for name in names.values()):
                continue
            start = time.time()
            try:
                network = search(budget, prune, share)
                onnx.save(network, found.model(names["bare"]))
                found.judge(names["bare"], **label, treatment="bare", seconds=time.time() - start)
                onnx.save(onnxsim.apply_pruning_finetune(original, network, images), found.model(names["refit"]))
                found.judge(names["refit"], **label, treatment="refit", seconds=time.time() - start)
            except Exception as error:
                for name in names.values():
                    if name not in found.rows:
                        found.add(name, failed="%s: %s" % (type(error).__name__, first_line(error)))
    if os.path.exists(scratch):
        os.remove(scratch)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("--calib", required=True, metavar="C.h5", help="calibration images with labels")
    parser.add_argument("--eval", required=True, metavar="E.h5", help="test images with labels")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="that of compare.py")
    parser.add_argument("--flops", type=lambda text: [float(word) for word in text.split(",")],
                        default=[0.7, 0.5, 0.35], metavar="F,...", help="budgets (default 0.7,0.5,0.35)")
    parser.add_argument("--scope", choices=["inner", "all"], default="inner",
                        help="groups that may be cut (default inner)")
    parser.add_argument("--images", type=int, default=0, help="only the first N calibration images")
    parser.add_argument("--epochs", type=int, default=5, help="of training (default 5; 0: none)")
    parser.add_argument("--lr", type=float, default=0.005, help="learning rate at the start (default 0.005)")
    parser.add_argument("--batch", type=int, default=32, help="images of a step of training (default 32)")
    parser.add_argument("--reap", default="reap", metavar="PROGRAM", help="default: the one on PATH")
    return parser.parse_args()


def main():
    arguments = options()
    import finetune
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = finetune.ImageFile(arguments.calib, arguments.images)
    found = Results(os.path.join(arguments.output, "peers"), arguments)
    for program, add in (("torch_pruning", add_torch_pruning), ("onnxsim", add_onnxsim)):
        try:
            add(arguments, found, data)
        except ImportError as error:
            print("%s left out: %s" % (program, error), file=sys.stderr)


if __name__ == "__main__":
    script.run(main)
