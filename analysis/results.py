"""Results of reap as tables: reports (JSON), sweeps, pruned models and paths (HDF5).

Every function takes file names and returns pandas data frames or plain dictionaries; ResultError names the file
and the fault in one line.
"""
import json
import os


class ResultError(Exception):
    pass


def is_hdf5(path):
    with open(path, "rb") as f:
        return f.read(8) == b"\x89HDF\r\n\x1a\n"


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def _report_of(string, origin):
    try:
        report = json.loads(string)
    except ValueError as error:
        raise ResultError("%s: not a JSON report (%s)" % (origin, error))
    if not isinstance(report, dict) or not isinstance(report.get("baseline"), dict):
        raise ResultError("%s: not a report of reap (no \"baseline\")" % origin)
    return report


def _reports_in_sweep(path):
    import h5py
    with h5py.File(path, "r") as f:
        kind = text(f.attrs.get("format", ""))
        if kind != "reap-sweep":
            raise ResultError("%s: a file of format \"%s\"; wanted a sweep (reap sweep) or reports (--report)" %
                              (path, kind or "unknown"))
        settings = f["settings"]
        return [(name, _report_of(text(settings[name]["report"][()]), "%s: settings/%s" % (path, name)))
                for name in settings if "report" in settings[name]]


def reports(paths):
    """[(name, report)] of all reports in JSON files and sweeps; those of `reap prune` have "pruned"."""
    found = []
    for path in paths:
        if not os.path.isfile(path):
            raise ResultError("%s: no such file" % path)
        if is_hdf5(path):
            found += _reports_in_sweep(path)
        else:
            with open(path, encoding="utf-8", errors="replace") as f:
                found.append((os.path.splitext(os.path.basename(path))[0], _report_of(f.read(), path)))
    if not found:
        raise ResultError("no report in %s" % ", ".join(paths))
    return found


def budget_of(report):
    """("flops", 0.5), say; (None, nan) where no single number was asked for."""
    options = report.get("options", {})
    for name in ("flops", "params", "latency", "keep"):
        if isinstance(options.get(name), (int, float)):
            return name, float(options[name])
    return None, float("nan")


def table(found):
    """One row a pruned network: budget, method, ratios, figures of original and pruned network."""
    import pandas
    rows = []
    for name, report in found:
        if "pruned" not in report:
            continue
        options, before, after = report.get("options", {}), report["baseline"], report["pruned"]
        kind, value = budget_of(report)
        row = {"name": name, "method": options.get("method"), "refit": options.get("refit"),
               "ratios": options.get("ratios", "uniform"), "repair": options.get("repair"), "seed": options.get("seed"),
               "budget": kind, "value": value, "ranks": report.get("ranks"),
               "seconds": report.get("seconds", {}).get("total"), "flops_share": after["flops"] / before["flops"],
               "params_share": after["params"] / before["params"]}
        for key in ("flops", "params", "top1", "top5", "loss", "kl", "output_error"):
            row[key] = after.get(key)
            row["original_" + key] = before.get(key)
        rows.append(row)
    if not rows:
        raise ResultError("none of the reports is of a pruned network")
    frame = pandas.DataFrame(rows)
    for key in ("top1", "top5", "loss", "kl", "output_error", "seconds"):
        frame[key] = pandas.to_numeric(frame[key])
    return frame.sort_values("flops_share").reset_index(drop=True)


def _alone(layer):
    """Errors of a pruned layer before its producer was solved with it: the elimination predicts these."""
    producer = layer.get("producer")
    if not producer:
        return {"alone_error": layer["relative_error"], "alone_held_out": layer["held_out_error"]}
    return {"alone_error": producer["alone_relative_error"], "alone_held_out": producer["alone_held_out_error"]}


def layers(report):
    """One row a pruned layer, in the order of pruning."""
    import pandas
    rows = [{"name": l["name"], "group": l["group"], "channels": l["channels"], "kept": len(l["kept"]),
             "share": len(l["kept"]) / l["channels"], "relative_error": l["relative_error"],
             "held_out_error": l["held_out_error"], "predicted": l["predicted_relative_error"], "seconds": l["seconds"],
             **_alone(l)}
            for l in report.get("layers", [])]
    if not rows:
        raise ResultError("the report lists no pruned layer")
    frame = pandas.DataFrame(rows)
    for key in ("relative_error", "held_out_error", "predicted", "alone_error", "alone_held_out"):
        frame[key] = pandas.to_numeric(frame[key])
    return frame


def paths(path):
    """{group: {"channels", "removed", "error", "sizes", "moved"}} of a pruned model, a paths file or a sweep; error[k]
    is the relative error after k + 1 removals. sizes and moved are None if the output was not measured."""
    import h5py
    if not os.path.isfile(path):
        raise ResultError("%s: no such file" % path)
    if not is_hdf5(path):
        raise ResultError("%s: not an HDF5 file; error paths are in pruned models (-o) and paths files" % path)
    found = {}
    with h5py.File(path, "r") as f:
        for name, group in f.get("groups", {}).items():
            if "error" not in group:
                continue
            found[name] = {"channels": int(group.attrs["channels"]), "error": group["error"][()],
                           "sizes": group["sizes"][()] if "sizes" in group else None,
                           "moved": group["moved"][()] if "moved" in group else None}
    if not found:
        raise ResultError("%s: no error path in it (the method has none, or it is another kind of file)" % path)
    return found


def short(name):
    """A layer's name that fits an axis: repeated parts of torch.onnx's names of nested modules are dropped."""
    parts = [p for p in name.split(".") if p not in ("Conv", "Gemm", "MatMul")] or [name]
    kept = [p for i, p in enumerate(parts) if not any(q.startswith(p + ".") or q == p for q in parts[i + 1:i + 2])]
    return ".".join(kept[-3:])
