"""Pictures, each on its own matplotlib figure: accuracy and divergence against cost, channels, error paths, predicted
against actual errors, scaling, methods compared. Data come from results.py. Legends stand outside of the data.
"""
import math

import results

# Okabe and Ito's colours, distinguishable with colour blindness.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
PALE, GREY = "#d5d9de", "#999999"


def figure(width, height, columns=1, rows=1, **options):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    drawing, axes = pyplot.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)
    for axis in axes.flat:
        axis.grid(True, alpha=0.3, linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return drawing, list(axes.flat)


def finish(drawing, title=None):
    from matplotlib import pyplot
    if title:
        drawing.suptitle(title, fontsize=10)
    drawing.tight_layout()
    pyplot.close(drawing)
    return drawing


def one_legend(drawing, axes, above=False):
    """One legend for all axes, to the right of the figure or above it."""
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncol": 3} if above else {
        "loc": "center left", "bbox_to_anchor": (1, 0.5)}
    drawing.legend(entries.values(), entries.keys(), frameon=False, fontsize=8, **place)


def legend_above(axis, columns):
    axis.legend(frameon=False, fontsize=8, ncol=columns, loc="lower center", bbox_to_anchor=(0.5, 1.01))


def logarithmic(axis, *names):
    """Makes axes ("x", "y") logarithmic, with labels that do not overlap: decades, or some numbers within one."""
    from matplotlib import ticker
    for name in names:
        getattr(axis, "set_%sscale" % name)("log")
        low, high = getattr(axis, "get_%slim" % name)()
        decades, along = abs(math.log10(high / low)), getattr(axis, name + "axis")
        narrow = ticker.MaxNLocator(4) if decades < 0.5 else ticker.LogLocator(subs=(1, 2, 5))
        along.set_major_locator(ticker.LogLocator(numticks=8) if decades >= 2 else narrow)
        along.set_major_formatter(ticker.FuncFormatter(lambda value, _: "%g" % value))
        along.set_minor_formatter(ticker.NullFormatter())


def _measures(frame):
    """What there is to draw: (column, title, the originals' values, on a logarithmic axis)."""
    found = []
    if frame["top1"].notna().any():
        originals = 100 * frame["original_top1"].dropna().unique()
        found.append(("top1", "top-1 accuracy, % (bars: 95 % interval)", originals, False))
    if frame["kl"].notna().any():
        found.append(("kl", "KL divergence to the original, nats", [0], True))
    elif frame["loss"].notna().any():
        found.append(("loss", "loss, nats", frame["original_loss"].dropna().unique(), False))
    if not found and frame["output_error"].notna().any():
        found.append(("output_error", "relative squared error of the output", [0], True))
    return found


def _add_series(axis, rows, cost, column, style, aside, others):
    """Every run as a point, a line through the medians of each budget; for a share of counted images bars, which are
    moved aside by so many per cent where those of others (their costs) would overlap."""
    factor = 100 if column == "top1" else 1
    middle = rows.groupby(rows["value"].fillna(rows[cost]))[[cost, column, "images"]].median().sort_values(cost)
    axis.plot(100 * rows[cost], factor * rows[column], linestyle="none", markersize=5, alpha=0.8, **style)
    axis.plot(100 * middle[cost], factor * middle[column], color=style["color"], linewidth=1.3)
    for at, share, images in middle.itertuples(index=False):
        if column == "top1" and images > 0:
            low, high = results.binomial_interval(share, images)
            place = 100 * at + (aside if (abs(others - at) < 0.02).any() else 0)
            axis.errorbar([place], [100 * share], yerr=[[100 * (share - low)], [100 * (high - share)]],
                          color=style["color"], linewidth=1, capsize=2, fmt="none", alpha=0.7)


def _add_originals(axis, values):
    """Stars at the cost of the originals; on a logarithmic axis, where their zero is nowhere, at the lower edge."""
    star = {"marker": "*", "markersize": 13, "color": "black", "linestyle": "none", "label": "original", "zorder": 5,
            "clip_on": False}
    if axis.get_yscale() == "log":
        axis.plot([100], [0], transform=axis.get_xaxis_transform(), **star)
        axis.annotate("0", (100, 0), xycoords=axis.get_xaxis_transform(), xytext=(0, 8), textcoords="offset points",
                      ha="center", fontsize=8)
    else:
        axis.plot([100] * len(values), values, **star)


def tradeoff(frame):
    """Accuracy and divergence against multiply-adds (against parameters, if all budgets are of them)."""
    measures = _measures(frame)
    if not measures:
        raise results.ResultError("no report has accuracies: run reap prune or reap sweep with --eval")
    of_params = (frame["budget"] == "params").all()
    cost, title = ("params_share", "parameters") if of_params else ("flops_share", "multiply-adds")
    drawing, axes = figure(4.8 * len(measures), 3.8, len(measures))
    for axis, (column, label, originals, log) in zip(axes, measures):
        series = list(frame.groupby("series"))
        for k, (name, rows) in enumerate(series):
            style = {"color": COLOURS[k % 7], "marker": MARKERS[(k + k // 7) % 7], "label": name}
            _add_series(axis, rows[rows[column] > 0] if log else rows.dropna(subset=[column]), cost, column, style,
                        min(0.7, 5 / len(series)) * (k - (len(series) - 1) / 2), frame[cost][frame["series"] != name])
        if log:
            logarithmic(axis, "y")
        _add_originals(axis, originals)
        axis.set_xlabel(title + " left, % of the original's")
        axis.set_ylabel(label)
    one_legend(drawing, axes)
    return finish(drawing)


def _add_methods(axis, rows, styles, marked):
    """KL divergence against multiply-adds, a line for each method with bars of 95 % intervals; the marked one is on
    top."""
    thin = {"markersize": 4, "linewidth": 1, "alpha": 0.85, "zorder": 3}
    for method in styles:
        part = rows[rows["method"] == method].sort_values("flops_share")
        if part.empty:
            continue
        below = (part["kl_half"]).clip(upper=2 / 3 * part["kl"])  # a logarithmic axis has no room for zero
        strokes = {"markersize": 5, "linewidth": 2.2, "zorder": 5} if method == marked else thin
        axis.plot(100 * part["flops_share"], part["kl"], label=method, **strokes, **styles[method])
        axis.errorbar(100 * part["flops_share"], part["kl"], yerr=[below, part["kl_half"]], fmt="none",
                      color=styles[method]["color"], linewidth=0.8, alpha=0.5, zorder=2)


def _method_styles(methods):
    """The first in black; the others in six colours, then again in other strokes."""
    return {m: {"color": COLOURS[(k - 1) % 6] if k else "#000000", "marker": MARKERS[(k + k // 7) % 7],
                "linestyle": ("-", "--", ":")[(k - 1) // 6 % 3] if k else "-"} for k, m in enumerate(methods)}


def compared(frame, sizes, reference, marked="reap"):
    """Small multiples: KL divergence against multiply-adds, a row for each way to choose sizes (with its title in
    `sizes`) and a column for each treatment, a line for each method. Where the marked one has no such treatment, its
    line is that of `reference`."""
    rows, columns = list(frame["sizes"].cat.categories), list(frame.sort_values("rank")["treatment"].unique())
    styles = _method_styles(sorted(frame["method"].unique(), key=lambda m: m != marked))
    drawing, axes = figure(3.3 * len(columns) + 0.6, 2.9 * len(rows) + 0.4, len(columns), len(rows), sharex=True,
                           sharey=True)
    for k, axis in enumerate(axes):
        row, column = rows[k // len(columns)], columns[k % len(columns)]
        part, title = frame[frame["sizes"] == row], "%s, %s" % (column, sizes[row])
        there = part["treatment"] == column
        if not (there & (part["method"] == marked)).any():
            there |= (part["method"] == marked) & (part["treatment"] == reference)
            title += " (%s: %s)" % (marked, reference)
        _add_methods(axis, part[there], styles, marked)
        axis.set_title(title, fontsize=9)
        if k >= len(axes) - len(columns):
            axis.set_xlabel("multiply-adds left, %")
        if k % len(columns) == 0:
            axis.set_ylabel("KL divergence, nats")
    logarithmic(axes[0], "y")
    one_legend(drawing, axes)
    return finish(drawing)


def _room_for_names(names):
    """Inches that upright names of layers take below an axis."""
    return 0.15 + 0.06 * max(len(results.short(n)) for n in names)


def _name_ticks(axis, names, step=1):
    axis.set_xticks(range(0, len(names), step))
    axis.set_xticklabels([results.short(n) for n in names[::step]], rotation=90, fontsize=7)


def channels(frame, title=None):
    """Channels of each group before and after, one bar a group in the order of the network, at most 32 in a row."""
    rows = -(-len(frame) // 32)
    per_row = -(-len(frame) // rows)
    drawing, axes = figure(max(5.0, 0.27 * per_row + 1.6), (2.4 + _room_for_names(frame["group"])) * rows, rows=rows)
    for k, axis in enumerate(axes):
        part = frame.iloc[k * per_row:(k + 1) * per_row]
        places = list(range(len(part)))
        axis.bar(places, part["channels"], color=PALE, width=0.8, label="original")
        axis.bar(places, part["kept"], color=COLOURS[0], width=0.8, label="kept")
        for x, row in zip(places, part.itertuples()):
            axis.annotate("%.0f" % (100 * row.share), (x, row.channels), ha="center", va="bottom", fontsize=6.5)
        _name_ticks(axis, list(part["group"]))
        axis.set_xlim(-0.6, per_row - 0.4)
        axis.set_ylabel("channels (above: % kept)")
    one_legend(drawing, axes)
    return finish(drawing, title)


def _grid(count, columns, width, height, below):
    """Small panels of one scale; those that are not needed are hidden. (figure, axes in use, those with x labels)"""
    rows = -(-count // columns)
    drawing, axes = figure(width * columns + 0.6, height * rows + below, columns, rows, sharex=True, sharey=True)
    for axis in axes[count:]:
        axis.set_visible(False)
    lowest = axes[max(0, count - columns):count]
    for axis in axes[:count]:
        axis.tick_params(labelsize=7, labelbottom=axis in lowest)
    return drawing, axes[:count], lowest


def kept_shares(runs):
    """Small multiples: the share kept of each group, a panel for each of [(title, budget, frame of groups)], as many in
    a row as there are budgets."""
    names = list(dict.fromkeys(name for _, _, frame in runs for name in frame["group"]))
    budgets = len({str(budget) for _, budget, _ in runs})
    columns = min(budgets if 2 <= budgets <= 6 else 4, len(runs))
    width = max(9.6 / columns, 0.06 * len(names))
    drawing, axes, lowest = _grid(len(runs), columns, width, 1.25, _room_for_names(names))
    for axis, (title, _, frame) in zip(axes, runs):
        shares = 100 * frame.set_index("group")["share"].reindex(names).fillna(1)
        axis.bar(range(len(names)), [100] * len(names), color=PALE, width=0.85)
        axis.bar(range(len(names)), shares, color=COLOURS[0], width=0.85)
        axis.set_title(title, fontsize=7, pad=3)
    axes[0].set_yticks([0, 50, 100])
    axes[0].set_ylim(0, 100)
    axes[0].set_xlim(-0.6, len(names) - 0.4)
    for axis in lowest:
        _name_ticks(axis, names, math.ceil(0.14 * len(names) / width))
    drawing.supylabel("channels kept, %", fontsize=9)
    return finish(drawing)


def error_paths(found):
    """Small multiples, a panel for each group with all others in grey: relative error of the layer's output, and
    divergence of the network's output (dots), against channels left."""
    lines = {name: ([100 * (1 - (i + 1) / p["channels"]) for i in range(len(p["error"]))], p["error"])
             for name, p in found.items() if len(p["error"])}
    dots = {name: ([100 * s / p["channels"] for s in p["sizes"]], p["moved"])
            for name, p in found.items() if p["sizes"] is not None and len(p["sizes"])}
    if not lines:
        raise results.ResultError("no group has lost a channel: there is no error path to draw")
    columns = min(len(lines), 3 if len(lines) <= 9 else 6)
    drawing, axes, lowest = _grid(len(lines), columns, 2.2 if columns <= 3 else 1.8, 1.5, 0.5)
    for axis, (name, (left, error)) in zip(axes, lines.items()):
        for x, y in lines.values():
            axis.plot(x, y, color=PALE, linewidth=0.7, label="other groups" if len(lines) > 1 else None)
        axis.plot(left, error, color=COLOURS[0], linewidth=1.6, label="relative error of the layer's output")
        axis.plot(left[-1:], error[-1:], color=COLOURS[0], marker="o", markersize=3.5)
        if name in dots:
            axis.plot(*dots[name], color=COLOURS[1], linestyle=":", marker="o", markersize=3,
                      label="divergence of the network's output")
        axis.set_title(results.short(name), fontsize=8, pad=3)
    xs, ys = zip(*lines.values(), *dots.values())
    smallest, positive = min(map(min, xs)), [y for part in ys for y in part if y > 0] or [1]
    axes[0].set_xlim(100, smallest - 0.04 * (100 - smallest))
    axes[0].set_ylim(max(1e-8 * max(positive), min(positive) / 1.5), 1.5 * max(positive))
    logarithmic(axes[0], "y")
    for axis in lowest:
        axis.set_xlabel("channels left, %", fontsize=8)
    one_legend(drawing, axes, above=True)
    return finish(drawing)


def predicted(frame, title=None):
    """Errors predicted by the elimination against measured errors, on the images in the moments and on held-out images.
    Both are those before producers were solved, which lowers them further."""
    frame = frame[(frame["predicted"] > 0) & (frame["alone_error"] > 0)]
    if frame.empty:
        raise results.ResultError("no layer has a predicted error (only the method reap predicts)")
    drawing, (axis,) = figure(4.6, 4.4)
    held = frame[frame["alone_held_out"] > 0]
    values = list(frame["predicted"]) + list(frame["alone_error"]) + list(held["alone_held_out"])
    low, high = min(values) * 0.7, max(values) * 1.4
    axis.plot([low, high], [low, high], color=GREY, linewidth=1, label="equal")
    axis.plot(frame["predicted"], frame["alone_error"], linestyle="none", marker="o", markersize=5, color=COLOURS[0],
              label="images in the moments")
    axis.plot(held["predicted"], held["alone_held_out"], linestyle="none", marker="x", markersize=5, color=COLOURS[1],
              label="held-out images")
    axis.set_xlim(low, high)
    axis.set_ylim(low, high)
    logarithmic(axis, "x", "y")
    axis.set_xlabel("relative error, predicted")
    axis.set_ylabel("relative error, actual")
    legend_above(axis, 3)
    return finish(drawing, title)


def _stack_phases(axis, points):
    """Seconds of the phases that take longest, one bar for each number of ranks; all others are the rest."""
    total = {}
    for _, seconds in points:
        for phase, value in seconds.items():
            if phase not in ("total", "other") and isinstance(value, (int, float)):
                total[phase] = total.get(phase, 0) + value
    longest = sorted(total, key=total.get, reverse=True)[:len(COLOURS)]
    phases = [p for p in longest if total[p] > 0.01 * sum(s["total"] for _, s in points)]
    places, bottom = list(range(len(points))), [0.0] * len(points)
    for k, phase in enumerate(phases):
        heights = [float(s.get(phase) or 0) for _, s in points]
        axis.bar(places, heights, bottom=bottom, width=0.6, color=COLOURS[k], label=phase.replace("_", " "))
        bottom = [b + h for b, h in zip(bottom, heights)]
    rest = [max(0.0, s["total"] - b) for (_, s), b in zip(points, bottom)]
    axis.bar(places, rest, bottom=bottom, width=0.6, color=PALE, label="rest")
    axis.set_xticks(places)
    axis.set_xticklabels([str(r) for r, _ in points])
    axis.set_ylabel("seconds")


def _add_speedup(axis, points):
    from matplotlib import ticker
    ranks, (fewest, slowest) = [r for r, _ in points], points[0]
    axis.plot(ranks, [r / fewest for r in ranks], color=GREY, linewidth=1, label="ideal")
    axis.plot(ranks, [slowest["total"] / s["total"] for _, s in points], marker="o", color=COLOURS[0], label="measured")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(ranks)
    axis.set_xticklabels([str(r) for r in ranks])
    axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: "%g" % value))
    for along in (axis.xaxis, axis.yaxis):
        along.set_minor_locator(ticker.NullLocator())
    axis.set_ylabel("times faster than on %d rank%s" % (fewest, "" if fewest == 1 else "s"))


def scaling(points):
    """points: [(ranks, seconds dictionary)]. Time by phase, and speed-up against the fewest ranks."""
    points = sorted(points, key=lambda p: p[0])
    drawing, axes = figure(9.6, 4.0, 2)
    _stack_phases(axes[0], points)
    _add_speedup(axes[1], points)
    for axis in axes:
        axis.set_xlabel("ranks")
        legend_above(axis, 4)
    return finish(drawing)
