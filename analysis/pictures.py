"""Pictures, each on its own matplotlib figure: accuracy and divergence against cost, channels, error paths, predicted
against actual errors, scaling. Data come from results.py.
"""
import math

# Okabe and Ito's colours, distinguishable with colour blindness.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]


def figure(width, height, columns=1):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    drawing, axes = pyplot.subplots(1, columns, figsize=(width, height), squeeze=False)
    for axis in axes[0]:
        axis.grid(True, alpha=0.3, linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return drawing, list(axes[0])


def finish(drawing):
    from matplotlib import pyplot
    drawing.tight_layout()
    pyplot.close(drawing)
    return drawing


def _label(keys, varying):
    parts = [str(v) if k != "repair" else "repair %s" % v for k, v in keys.items() if k in varying and v is not None]
    return ", ".join(parts) or "pruned"


def _series(frame):
    """(label, rows) of what differs in method, refit, ratios, repair; seeds make several points in one series."""
    keys = ["method", "refit", "ratios", "repair"]
    varying = [k for k in keys if frame[k].astype(str).nunique() > 1]
    for values, rows in frame.groupby([frame[k].astype(str) for k in keys], sort=False):
        first = dict(zip(keys, (rows.iloc[0][k] for k in keys)))
        yield _label(first, varying), rows.sort_values("flops_share")


def _measures(frame):
    """What there is to draw: (column, title, the original's value or None, logarithmic)."""
    found = []
    if frame["top1"].notna().any():
        found.append(("top1", "top-1 accuracy, %", frame["original_top1"].dropna().iloc[0], False))
    if frame["kl"].notna().any():
        found.append(("kl", "KL divergence to the original, nats", None, True))
    elif frame["loss"].notna().any():
        found.append(("loss", "loss, nats", frame["original_loss"].dropna().iloc[0], False))
    if not found and frame["output_error"].notna().any():
        found.append(("output_error", "relative squared error of the output", None, True))
    return found


def tradeoff(frame):
    """Accuracy and divergence against multiply-adds, the original marked."""
    measures = _measures(frame)
    if not measures:
        raise ValueError("no report has accuracies: run reap prune or reap sweep with --eval")
    drawing, axes = figure(5.2 * len(measures), 3.8, len(measures))
    for axis, (column, title, original, logarithmic) in zip(axes, measures):
        factor = 100 if column == "top1" else 1
        for k, (label, rows) in enumerate(_series(frame)):
            rows = rows[rows[column].notna() & ((rows[column] > 0) | (not logarithmic))]
            middle = rows.groupby("flops_share")[column].median()
            colour = COLOURS[k % len(COLOURS)]
            axis.plot(100 * middle.index, factor * middle.values, color=colour, linewidth=1.4)
            axis.plot(100 * rows["flops_share"], factor * rows[column], linestyle="none", color=colour,
                      marker=MARKERS[k % len(MARKERS)], markersize=5, label=label)
        if original is not None:
            axis.plot([100], [factor * original], marker="*", markersize=13, color="black", linestyle="none",
                      label="original", clip_on=False, zorder=5)
        if logarithmic:
            axis.set_yscale("log")
        axis.set_xlabel("multiply-adds left, % of the original's")
        axis.set_ylabel(title)
        axis.legend(frameon=False, fontsize=9)
    return finish(drawing)


def channels(frame, title=None):
    """Channels per layer before and after, one bar a layer in the order of pruning."""
    from results import short
    drawing, (axis,) = figure(max(5.5, 0.27 * len(frame) + 2), 4.2)
    places = range(len(frame))
    axis.bar(places, frame["channels"], color="#d5d9de", width=0.8, label="original")
    axis.bar(places, frame["kept"], color=COLOURS[0], width=0.8, label="kept")
    for x, row in zip(places, frame.itertuples()):
        axis.annotate("%.0f" % (100 * row.share), (x, row.channels), ha="center", va="bottom", fontsize=6.5,
                      color="#444444")
    axis.set_xticks(list(places))
    axis.set_xticklabels([short(n) for n in frame["group"]], rotation=90, fontsize=7)
    axis.set_ylabel("channels (above: % kept)")
    axis.margins(x=0.01, y=0.12)
    axis.legend(frameon=False, fontsize=9, loc="upper left")
    if title:
        axis.set_title(title, fontsize=10)
    return finish(drawing)


def error_paths(found, title=None):
    """Relative error of each layer's output, and divergence of the network's output (dots), against channels left."""
    from matplotlib import cm
    from results import short
    measured = any(p["sizes"] is not None and len(p["sizes"]) for p in found.values())
    drawing, axes = figure(10.4 if measured else 6.4, 4.4, 2 if measured else 1)
    for k, (name, path) in enumerate(found.items()):
        colour = cm.viridis(k / max(1, len(found) - 1))
        left = [100 * (1 - (i + 1) / path["channels"]) for i in range(len(path["error"]))]
        axes[0].plot(left, path["error"], color=colour, linewidth=1, label=short(name))
        if measured and path["sizes"] is not None:
            axes[1].plot([100 * s / path["channels"] for s in path["sizes"]], path["moved"], color=colour, linewidth=1,
                         marker="o", markersize=3, label=short(name))
    for axis, label in zip(axes, ("relative error of the layer's output", "divergence of the network's output")):
        axis.set_yscale("log")
        axis.set_xlim(100, 0)
        axis.set_xlabel("channels left, %")
        axis.set_ylabel(label)
    axes[0].set_ylim(bottom=max(1e-8, axes[0].get_ylim()[0]))
    axes[-1].legend(frameon=False, fontsize=6.5, ncol=1 + len(found) // 20, loc="center left", bbox_to_anchor=(1, 0.5))
    if title:
        axes[0].set_title(title, fontsize=10)
    return finish(drawing)


def predicted(frame, title=None):
    """Errors predicted by the elimination against measured errors, on the images in the moments and on held-out images.
    Both are those before producers were solved, which lowers them further."""
    drawing, (axis,) = figure(4.8, 4.4)
    frame = frame[(frame["predicted"] > 0) & (frame["alone_error"] > 0)]
    if frame.empty:
        raise ValueError("no layer has a predicted error (only the method reap predicts)")
    values = list(frame["predicted"]) + list(frame["alone_error"])
    low, high = min(values) * 0.7, max(values + list(frame["alone_held_out"].dropna())) * 1.4
    axis.plot([low, high], [low, high], color="#999999", linewidth=1, label="equal")
    axis.plot(frame["predicted"], frame["alone_error"], linestyle="none", marker="o", markersize=5, color=COLOURS[0],
              label="images in the moments")
    held = frame[frame["alone_held_out"] > 0]
    if len(held):
        axis.plot(held["predicted"], held["alone_held_out"], linestyle="none", marker="x", markersize=5,
                  color=COLOURS[1], label="held-out images")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("relative error, predicted")
    axis.set_ylabel("relative error, actual")
    axis.legend(frameon=False, fontsize=9)
    if title:
        axis.set_title(title, fontsize=10)
    return finish(drawing)


def scaling(points):
    """points: [(ranks, seconds dictionary)]. Time by phase, and speed-up against the fewest ranks."""
    points = sorted(points, key=lambda p: p[0])
    drawing, axes = figure(9.6, 3.8, 2)
    phases = [p for p in points[0][1] if p != "total" and
              any(isinstance(s.get(p), (int, float)) and s[p] > 0.01 * s["total"] for _, s in points)]
    places, bottom = list(range(len(points))), [0.0] * len(points)
    for k, phase in enumerate(phases):
        heights = [float(s.get(phase) or 0) for _, s in points]
        axes[0].bar(places, heights, bottom=bottom, width=0.6, color=COLOURS[k % len(COLOURS)], label=phase)
        bottom = [b + h for b, h in zip(bottom, heights)]
    rest = [max(0.0, s["total"] - b) for (_, s), b in zip(points, bottom)]
    axes[0].bar(places, rest, bottom=bottom, width=0.6, color="#d5d9de", label="rest")
    axes[0].set_xticks(places)
    axes[0].set_xticklabels([str(r) for r, _ in points])
    axes[0].set_xlabel("ranks")
    axes[0].set_ylabel("seconds")
    axes[0].legend(frameon=False, fontsize=8)
    ranks = [r for r, _ in points]
    first = points[0]
    axes[1].plot(ranks, [r / first[0] for r in ranks], color="#999999", linewidth=1, label="ideal")
    axes[1].plot(ranks, [first[1]["total"] / s["total"] for _, s in points], marker="o", color=COLOURS[0],
                 label="measured")
    axes[1].set_xscale("log", base=2)
    axes[1].set_yscale("log", base=2)
    axes[1].set_xticks(ranks)
    axes[1].set_xticklabels([str(r) for r in ranks])
    top = int(math.ceil(math.log2(max(2, ranks[-1] / first[0]))))
    axes[1].set_yticks([2 ** k for k in range(top + 1)])
    axes[1].set_yticklabels([str(2 ** k) for k in range(top + 1)])
    axes[1].set_xlabel("ranks")
    axes[1].set_ylabel("times faster than on %d rank%s" % (first[0], "" if first[0] == 1 else "s"))
    axes[1].legend(frameon=False, fontsize=9)
    return finish(drawing)
