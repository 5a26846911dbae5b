#!/usr/bin/env python3
"""Writes one HTML file of a pruning run (report of `reap prune`, with its OUT.h5 for the error paths) or of a sweep:
the command, figures before and after, pictures, every layer. Pictures and the script that sorts tables are inside the
file."""
import argparse
import base64
import html
import io
import os

import results
import script

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; border-bottom: 1px solid #d5d9de; }
table { border-collapse: collapse; font-size: 0.87rem; } th, td { padding: 0.2rem 0.5rem; text-align: right; }
th { border-bottom: 1px solid #888; font-weight: 600; } .text { text-align: left; } td.text { white-space: nowrap; }
th button { font: inherit; border: 0; padding: 0; background: none; color: inherit; cursor: pointer; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
tbody tr:nth-child(even) td { background: #f5f6f8; } img { max-width: 100%; }
code { font-size: 0.85rem; word-break: break-all; }
.wide { overflow-x: auto; } .note { color: #555; }
"""

# A click on a column's head sorts by it, a second click the other way round; cells without a value stay below.
SORTING = """
for (const table of document.querySelectorAll("table"))
  table.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
    const head = button.parentElement, down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = row => row.cells[column].dataset.value, compare = (a, b) =>
      a === "" || b === "" ? (a === "") - (b === "") : (down ? -1 : 1) *
      (isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", {numeric: true}) : a - b);
    const body = table.tBodies[0];
    body.append(...Array.from(body.rows).sort((a, b) => compare(value(a), value(b))));
  }));
"""


def number(value, digits=4, factor=1):
    """A cell: what it is sorted by, and what is shown."""
    if value is None or value != value:
        return "", "–"
    return repr(float(value)), "%.*g" % (digits, factor * value)


def percent(value, digits=1):
    return number(value) if value != value else (repr(float(value)), "%.*f" % (digits, 100 * value))


def count(value):
    unit, name = next(((u, n) for u, n in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if value >= u), (1, ""))
    return repr(float(value)), "%.4g%s" % (value / unit, name)


def rows_to_table(header, rows, sortable=True):
    """Cells are numbers, as pairs (sorted by, shown), or text."""
    def cell(content):
        form, by, shown = ("", *content) if isinstance(content, tuple) else (' class="text"', content, content)
        return '<td%s data-value="%s">%s</td>' % (form, html.escape(str(by)), html.escape(str(shown)))

    def head(title, content):
        shown = '<button type="button">%s</button>' % html.escape(title) if sortable else html.escape(title)
        return '<th scope="col"%s>%s</th>' % ("" if isinstance(content, tuple) else ' class="text"', shown)
    heads = "".join(map(head, header, rows[0]))
    lines = ["<tr>%s</tr>" % "".join(map(cell, row)) for row in rows]
    return ('<div class="wide"><table><thead><tr>%s</tr></thead><tbody>%s</tbody></table></div>'
            % (heads, "\n".join(lines)))


def note(text):
    return '<p class="note">%s</p>' % html.escape(str(text))


def picture(draw, *arguments):
    """The picture as an <img>, or a note on why there is none."""
    try:
        drawing = draw(*arguments)
    except results.ResultError as error:
        return note(error)
    stream = io.BytesIO()
    drawing.savefig(stream, format="png", dpi=130, bbox_inches="tight")
    return '<img alt="" src="data:image/png;base64,%s">' % base64.b64encode(stream.getvalue()).decode()


def top1_with_interval(network):
    share, images = network.get("top1"), network.get("images")
    if share is None or not images:
        return number(share, factor=100)
    low, high = results.binomial_interval(share, images)
    return repr(share), "%.2f (%.2f to %.2f)" % (100 * share, 100 * low, 100 * high)


def speed_rows(report):
    """Times of the whole network as they were measured; none without --eval and --latency."""
    rows, before, after = [], report["baseline"], report["pruned"]
    key = next((k for k in ("forward_seconds", "seconds") if before.get(k) and after.get(k)), None)
    if key:
        rows.append(("images a second, in reap's evaluation", number(before["images"] / before[key]),
                     number(after["images"] / after[key]), "%.2f times as fast" % (before[key] / after[key])))
    latency = report.get("latency_ms") or {}
    if latency.get("measured"):
        rows.append(("time of an image, ms", number(latency["original"]), number(latency["measured"]),
                     "%.2f times as fast" % (latency["original"] / latency["measured"])))
    return rows


def before_and_after(report):
    before, after = report["baseline"], report["pruned"]
    rows = []
    if after.get("top1") is not None:
        rows.append(("top-1, % (95 % interval)", top1_with_interval(before), top1_with_interval(after), ""))
    for key, title, factor in (("top5", "top-5, %", 100), ("loss", "loss, nats", 1),
                               ("kl", "KL divergence to the original, nats", 1),
                               ("output_error", "relative squared error of the output", 1)):
        if after.get(key) is not None:
            rows.append((title, number(before.get(key), factor=factor), number(after[key], factor=factor), ""))
    for key, title in (("flops", "multiply-adds"), ("params", "parameters")):
        rows.append((title, count(before[key]), count(after[key]), "%.1f %% left" % (100 * after[key] / before[key])))
    return rows_to_table(["", "original", "pruned", "change"], rows + speed_rows(report), sortable=False)


def what_was_run(report):
    lines = ["<p><code>%s</code></p>" % html.escape(report.get("command", ""))]
    seconds = report.get("seconds", {})
    phases = ", ".join("%s %.3g s" % (k.replace("_", " "), v) for k, v in seconds.items()
                       if k != "total" and isinstance(v, (int, float)) and v >= 0.005)
    about = [str(report[k]) for k in ("host", "date") if report.get(k)]
    lines.append("<p>%s rank%s, %.3g s (%s); reap %s%s</p>" % (
        report.get("ranks"), "" if report.get("ranks") == 1 else "s", seconds.get("total", float("nan")), phases,
        html.escape(str(report.get("reap_version", ""))), html.escape("".join("; " + a for a in about))))
    rows = [(k, str(v.get("path", "")), str(v.get("sha256", ""))[:16])
            for k, v in report.get("inputs", {}).items() if isinstance(v, dict)]
    return "".join(lines) + (rows_to_table(["input", "file", "SHA-256 begins"], rows, sortable=False) if rows else "")


def layer_table(frame):
    rows = [(r.name, number(r.channels), number(r.kept), number(r.share, 2, 100), number(r.predicted, 3),
             number(r.alone_error, 3), number(r.relative_error, 3), number(r.held_out_error, 3), number(r.seconds, 3))
            for r in frame.itertuples(index=False)]
    header = ["layer", "channels", "kept", "%", "error, predicted", "error, alone", "error", "error, held out",
              "seconds"]
    return rows_to_table(header, rows) if rows else note("No layer was solved: groups were only cut.")


def repaired_table(report):
    """Layers that lost no inputs but read changed values, and the factors of classifiers."""
    rows = [(r["name"], number(r["channels"]), "yes" if r["changed"] else "no", number(r["relative_error_before"], 3),
             number(r["relative_error"], 3), number(r["held_out_error_before"], 3), number(r["held_out_error"], 3),
             number(r["seconds"], 3)) for r in report.get("repaired", [])]
    scaled = report.get("classifiers") or [c for c in [report.get("classifier")] if c]
    notes = [note("Logits of %s multiplied by %.4g: divergence on held-out images %.4g before, %.4g after."
                  % (c["name"], c["factor"], c["held_out_kl_before"], c["held_out_kl"]))
             for c in scaled if c["changed"]]
    shown = rows_to_table(["layer", "channels", "weights changed", "error before", "error after", "held out, before",
                           "held out, after", "seconds"], rows) if rows else note("No layer was repaired.")
    return shown + "".join(notes)


def paths_part(path):
    import pictures
    try:
        shown = picture(pictures.error_paths, results.paths(path)) if path else ""
    except results.NoPaths as error:
        shown = note(error)
    return ["<h2>Error paths</h2>", shown] if path else []


def run_page(name, report, model):
    import pictures
    frame = results.layers(report)
    parts = ["<h1>%s</h1>" % html.escape(name), what_was_run(report),
             "<h2>Before and after</h2>", before_and_after(report),
             "<h2>Channels kept</h2>", picture(lambda: pictures.channels(results.groups(report))),
             "<h2>Predicted and actual errors</h2>", picture(pictures.predicted, frame)]
    return parts + paths_part(model) + ["<h2>Pruned layers</h2>", layer_table(frame),
                                        "<h2>Repaired layers</h2>", repaired_table(report)]


def sweep_table(frame):
    rows = [(r["name"], r["series"], number(r["value"]), number(r["seed"]), percent(r["flops_share"]),
             percent(r["params_share"]), percent(r["top1"], 2), number(r["loss"]), number(r["kl"], 3),
             number(r["speedup"], 3), number(r["seconds"], 3)) for _, r in frame.iterrows()]
    return rows_to_table(["setting", "series", "budget", "seed", "multiply-adds, %", "parameters, %", "top-1, %",
                          "loss", "KL", "times as fast", "seconds"], rows)


def sweep_page(name, found, paths):
    import pictures
    frame = results.table(found)
    return ["<h1>%s</h1>" % html.escape(name), "<p>%d settings</p>" % len(frame),
            "<h2>Accuracy against cost</h2>", picture(pictures.tradeoff, frame),
            "<h2>Settings</h2>", sweep_table(frame),
            note("Speeds are those of the evaluation; settings that ran side by side disturb one another."),
            "<h2>Channels kept</h2>", picture(lambda: pictures.kept_shares(results.all_groups(found))),
            *paths_part(paths)]


def page(inputs, model):
    found = results.reports(inputs)
    frame = results.table(found)
    if len(frame) == 1:
        name, report = next((n, r) for n, r in found if r.get("pruned"))
        return name, run_page(name, report, model)
    name = os.path.basename(inputs[0])
    return name, sweep_page(name, found, model or (inputs[0] if results.is_hdf5(inputs[0]) else None))


def write_page(path, title, parts):
    beside = path + ".part"
    with open(beside, "w", encoding="utf-8") as f:
        f.write("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title>"
                "<style>%s</style></head>\n<body>%s<script>%s</script></body></html>\n"
                % (html.escape(title), STYLE, "\n".join(parts), SORTING))
    os.replace(beside, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="+", metavar="REPORT.json|SWEEP.h5",
                        help="one report, several of them, or a sweep")
    parser.add_argument("--model", metavar="OUT.h5", help="pruned model or paths file with the error paths")
    parser.add_argument("-o", "--output", metavar="PAGE.html", default="report.html")
    arguments = parser.parse_args()
    script.check_output(arguments.output)
    write_page(arguments.output, *page(arguments.inputs, arguments.model))
    print(arguments.output)


if __name__ == "__main__":
    script.run(main)
