#!/usr/bin/env python3
"""A pruning run by phase beside its floor, all measured in one go.

The floor is what the run cannot do without: the forward passes of the original and of the pruned network (`reap eval`
of both on the calibration images) and the operations of the moments at the rate that DGEMM reaches on the same ranks
(`reap bench solve` measures it; before and after the run, the mean counts). Where positions are drawn (--positions
auto), a second run tells the operations of the moments at all positions, and the floor is printed for both. Printed are the phases of `reap prune`
with the floor and their ratio, the rate of the moments layer by layer as a share of DGEMM's, and the seconds of the
same pruning in plain PyTorch (torch_baseline.py) on --baseline-images images, scaled linearly to all.

    analysis/measure/prune_floor.py resnet56.onnx --calib cifar10-calib.h5 --ranks 2
    analysis/measure/prune_floor.py resnet56.onnx --calib cifar10-calib.h5 --baseline-images 0 -- --repair off

Words after -- go to `reap prune`. Measure on a machine with nothing else to do: DGEMM's rate and the seconds of the
passes are those of the moment.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
WIDE = 32  # channels from which the share of DGEMM's rate is printed


def run(command, environment=None):
    """Output of a command; ends the script with the command's own message if it fails."""
    print("  " + shlex.join(command), file=sys.stderr, flush=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError as e:
        sys.exit(f"prune_floor.py: {command[0]}: {e.strerror}")
    if done.returncode != 0:
        sys.exit(f"prune_floor.py: {shlex.join(command)} ended with status {done.returncode}:\n"
                 + done.stderr.strip()[-2000:])
    return done.stdout


class Program:
    """`reap` on so many ranks, with one thread each."""

    def __init__(self, options):
        self.prefix = shlex.split(options.mpirun) + ["-n", str(options.ranks), options.reap]
        self.ranks = options.ranks
        self.environment = dict(os.environ, OMP_NUM_THREADS="1")

    def call(self, *words):
        return run(self.prefix + [str(w) for w in words], self.environment)

    def report(self, folder, *words):
        path = os.path.join(folder, "report.json")
        self.call(*words, "--report", path, "--progress", "none")
        with open(path) as f:
            return json.load(f)

    def dgemm(self):
        """Floating-point operations a second of all ranks, each multiplying a matrix of its own."""
        # The rate is that of the ranks that solve: with ScaLAPACK all of them.
        solver = "scalapack" if self.ranks > 1 else "local"
        text = self.call("bench", "solve", "--n", 2048, "--block", 4, "--no-plain", "--no-factor", "--json", "--solver",
                         solver, "--progress", "none")
        report = json.loads(text)
        if report["ranks_used"] != self.ranks:
            sys.exit("prune_floor.py: DGEMM's rate is of %d ranks, wanted %d" % (report["ranks_used"], self.ranks))
        return report["dgemm_flops_per_second"]


def measure(options, folder):
    """The reports of the three runs and DGEMM's rate."""
    program = Program(options)
    images = ["--images", options.images] if options.images else []
    pruned = os.path.join(folder, "pruned.h5")
    rates = [program.dgemm()]
    budget = ["--flops", options.flops] if options.flops else ["--keep", options.keep]
    calls = ["prune", options.model, "--calib", options.calib, *images]
    prune = program.report(folder, *calls, *budget, "--positions", options.positions, *options.words, "-o", pruned)
    rates.append(program.dgemm())
    original = program.report(folder, "eval", options.model, "--data", options.calib, *images)
    after = program.report(folder, "eval", pruned, "--data", options.calib, *images)
    whole = prune
    if options.positions != "all":
        whole = program.report(folder, *calls, "--keep", options.keep, "--positions", "all", "--producers", 0, "-o",
                               os.path.join(folder, "whole.h5"))
    return prune, original, after, rates, whole


def layers_of(prune):
    """Every layer whose moments were taken: pruned or, with --repair, solved anew."""
    return [l for l in prune["layers"] + prune.get("repaired", []) if l.get("moments_seconds")]


def layer_rates(layers, dgemm):
    return [{"name": l["name"], "channels": l["channels"], "operations": 2 * l["moments_flops"],
             "seconds": l["moments_seconds"],
             "share_of_dgemm": 2 * l["moments_flops"] / l["moments_seconds"] / dgemm} for l in layers]


def share(rates, dgemm):
    seconds = sum(l["seconds"] for l in rates)
    return sum(l["operations"] for l in rates) / seconds / dgemm if seconds > 0 else None


def count_images(options):
    import h5py
    with h5py.File(options.calib) as f:
        return min(options.images or len(f["images"]), len(f["images"]))


def baseline(options, folder, images):
    """Seconds of plain PyTorch on as many threads as there are ranks, scaled to all images."""
    few = min(options.baseline_images, images)
    path = os.path.join(folder, "torch.json")
    run([options.python, os.path.join(HERE, "torch_baseline.py"), options.model, "--calib", options.calib, "--keep",
         str(options.keep), "--images", str(few), "--threads", str(options.ranks), "--json", path])
    with open(path) as f:
        result = json.load(f)[0]
    return {"images": few, "seconds": result["seconds"]["total"],
            "scaled_seconds": result["seconds"]["total"] * images / few}


def evaluate(prune, original, after, rates, whole):
    dgemm = sum(rates) / len(rates)
    layers = layer_rates(layers_of(prune), dgemm)
    operations = sum(l["operations"] for l in layers)
    passes = [original["seconds"]["total"], after["seconds"]["total"]]
    floor = sum(passes) + operations / dgemm
    whole_operations = sum(l["operations"] for l in layer_rates(layers_of(whole), dgemm))
    whole_floor = sum(passes) + whole_operations / dgemm
    return {"dgemm_flops_per_second": dgemm, "dgemm_measured": rates, "seconds": prune["seconds"],
            "eval_original_seconds": passes[0], "eval_pruned_seconds": passes[1], "moments_operations": operations,
            "moments_at_dgemm_seconds": operations / dgemm, "floor_seconds": floor,
            "ratio": prune["seconds"]["total"] / floor, "floor_of_all_positions_seconds": whole_floor,
            "ratio_of_all_positions": prune["seconds"]["total"] / whole_floor, "layers": layers, "moments_share": share(layers, dgemm),
            "wide_moments_share": share([l for l in layers if l["channels"] >= WIDE], dgemm)}


def print_phases(r):
    floors = {"forward": r["eval_original_seconds"] + r["eval_pruned_seconds"],
              "moments": r["moments_at_dgemm_seconds"], "total": r["floor_seconds"]}
    print(f"{'phase':<10} {'seconds':>9} {'floor':>9} {'ratio':>7}")
    for phase in [p for p in r["seconds"] if p != "total"] + ["total"]:
        line = f"{phase:<10} {r['seconds'][phase]:9.3f}"
        if phase in floors:
            line += f" {floors[phase]:9.3f} {r['seconds'][phase] / floors[phase]:7.2f}"
        print(line)
    print(f"\nfloor: eval of the original {r['eval_original_seconds']:.3f} s + of the pruned network "
          f"{r['eval_pruned_seconds']:.3f} s + {r['moments_operations'] / 1e9:.1f} G operations of moments at "
          f"{r['dgemm_flops_per_second'] / 1e9:.1f} GF/s (DGEMM, all ranks at once)")
    print(f"with moments at all positions: {r['floor_of_all_positions_seconds']:.3f} s, ratio "
          f"{r['ratio_of_all_positions']:.2f}")


def print_layers(r):
    print(f"\n{'channels':>8} {'layers':>7} {'G operations':>13} {'seconds':>9} {'share of DGEMM: all':>20} "
          f"{'lowest':>7} {'highest':>8}")
    for channels in sorted({l["channels"] for l in r["layers"]}):
        group = [l for l in r["layers"] if l["channels"] == channels]
        shares = [l["share_of_dgemm"] for l in group]
        print(f"{channels:8d} {len(group):7d} {sum(l['operations'] for l in group) / 1e9:13.1f} "
              f"{sum(l['seconds'] for l in group):9.3f} {share(group, r['dgemm_flops_per_second']):20.2f} "
              f"{min(shares):7.2f} {max(shares):8.2f}")
    if r["wide_moments_share"] is not None:
        print(f"moments of layers of {WIDE} channels and more, whole run: "
              f"{r['wide_moments_share']:.2f} of DGEMM's rate")


def print_baseline(b, images, total):
    if b["images"] < images:
        print(f"\nplain PyTorch: {b['seconds']:.1f} s for {b['images']} images, which scales linearly: "
              f"{b['scaled_seconds']:.0f} s for {images}")
    else:
        print(f"\nplain PyTorch: {b['seconds']:.1f} s for the same images")
    print(f"reap prune: {total:.1f} s, {b['scaled_seconds'] / total:.0f} times faster")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="network as ONNX; for the baseline a ResNet for CIFAR with folded batch norms")
    parser.add_argument("--calib", required=True, help="data set (HDF5) with `images`")
    parser.add_argument("--ranks", type=int, default=2, help="ranks, one thread each (default: %(default)s)")
    parser.add_argument("--keep", type=float, default=0.5, help="share of the channels kept (default: %(default)s)")
    parser.add_argument("--flops", type=float, help="share of the multiply-adds kept, in place of --keep")
    parser.add_argument("--positions", default="all",
                        help="positions of an image in the moments: all, auto, or a number (default: %(default)s)")
    parser.add_argument("--images", type=int, default=0, help="only the first N images (default: all)")
    parser.add_argument("--baseline-images", type=int, default=128,
                        help="images for plain PyTorch, 0: none (default: %(default)s)")
    parser.add_argument("--reap", default=os.path.join(HERE, "..", "..", "build", "reap"),
                        help="the program (default: build/reap)")
    parser.add_argument("--mpirun", default="mpirun", help="launcher, with options of its own (default: %(default)s)")
    parser.add_argument("--python", default=sys.executable, help="Python that has torch (default: this one)")
    parser.add_argument("--json", help="write all figures to this file")
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:split])
    options.words = words[split + 1:]
    return options


def main():
    options = parse()
    images = count_images(options)
    with tempfile.TemporaryDirectory() as folder:
        result = evaluate(*measure(options, folder))
        result.update(images=images, ranks=options.ranks, keep=options.keep)
        if options.baseline_images > 0:
            result["baseline"] = baseline(options, folder, images)
    print(f"{images} images, {options.ranks} rank{'s' if options.ranks > 1 else ''}, "
          f"{'--flops' if options.flops else '--keep'} {options.flops or options.keep}, "
          f"--positions {options.positions}\n")
    print_phases(result)
    print_layers(result)
    if "baseline" in result:
        print_baseline(result["baseline"], images, result["seconds"]["total"])
    if options.json:
        with open(options.json, "w") as f:
            json.dump(result, f, indent=1)


if __name__ == "__main__":
    main()
