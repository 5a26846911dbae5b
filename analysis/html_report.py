#!/usr/bin/env python3
"""Writes one HTML file of a pruning run (report of `reap prune`, with its OUT.h5 for the error paths) or of a sweep:
the command, figures before and after, pictures, every layer. The pictures are inside the file."""
import argparse
import base64
import html
import io
import os
import sys

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; border-bottom: 1px solid #d5d9de; }
table { border-collapse: collapse; font-size: 0.87rem; } th, td { padding: 0.2rem 0.7rem; text-align: right; }
th { border-bottom: 1px solid #888; font-weight: 600; } td:first-child, th:first-child { text-align: left; }
tr:nth-child(even) td { background: #f5f6f8; } img { max-width: 100%; }
code { font-size: 0.85rem; word-break: break-all; }
.wide { overflow-x: auto; } .note { color: #555; }
"""


def number(value, digits=4):
    if value is None or value != value:
        return "–"
    if isinstance(value, str):
        return html.escape(value)
    return "%.*g" % (digits, value)


def count(value):
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return "%.4g %s" % (value / unit, name)
    return "%d" % value


def rows_to_table(header, rows):
    cells = "".join("<th>%s</th>" % html.escape(h) for h in header)
    lines = ["<tr>%s</tr>" % cells]
    for row in rows:
        lines.append("<tr>%s</tr>" % "".join("<td>%s</td>" % cell for cell in row))
    return '<div class="wide"><table>%s</table></div>' % "\n".join(lines)


def picture(draw, *arguments):
    """The picture as an <img>, or a note on why there is none."""
    try:
        drawing = draw(*arguments)
    except ValueError as error:
        return '<p class="note">%s</p>' % html.escape(str(error))
    stream = io.BytesIO()
    drawing.savefig(stream, format="png", dpi=130, bbox_inches="tight")
    return '<img alt="" src="data:image/png;base64,%s">' % base64.b64encode(stream.getvalue()).decode()


def before_and_after(report):
    before, after = report["baseline"], report["pruned"]
    rows = []
    for key, title, factor in (("top1", "top-1, %", 100), ("top5", "top-5, %", 100), ("loss", "loss, nats", 1),
                               ("kl", "KL divergence to the original, nats", 1),
                               ("output_error", "relative squared error of the output", 1)):
        if after.get(key) is not None:
            old = before.get(key)
            rows.append((title, number(old * factor if old is not None else None), number(after[key] * factor), ""))
    for key, title in (("flops", "multiply-adds"), ("params", "parameters")):
        rows.append((title, count(before[key]), count(after[key]), "%.1f %%" % (100 * after[key] / before[key])))
    return rows_to_table(["", "original", "pruned", "left"], rows)


def what_was_run(report):
    lines = ["<p><code>%s</code></p>" % html.escape(report.get("command", ""))]
    seconds = report.get("seconds", {})
    phases = ", ".join("%s %.3g s" % (k, v) for k, v in seconds.items()
                       if k != "total" and isinstance(v, (int, float)) and v >= 0.005)
    lines.append("<p>%s rank%s, %.3g s (%s); reap %s</p>" % (
        report.get("ranks"), "" if report.get("ranks") == 1 else "s", seconds.get("total", float("nan")), phases,
        html.escape(str(report.get("reap_version", "")))))
    inputs = report.get("inputs", {})
    rows = [(html.escape(k), html.escape(str(v.get("path", ""))),
             "<code>%s</code>" % html.escape(str(v.get("sha256", ""))[:16]))
            for k, v in inputs.items() if isinstance(v, dict)]
    return "".join(lines) + (rows_to_table(["input", "file", "SHA-256 begins"], rows) if rows else "")


def layer_table(frame):
    rows = [(html.escape(r.name), r.channels, r.kept, "%.0f" % (100 * r.share), number(r.predicted, 3),
             number(r.alone_error, 3), number(r.relative_error, 3), number(r.held_out_error, 3), number(r.seconds, 3))
            for r in frame.itertuples(index=False)]
    return rows_to_table(["layer", "channels", "kept", "%", "error, predicted", "error, alone", "error",
                          "error, held out", "seconds"], rows)


def run_page(name, report, model):
    import pictures
    import results
    frame = results.layers(report)
    parts = ["<h1>%s</h1>" % html.escape(name), what_was_run(report),
             "<h2>Before and after</h2>", before_and_after(report),
             "<h2>Channels kept</h2>", picture(pictures.channels, frame),
             "<h2>Predicted and actual errors</h2>", picture(pictures.predicted, frame)]
    if model:
        parts += ["<h2>Error paths</h2>", picture(pictures.error_paths, results.paths(model))]
    parts += ["<h2>Layers</h2>", layer_table(frame)]
    return parts


def sweep_page(name, found, paths):
    import pictures
    import results
    frame = results.table(found)
    rows = [(html.escape(str(r["name"])), number(r["method"]), number(r["ratios"]), r["seed"],
             "%.1f" % (100 * r["flops_share"]), "%.1f" % (100 * r["params_share"]),
             number(None if r["top1"] != r["top1"] else 100 * r["top1"]), number(r["loss"]),
             number(r["kl"], 3), number(r["seconds"], 3)) for _, r in frame.iterrows()]
    header = ["setting", "method", "ratios", "seed", "multiply-adds, %", "parameters, %", "top-1, %", "loss", "KL",
              "seconds"]
    parts = ["<h1>%s</h1>" % html.escape(name), "<p>%d settings</p>" % len(frame),
             "<h2>Accuracy against cost</h2>", picture(pictures.tradeoff, frame),
             "<h2>Settings</h2>", rows_to_table(header, rows)]
    if paths:
        parts += ["<h2>Error paths</h2>", picture(pictures.error_paths, paths)]
    for setting, report in found:
        if report.get("layers"):
            parts += ["<h2>Channels kept: %s</h2>" % html.escape(setting),
                      picture(pictures.channels, results.layers(report))]
    return parts


def page(inputs, model):
    import results
    found = [(n, r) for n, r in results.reports(inputs) if "pruned" in r]
    if not found:
        raise results.ResultError("no report of a pruned network in %s" % ", ".join(inputs))
    name = os.path.basename(inputs[0])
    if len(found) == 1:
        return name, run_page(found[0][0], found[0][1], model)
    paths = None
    try:
        if model or results.is_hdf5(inputs[0]):
            paths = results.paths(model or inputs[0])
    except results.ResultError:
        pass # a sweep without paths
    return name, sweep_page(name, found, paths)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="+", metavar="REPORT.json|SWEEP.h5",
                        help="one report, several of them, or a sweep")
    parser.add_argument("--model", metavar="OUT.h5", help="pruned model or paths file with the error paths")
    parser.add_argument("-o", "--output", metavar="PAGE.html", default="report.html")
    arguments = parser.parse_args()
    import results
    try:
        title, parts = page(arguments.inputs, arguments.model)
    except (results.ResultError, OSError, KeyError) as error:
        sys.exit("html_report.py: %s" % error)
    except ImportError as error:
        sys.exit("html_report.py: %s; see analysis/requirements.txt" % error)
    beside = arguments.output + ".part"
    with open(beside, "w", encoding="utf-8") as f:
        f.write("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title>"
                "<style>%s</style></head>\n<body>%s</body></html>\n"
                % (html.escape(title), STYLE, "\n".join(parts)))
    os.replace(beside, arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
