#!/usr/bin/env python3
"""Compares all of reap's methods on one network: the same images, budgets, sizes, surgery and evaluation.

Each method is run bare (channels go, weights stay), with refit (the layers that lost channels are re-solved), with own
weights where it has some (of the layers that lost channels), and with repair (all that reap does by default). Sizes are
uniform, or chosen by the losses of reap for all methods alike.

`reap paths` is run once, then one `reap sweep` for each treatment. The same command again computes what is missing.
FOLDER/ then has table.csv, table.md, compare.png and compare.html. Networks of other programs take part if peers.py has
left them in FOLDER/peers. Options behind -- go to reap sweep.
"""
import argparse
import html
import json
import os
import re
import shlex
import subprocess
import sys

import numpy

import judge
import results
import script

TREATMENTS = {"bare": ["--refit", "none"], "refit": ["--repair", "off"],
              "own": ["--refit", "method", "--repair", "off"], "repair": []}
SIZES = {"uniform": "uniform sizes", "output": "chosen sizes"}
PEER_REFERENCE = "repair"  # of reap, for what was treated in another way
WORDS = ("bare: channels go, weights stay. refit: the layers that lost channels are re-solved by least squares. "
         "own: by the weights that the method gives itself. repair: all that reap does by default. Intervals cover "
         "95 % of the chance in the test images; differences and the best are judged on the same images, in pairs.")


def list_methods(program):
    """Names of all methods that the program has, as its help lists them."""
    told = judge.command([program, "help", "sweep"], program)
    found = re.search(r"^  --method ((?:\S+\|\n\s+)*\S+)", told, re.M)  # in several lines if there are many
    if not found:
        raise results.ResultError("%s: its help lists no methods" % program)
    return re.sub(r"\s", "", found.group(1)).split("|")


def methods_of(arguments, treatment):
    """Those with weights of their own, as the help names them in brackets, for the treatment that is about these."""
    if treatment != "own":
        return arguments.methods
    told = judge.command([arguments.reap, "help", "sweep"], arguments.reap)
    found = re.search(r"^  --refit .*\n(?: {4,}.*\n)*", told, re.M)
    named = re.findall(r"\(([a-z0-9-]+)\)", found.group(0)) if found else []
    return [m for m in arguments.methods if m in named]


def run(words):
    """A command whose output goes where this script's does; its status."""
    print("$ " + " ".join(map(shlex.quote, words)), flush=True)
    return subprocess.call(words)


def measure_paths(arguments, launch):
    """The file that sizes are chosen by; None: each setting makes its own, as coupled groups have no paths."""
    path = os.path.join(arguments.output, "paths.h5")
    if arguments.scope == "all" or "output" not in arguments.ratios:
        return None
    if not os.path.exists(path):
        words = launch + [arguments.reap, "paths", arguments.model, "--calib", arguments.calib, "-o", path]
        if run(words + arguments.common):
            raise script.UserError("reap paths failed, for the reason above")
    return path


def sweep(arguments, launch, treatment, paths):
    ratios = arguments.ratios
    if arguments.scope == "all" and treatment == "bare":  # losses without refit are not known for coupled groups
        ratios = [r for r in ratios if r == "uniform"]
    methods = methods_of(arguments, treatment)
    if not ratios or not methods:
        return
    words = launch + [arguments.reap, "sweep", arguments.model, "--calib", arguments.calib, "--eval", arguments.eval,
                      "-o", sweep_file(arguments, treatment), "--method", ",".join(methods),
                      "--ratios", ",".join(ratios), "--flops", ",".join(arguments.flops), "--save-models", "onnx"]
    words += ["--scope", "all"] if arguments.scope == "all" else []
    words += ["--from-paths", paths] if paths and "output" in ratios else []
    if run(words + TREATMENTS[treatment] + arguments.common + arguments.others):
        print("compare.py: some settings (%s) failed; the others are compared" % treatment, file=sys.stderr)


def sweep_file(arguments, treatment):
    return os.path.join(arguments.output, treatment + ".h5")


def reap_networks(arguments):
    """[(name, row, ONNX file)] of the settings that are done."""
    found = []
    for treatment in TREATMENTS:
        path = sweep_file(arguments, treatment)
        for name, report in results.reports([path]) if os.path.exists(path) else []:
            after, before = report["pruned"], report["baseline"]
            row = {"method": report["options"]["method"], "treatment": treatment, "sizes": report["ratios"],
                   "budget": results.budget_of(report)[1], "flops_share": after["flops"] / before["flops"],
                   "seconds": report["seconds"]["total"]}
            found.append(("%s-%s" % (treatment, name), row, os.path.join(path + ".d", name + ".onnx")))
    return found


def peer_networks(arguments):
    """The same of what peers.py has left."""
    path = os.path.join(arguments.output, "peers", "peers.json")
    if not os.path.exists(path):
        return []
    with open(path) as f:
        rows = json.load(f)
    return [("peer-" + name, row, os.path.join(arguments.output, "peers", name + ".onnx"))
            for name, row in rows.items() if "failed" not in row]


def measure(arguments):
    """One row a network, with the figures of each image in the column `images`; original: those of the original."""
    import pandas
    judged = judge.Judge(arguments.reap, arguments.model, arguments.eval)
    kept = os.path.join(arguments.output, "images")
    rows = []
    for name, row, model in reap_networks(arguments) + peer_networks(arguments):
        images = judged.kept_figures(model, os.path.join(kept, name + ".npy"))
        rows.append({**row, "name": name, "images": images})
        for figure in judge.FIGURES:
            rows[-1][figure], rows[-1][figure + "_half"] = judge.interval(images[figure])
    if not rows:
        raise results.ResultError("%s: no setting is done" % arguments.output)
    return pandas.DataFrame(rows), judged.kept_figures(arguments.model, os.path.join(kept, "original.npy"))


def add_differences(frame):
    """How much larger the KL divergence is than that of reap at the same budget, sizes and treatment (with repair, if
    reap has no such treatment), and than the least of all there; on the same images. In the order of tables."""
    import pandas
    frame["treated"] = frame["treatment"].where(frame["treatment"].isin(list(TREATMENTS)), PEER_REFERENCE)
    reap = {(r.treatment, r.sizes, r.budget): r.images["kl"] for r in frame.itertuples() if r.method == "reap"}
    least = {}
    for r in frame.sort_values("kl").itertuples():
        least.setdefault((r.treatment, r.sizes, r.budget), r.images["kl"])
    nothing = (float("nan"), float("nan"))
    for column, other in (("to_reap", lambda r: reap.get((r.treated, r.sizes, r.budget))),
                          ("to_least", lambda r: least[r.treatment, r.sizes, r.budget])):
        pairs = [nothing if other(r) is None else judge.interval(r.images["kl"] - other(r)) for r in frame.itertuples()]
        frame[column], frame[column + "_half"] = zip(*pairs)
    frame["best"] = ~(frame["to_least"] > frame["to_least_half"])  # within noise of the least
    frame["rank"] = [list(TREATMENTS).index(t) if t in TREATMENTS else len(TREATMENTS) for t in frame["treatment"]]
    frame["sizes"] = pandas.Categorical(frame["sizes"], [s for s in SIZES if (frame["sizes"] == s).any()])
    order = {"sizes": True, "rank": True, "budget": False, "kl": True}
    return frame.sort_values(list(order), ascending=list(order.values())).reset_index(drop=True)


def matrix(frame, sizes):
    """Header and rows of Markdown: a row for each method, a column for each treatment and budget."""
    part = frame[frame["sizes"] == sizes]
    columns = list(dict.fromkeys(zip(part["treatment"], part["budget"])))
    methods = sorted(part["method"].unique(), key=lambda m: (m != "reap", list(part["method"]).index(m)))
    cells = {(r.method, r.treatment, r.budget): ("**%.4f** (%.1f)" if r.best else "%.4f (%.1f)") % (r.kl, 100 * r.right)
             for r in part.itertuples()}
    header = ["method"] + ["%s %g" % column for column in columns]
    return [header] + [[method] + [cells.get((method, *column), "") for column in columns] for method in methods]


def markdown(frame):
    parts = []
    for sizes in frame["sizes"].cat.categories:
        header, *rows = matrix(frame, sizes)
        lines = ["| %s |" % " | ".join(row) for row in [header, ["---"] * len(header)] + rows]
        parts.append("%s:\n\n%s\n" % (SIZES[sizes].capitalize(), "\n".join(lines)))
    return "\n".join(parts)


def plus_minus(value, half):
    if value != value:
        return "", "–"
    return repr(float(value)), "%.4f" % value + (" ± %.4f" % half if half == half else "")


def top1_cell(row):
    if row.right != row.right:
        return "", "–"
    low, high = results.binomial_interval(row.right, len(row.images["kl"]))
    return repr(row.right), "%.2f (%.2f to %.2f)" % (100 * row.right, 100 * low, 100 * high)


def whole_table(frame):
    import html_report
    rows = [(r.method, r.treatment, SIZES[r.sizes], html_report.number(r.budget),
             html_report.percent(r.flops_share), top1_cell(r), plus_minus(r.kl, r.kl_half),
             plus_minus(r.loss, r.loss_half), plus_minus(r.to_reap, r.to_reap_half), "yes" if r.best else "no",
             html_report.number(r.seconds, 3)) for r in frame.itertuples()]
    header = ["method", "treatment", "sizes", "budget", "multiply-adds, %", "top-1, % (interval)", "KL", "loss",
              "KL, more than reap's", "best within noise", "seconds"]
    return html_report.rows_to_table(header, rows)


def page(arguments, frame, original):
    import html_report
    import pictures
    images, words = len(original["kl"]), " ".join(map(shlex.quote, sys.argv))
    right, loss = numpy.mean(original["right"]), numpy.mean(original["loss"])
    parts = ["<h1>Methods on %s</h1>" % html.escape(os.path.basename(arguments.model)),
             "<p><code>%s</code></p>" % html.escape(words),
             "<p>%d networks, judged on %d test images. The original: top-1 %.2f %%, loss %.4f.</p>"
             % (len(frame), images, 100 * right, loss),
             html_report.note(WORDS), "<h2>KL divergence against multiply-adds</h2>",
             html_report.picture(pictures.compared, frame, SIZES, PEER_REFERENCE)]
    for sizes in frame["sizes"].cat.categories:
        header, *rows = matrix(frame, sizes)
        rows = [[cell.replace("**", "") for cell in row] for row in rows]
        parts += ["<h2>KL (top-1, %%), %s</h2>" % SIZES[sizes], html_report.rows_to_table(header, rows)]
    return parts + ["<h2>All networks</h2>", whole_table(frame)]


def show(arguments):
    import html_report
    import pictures
    frame, original = measure(arguments)
    frame = add_differences(frame)
    at = lambda name: os.path.join(arguments.output, name)
    frame.drop(columns=["images", "rank", "treated"]).to_csv(at("table.csv"), index=False)
    with open(at("table.md"), "w", encoding="utf-8") as f:
        f.write(markdown(frame))
    pictures.compared(frame, SIZES, PEER_REFERENCE).savefig(at("compare.png"), dpi=130, bbox_inches="tight")
    html_report.write_page(at("compare.html"), "Methods on " + os.path.basename(arguments.model),
                           page(arguments, frame, original))
    print(markdown(frame))
    print("written %s" % ", ".join(map(at, ("table.csv", "table.md", "compare.png", "compare.html"))))


def words_of(text):
    return [word for word in text.split(",") if word]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("--calib", required=True, metavar="C.h5", help="calibration images")
    parser.add_argument("--eval", required=True, metavar="E.h5", help="test images with labels")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="all results; created if need be")
    parser.add_argument("--flops", type=words_of, default=["0.7", "0.5", "0.35"], metavar="F,...",
                        help="budgets (default 0.7,0.5,0.35)")
    parser.add_argument("--methods", type=words_of, metavar="M,...", help="default: all that reap has")
    parser.add_argument("--ratios", type=words_of, default=["uniform", "output"], metavar="S,...",
                        help="sizes: uniform, output (default both)")
    parser.add_argument("--treatments", type=words_of, default=list(TREATMENTS), metavar="T,...",
                        help="bare, refit, own, repair (default all)")
    parser.add_argument("--scope", choices=["inner", "all"], default="inner", help="groups pruned (default inner)")
    parser.add_argument("--images", type=int, help="only the first N calibration images")
    parser.add_argument("--reap", default="reap", metavar="PROGRAM", help="default: the one on PATH")
    parser.add_argument("--launch", default="", metavar="COMMAND", help='put before reap: "mpirun -n 4"')
    parser.add_argument("--show", action="store_true", help="run nothing; show what is there")
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:cut])
    arguments.others = words[cut + 1:]
    arguments.common = ["--images", str(arguments.images)] if arguments.images else []
    unknown = set(arguments.treatments) - set(TREATMENTS)
    if unknown:
        parser.error("unknown treatment %s; there are %s" % (", ".join(sorted(unknown)), ", ".join(TREATMENTS)))
    return arguments


def main():
    arguments = options()
    os.makedirs(arguments.output, exist_ok=True)
    arguments.methods = arguments.methods or list_methods(arguments.reap)
    if not arguments.show:
        launch = shlex.split(arguments.launch)
        paths = measure_paths(arguments, launch)
        for treatment in arguments.treatments:
            sweep(arguments, launch, treatment, paths)
    show(arguments)


if __name__ == "__main__":
    script.run(main)
