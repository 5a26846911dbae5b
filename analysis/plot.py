#!/usr/bin/env python3
"""Pictures of what reap left behind: reports (`--report`), sweeps, pruned models, paths.

  plot.py tradeoff  REPORT.json|SWEEP.h5 ...   accuracy and KL divergence against multiply-adds, the original marked
  plot.py channels  REPORT.json|SWEEP.h5 ...   channels kept of each group; of several runs, a small picture for each
  plot.py paths     OUT.h5|PATHS.h5|SWEEP.h5   error of each layer (and movement of the output) as channels go
  plot.py predicted REPORT.json                predicted against actual errors
  plot.py scaling   REPORT.json ...            time by phase and speed-up, reports on different numbers of ranks
"""
import argparse

import results
import script


def fastest(found):
    """[(ranks, seconds)], the fastest run of each number of ranks."""
    best = {}
    for _, report in found:
        ranks, seconds = report["ranks"], report["seconds"]
        if ranks not in best or seconds["total"] < best[ranks]["total"]:
            best[ranks] = seconds
    if len(best) < 2:
        raise results.ResultError("scaling: wanted reports on different numbers of ranks, all are on %d" % min(best))
    return sorted(best.items())


def draw_reports(kind, found):
    import pictures
    if kind == "scaling":
        return pictures.scaling(fastest(found))
    frame = results.table(found)
    if kind == "tradeoff":
        return pictures.tradeoff(frame)
    if kind == "channels" and len(frame) > 1:
        return pictures.kept_shares(results.all_groups(found))
    if len(frame) > 1:
        raise results.ResultError("predicted: wanted one report, got %d; name a single one" % len(frame))
    name, report = next((n, r) for n, r in found if r.get("pruned"))
    if kind == "channels":
        return pictures.channels(results.groups(report), name)
    return pictures.predicted(results.layers(report), name)


def draw(kind, inputs):
    if kind != "paths":
        return draw_reports(kind, results.reports(inputs))
    if len(inputs) != 1:
        raise results.ResultError("paths: one file at a time")
    found = results.paths(inputs[0])
    import pictures
    return pictures.error_paths(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["tradeoff", "channels", "paths", "predicted", "scaling"], metavar="KIND",
                        help="tradeoff, channels, paths, predicted or scaling")
    parser.add_argument("inputs", nargs="+", metavar="FILE")
    parser.add_argument("-o", "--output", metavar="PICTURE",
                        help="file to write: .png, .svg or .pdf (default: KIND.png)")
    arguments = parser.parse_args()
    output = arguments.output or arguments.kind + ".png"
    drawing = draw(arguments.kind, arguments.inputs)
    script.check_output(output)
    try:
        drawing.savefig(output, dpi=150, bbox_inches="tight")
    except ValueError as error:  # a format that matplotlib does not know
        raise script.UserError("%s: %s" % (output, error))
    print(output)


if __name__ == "__main__":
    script.run(main)
