#!/usr/bin/env python3
"""Pictures of what reap left behind: reports (`--report`), sweeps, pruned models, paths.

  plot.py tradeoff  REPORT.json|SWEEP.h5 ...   accuracy and KL divergence against multiply-adds, the original marked
  plot.py channels  REPORT.json                channels kept per layer
  plot.py paths     OUT.h5|PATHS.h5|SWEEP.h5   error of each layer (and movement of the output) as channels go
  plot.py predicted REPORT.json                predicted against actual errors
  plot.py scaling   REPORT.json ...            time by phase and speed-up, reports on different numbers of ranks
"""
import argparse
import sys


def one_report(found):
    import results
    pruned = [(n, r) for n, r in found if r.get("layers")]
    if len(pruned) != 1:
        raise results.ResultError("wanted one report of a pruned network, got %d; name a single report" % len(pruned))
    return pruned[0]


def fastest(found):
    """[(ranks, seconds)], the fastest run of each number of ranks."""
    import results
    best = {}
    for _, report in found:
        ranks, seconds = report["ranks"], report["seconds"]
        if ranks not in best or seconds["total"] < best[ranks]["total"]:
            best[ranks] = seconds
    if len(best) < 2:
        raise results.ResultError("scaling: wanted reports on different numbers of ranks, all are on %d" % min(best))
    return sorted(best.items())


def draw(kind, inputs):
    import pictures
    import results
    if kind == "paths":
        if len(inputs) != 1:
            raise results.ResultError("paths: one file at a time")
        return pictures.error_paths(results.paths(inputs[0]))
    found = results.reports(inputs)
    if kind == "tradeoff":
        return pictures.tradeoff(results.table(found))
    if kind == "scaling":
        return pictures.scaling(fastest(found))
    name, report = one_report(found)
    return {"channels": pictures.channels, "predicted": pictures.predicted}[kind](results.layers(report), name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["tradeoff", "channels", "paths", "predicted", "scaling"], metavar="KIND",
                        help="tradeoff, channels, paths, predicted or scaling")
    parser.add_argument("inputs", nargs="+", metavar="FILE")
    parser.add_argument("-o", "--output", metavar="PICTURE",
                        help="file to write: .png, .svg or .pdf (default: KIND.png)")
    arguments = parser.parse_args()
    import results
    output = arguments.output or arguments.kind + ".png"
    try:
        draw(arguments.kind, arguments.inputs).savefig(output, dpi=150, bbox_inches="tight")
    except (results.ResultError, ValueError, OSError, KeyError) as error:
        sys.exit("plot.py: %s" % error)
    except ImportError as error:
        sys.exit("plot.py: %s; see analysis/requirements.txt" % error)
    print(output)


if __name__ == "__main__":
    main()
