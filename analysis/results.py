"""Results of reap as tables: reports (JSON), sweeps, pruned models and paths (HDF5).

Every function takes file names and returns pandas data frames or plain dictionaries; ResultError names the file
and the fault in one line.
"""
import json
import math
import os
import re

import script


class ResultError(script.UserError):
    pass


class NoPaths(ResultError):
    """A file of reap's that might have error paths, but has none."""


def is_hdf5(path):
    with open(path, "rb") as f:
        return f.read(8) == b"\x89HDF\r\n\x1a\n"


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def _report_of(string, origin):
    try:
        report = json.loads(string)
    except ValueError as error:
        raise ResultError("%s: not a JSON report, nor a sweep (%s)" % (origin, error))
    if not isinstance(report, dict) or not isinstance(report.get("baseline"), dict):
        raise ResultError("%s: not a report of reap prune or reap eval (no \"baseline\")" % origin)
    return report


def hdf5(path, wanted):
    """The open HDF5 file; wanted says what it should have been."""
    import h5py
    if not os.path.isfile(path):
        raise ResultError("%s: %s" % (path, "a folder; wanted " + wanted if os.path.isdir(path) else "no such file"))
    if not is_hdf5(path):
        raise ResultError("%s: not an HDF5 file; wanted %s" % (path, wanted))
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ResultError("%s: a damaged HDF5 file (%s)" % (path, str(error).splitlines()[0]))


def _kind(f):
    return text(f.attrs.get("format", "")) or ("data set" if "images" in f or "inputs" in f else "unknown kind")


def _reports_in_sweep(path):
    wanted = "a sweep (reap sweep) or reports (--report)"
    with hdf5(path, wanted) as f:
        if _kind(f) != "reap-sweep":
            raise ResultError("%s: a file of another kind (%s); wanted %s" % (path, _kind(f), wanted))
        settings = f["settings"]
        return [(name, _report_of(text(settings[name]["report"][()]), "%s: settings/%s" % (path, name)))
                for name in settings if "report" in settings[name]]


def reports(paths):
    """[(name, report)] of all reports in JSON files and sweeps; those of `reap prune` have "pruned"."""
    found = []
    for path in paths:
        if not os.path.isfile(path) or is_hdf5(path):
            found += _reports_in_sweep(path)
        else:
            with open(path, encoding="utf-8", errors="replace") as f:
                found.append((os.path.splitext(os.path.basename(path))[0], _report_of(f.read(), path)))
    if not found:
        raise ResultError("no report in %s" % ", ".join(paths))
    return found


BUDGETS = ("flops", "params", "latency", "keep")


def budget_of(report):
    """("flops", 0.5), say; (None, nan) where no single number was asked for."""
    budget = report.get("budget") or {}
    asked = budget.get("asked")
    return (budget.get("of"), float(asked)) if isinstance(asked, (int, float)) else (None, float("nan"))


def settings_of(report):
    """What was pruned and how, without the amount and the seed."""
    network = os.path.basename(str(report.get("inputs", {}).get("model", {}).get("path", "")))
    options = {k: v for k, v in report.get("options", {}).items() if k not in BUDGETS + ("seed", "scope")}
    return {"network": network, **options, "ratios": report.get("ratios"), "by": budget_of(report)[0]}


def _worded(key, value):
    if key == "ratios":
        return "uniform sizes" if value == "uniform" else "sizes by %s" % value
    if key == "positions" and value <= 0:
        return "all positions" if value == 0 else "%d rows for each column" % -value
    value = ("on" if value else "off") if isinstance(value, bool) else value
    return str(value) if key in ("network", "method") else "%s %s" % (key.replace("_", " "), value)


def series_names(settings):
    """What distinguishes each of several settings from the others, in words."""
    keys = dict.fromkeys(k for s in settings for k in s)
    varying = [k for k in keys if len({str(s.get(k)) for s in settings}) > 1]
    return [", ".join(_worded(k, s[k]) for k in varying if s.get(k) is not None) or "pruned" for s in settings]


def speedup(report):
    """How many times faster the pruned network is: as measured layer by layer for --latency, else in the forward passes
    of the evaluation; None if neither was timed."""
    latency = report.get("latency_ms") or {}
    pairs = [(latency.get("original"), latency.get("measured"))]
    pairs += [(report["baseline"].get(key), report["pruned"].get(key)) for key in ("forward_seconds", "seconds")]
    return next((before / after for before, after in pairs if before and after), None)


def binomial_interval(share, trials):
    """Wilson's 95 % interval of a share that was seen in so many trials."""
    z = 1.96
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return centre - half, centre + half


def _row(name, report):
    before, after, options = report["baseline"], report["pruned"], report.get("options", {})
    kind, value = budget_of(report)
    row = {"name": name, "method": options.get("method"), "refit": options.get("refit"), "ratios": report.get("ratios"),
           "repair": options.get("repair"), "seed": options.get("seed"), "budget": kind, "value": value,
           "ranks": report.get("ranks"), "seconds": report.get("seconds", {}).get("total"), "speedup": speedup(report),
           "images": after.get("images"), "flops_share": after["flops"] / before["flops"],
           "params_share": after["params"] / before["params"]}
    for key in ("flops", "params", "top1", "top5", "loss", "kl", "output_error"):
        row[key] = after.get(key)
        row["original_" + key] = before.get(key)
    return row


def _pruned(found):
    pruned = [(name, report) for name, report in found if isinstance(report.get("pruned"), dict)]
    if not pruned:
        raise ResultError("%s: no report of a pruned network (reap prune --report, reap sweep)"
                          % ", ".join(name for name, _ in found))
    return pruned


def _frame(pruned):
    import pandas
    frame = pandas.DataFrame([_row(name, report) for name, report in pruned])
    frame.insert(1, "series", series_names([settings_of(report) for _, report in pruned]))
    for key in ("top1", "top5", "loss", "kl", "output_error", "seconds", "speedup"):
        frame[key] = pandas.to_numeric(frame[key])
    return frame


def table(found):
    """One row a pruned network: its series (what differs from others), budget, figures of original and pruned one."""
    return _frame(_pruned(found)).sort_values("flops_share", kind="stable").reset_index(drop=True)


def groups(report):
    """One row a channel group, in the order of the network: channels and how many of them are kept."""
    import pandas
    rows = [{"group": name, "channels": g["channels"], "kept": g["kept"], "share": g["kept"] / g["channels"]}
            for name, g in report.get("groups", {}).items()]
    if not rows:
        raise ResultError("the report lists no pruned group")
    return pandas.DataFrame(rows)


def all_groups(found):
    """[(name, budget, groups)] of pruned networks, in the order of series and seeds, large networks first."""
    pruned = _pruned(found)
    order = _frame(pruned).sort_values(["series", "seed", "flops_share"], ascending=[True, True, False], kind="stable")
    return [(pruned[k][0], order.at[k, "value"], groups(pruned[k][1])) for k in order.index]


def _alone(layer):
    """Errors of a pruned layer before its producer was solved with it: the elimination predicts these."""
    producer = layer.get("producer")
    if not producer:
        return {"alone_error": layer["relative_error"], "alone_held_out": layer["held_out_error"]}
    return {"alone_error": producer["alone_relative_error"], "alone_held_out": producer["alone_held_out_error"]}


def layers(report):
    """One row a layer that was solved after pruning, in that order; empty where groups were only cut."""
    import pandas
    columns = ["name", "group", "channels", "kept", "share", "relative_error", "held_out_error", "predicted", "seconds",
               "alone_error", "alone_held_out"]
    rows = [{"name": l["name"], "group": l["group"], "channels": l["channels"], "kept": len(l["kept"]),
             "share": len(l["kept"]) / l["channels"], "relative_error": l["relative_error"],
             "held_out_error": l["held_out_error"], "predicted": l["predicted_relative_error"], "seconds": l["seconds"],
             **_alone(l)}
            for l in report.get("layers", [])]
    frame = pandas.DataFrame(rows, columns=columns)
    for key in ("relative_error", "held_out_error", "predicted", "alone_error", "alone_held_out"):
        frame[key] = pandas.to_numeric(frame[key])
    return frame


def paths(path):
    """{group: {"channels", "removed", "error", "sizes", "moved"}} of a pruned model, a paths file or a sweep; error[k]
    is the relative error after k + 1 removals. sizes and moved are None if the output was not measured."""
    found = {}
    with hdf5(path, "a pruned model (-o), a paths file or a sweep, which have the error paths") as f:
        kind = _kind(f)
        for name, group in sorted(f.get("groups", {}).items(), key=lambda pair: natural(pair[0])):
            if "error" not in group:
                continue
            found[name] = {"channels": int(group.attrs["channels"]), "error": group["error"][()],
                           "sizes": group["sizes"][()] if "sizes" in group else None,
                           "moved": group["moved"][()] if "moved" in group else None}
    if not found:
        raise NoPaths("%s: no error path in it (%s); methods other than reap have none, nor have coupled groups"
                      % (path, kind))
    return found


def natural(name):
    """Sorts layer2 before layer10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split("([0-9]+)", name)]


def short(name, longest=24):
    """A layer's name that fits an axis: repeated parts of torch.onnx's names of nested modules are dropped."""
    parts = [p for p in name.split(".") if p not in ("Conv", "Gemm", "MatMul")] or [name]
    kept = [p for i, p in enumerate(parts) if not any(q.startswith(p + ".") or q == p for q in parts[i + 1:i + 2])]
    joined = ".".join(kept[-3:])
    return joined if len(joined) <= longest else "…" + joined[1 - longest:]
