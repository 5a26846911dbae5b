#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Reports, plans, tables of times, paths and sweeps against analysis/reports.schema.json, and that against the page that explains it.

Every key that is written is in the schema, every key of the schema is written by some run here and has its place in a table of
analysis/reports.md, and the page's examples run. The validator here knows what the schema uses and refuses all else; where the
package jsonschema is there it has to agree. Exit status 77 where NumPy or h5py are missing.
"""
import datetime
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print("SKIPPED: %s" % missing)
    sys.exit(77)
sys.dont_write_bytecode = True
import onnx_bytes  # noqa: E402
from fashion import CALIBRATION, TEST, few_images  # noqa: E402

try:
    import pandas
except ImportError:
    pandas = None
    print("pandas is missing: the examples of the page are not run")

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.abspath(os.environ["REAP_PROGRAM"])
ANALYSIS = os.path.join(HERE, os.pardir, "analysis")
with open(os.path.join(ANALYSIS, "reports.schema.json")) as file:
    SCHEMA = json.load(file)
with open(os.path.join(ANALYSIS, "reports.md")) as file:
    PAGE = file.read()
FEW = ["--calib", CALIBRATION, "--images", "60", "--positions", "4"]


# ---------------------------------------------------------------- the validator

TYPES = {"object": dict, "array": list, "string": str, "null": type(None), "boolean": bool, "number": (int, float), "integer": int}
KNOWN = {"$ref", "type", "enum", "const", "pattern", "minLength", "minimum", "items", "properties", "required", "title", "allOf",
         "anyOf", "additionalProperties", "unevaluatedProperties", "patternProperties"}


# By the package jsonschema: [schema, [name, document] ...] from standard input.
JUDGE = """
import json, jsonschema, sys
schema, *documents = json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(schema)
judge = jsonschema.Draft202012Validator(schema)
for name, document in documents:
    for error in judge.iter_errors(document):
        print(name, error.message[:300])
"""


def python_with(module):
    """A Python that has the module, or None."""
    for python in (sys.executable, os.environ.get("REAP_VENV_PYTHON")):
        if python and os.path.exists(python) and subprocess.run([python, "-c", "import " + module], stderr=subprocess.DEVNULL).returncode == 0:
            return python
    return None


class Wrong(Exception):
    pass


def is_of(value, name):
    return isinstance(value, TYPES[name]) and (name in ("boolean", "object", "array", "string", "null") or not isinstance(value, bool))


def resolve(schema):
    """The schema itself, and the name of its definition if it is one."""
    name = schema["$ref"].rsplit("/", 1)[1] if "$ref" in schema else None
    return (SCHEMA["$defs"][name] if name else schema), name


def check_object(value, schema, at, seen):
    known = set()
    for part in [{"$ref": "#/$defs/" + at[1]} if at[1] else schema] + schema.get("allOf", []):
        definition, name = resolve(part)
        properties = definition.get("properties", {})
        for key in definition.get("required", []):
            if key not in value:
                raise Wrong("%s: %s is missing" % (at[0], key))
        for key in set(properties) & set(value):
            seen.add((name, key))
            known.add(key)
            validate(value[key], properties[key], "%s.%s" % (at[0], key), seen)
        for pattern, rule in definition.get("patternProperties", {}).items():
            for key in [k for k in value if re.search(pattern, k)]:
                known.add(key)
                validate(value[key], rule, "%s.%s" % (at[0], key), seen)
    rest = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
    for key in set(value) - known:
        if rest is False:
            raise Wrong("%s: %s is not in the schema" % (at[0], key))
        if rest is not True:
            validate(value[key], rest, "%s.%s" % (at[0], key), seen)


def check_any(value, choices, at, seen):
    reasons = []
    for choice in choices:
        own = set()
        try:
            validate(value, choice, at, own)
            seen |= own
            return
        except Wrong as wrong:
            reasons.append(str(wrong))
    raise Wrong("%s: none of %d forms: %s" % (at, len(choices), "; ".join(reasons)[:500]))


def validate(value, schema, at, seen):
    """Raises Wrong; adds (definition, key) of all keys found to `seen`."""
    schema, name = resolve(schema)
    if set(schema) - KNOWN:
        raise Wrong("%s: the schema uses %s, unknown here" % (at, set(schema) - KNOWN))
    kinds = schema.get("type", [])
    if kinds and not any(is_of(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        raise Wrong("%s: %.60r is not %s" % (at, value, kinds))
    if ("enum" in schema and value not in schema["enum"]) or ("const" in schema and value != schema["const"]):
        raise Wrong("%s: %.60r is not %s" % (at, value, schema.get("enum", schema.get("const"))))
    if isinstance(value, str) and (not re.search(schema.get("pattern", ""), value) or len(value) < schema.get("minLength", 0)):
        raise Wrong("%s: %.80r does not fit" % (at, value))
    if is_of(value, "number") and value < schema.get("minimum", value):
        raise Wrong("%s: %r is too small" % (at, value))
    if isinstance(value, dict):
        check_object(value, schema, (at, name), seen)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            validate(item, schema["items"], "%s[%d]" % (at, index), seen)
    if "anyOf" in schema:
        check_any(value, schema["anyOf"], at, seen)


# ---------------------------------------------------------------- files

def plain(value):
    """What HDF5 holds in the terms of JSON."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray) or isinstance(value, np.generic):
        return plain(value.tolist())
    return [plain(v) for v in value] if isinstance(value, list) else value


def tree(group):
    out = {key: plain(value) for key, value in group.attrs.items()}
    for key, item in group.items():
        assert key not in out, "%s is an attribute and a member" % key
        out[key] = tree(item) if isinstance(item, h5py.Group) else plain(item[()])
    return out


def load(path):
    if path.endswith(".json"):
        with open(path) as source:
            return json.load(source)
    with h5py.File(path, "r") as source:
        return tree(source)


def two_heads(path):
    """Logits and a soft-max beside each other."""
    random = np.random.RandomState(3)

    def weights(name, *shape):
        return onnx_bytes.tensor(name, shape, list((random.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5).ravel()))

    nodes = [onnx_bytes.node("Conv", ["x", "v"], ["a"], "first", pads=[1] * 4), onnx_bytes.node("Relu", ["a"], ["b"]),
             onnx_bytes.node("Conv", ["b", "w"], ["c"], "second", pads=[1] * 4), onnx_bytes.node("Relu", ["c"], ["d"]),
             onnx_bytes.node("GlobalAveragePool", ["d"], ["e"]), onnx_bytes.node("Flatten", ["e"], ["f"]),
             onnx_bytes.node("Gemm", ["f", "p"], ["g"], "left"), onnx_bytes.node("Softmax", ["g"], ["one"], axis=1),
             onnx_bytes.node("Gemm", ["f", "q"], ["h"], "right"), onnx_bytes.node("Softmax", ["h"], ["two"], axis=1)]
    tensors = [weights("v", 12, 1, 3, 3), weights("w", 10, 12, 3, 3), weights("p", 10, 10), weights("q", 10, 10)]
    with open(path, "wb") as out:
        out.write(onnx_bytes.model(nodes, [("x", [1, 1, 28, 28])], [("one", [1, 10]), ("two", [1, 10])], tensors))


def steady_times(measured, path):
    """The table with times that grow with the sizes: measured ones of so small layers are mostly those of other processes."""
    table = load(measured)
    for layer in table["layers"].values():
        layer["ms"] = [[1e-4 * n_in * n_out for n_out in layer["out"]] for n_in in layer["in"]]
    table["whole_ms"] = 1.1 * sum(layer["ms"][-1][-1] for layer in table["layers"].values())
    with open(path, "w") as out:
        json.dump(table, out)


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.made = []
        network, judged = cls.at("heads.onnx"), ["--eval", cls.at("test.h5")]
        few_images(cls.at("test.h5"), TEST, 100)
        two_heads(network)
        cls.version = cls.reap("--version").split("\n")[0]
        cls.reap("prune", network, *FEW, *judged, "--flops", "0.6", "--producers", "1", "-o", cls.at("a.h5"), "--report", cls.new("resnet.json"),
                 "--save-plan", cls.new("plan.json"), "--save-paths", cls.new("paths.h5"))
        cls.reap("prune", network, *FEW, "--keep", "0.5", "--scope", "all", "--method", "l1", "--refit", "none", "-o", cls.at("b.h5"),
                 "--report", cls.new("cuts.json"))
        cls.reap("bench", "layers", network, "-o", cls.new("times.json"))
        steady_times(cls.at("times.json"), cls.at("steady.json"))
        cls.reap("stats", network, *FEW, "-o", cls.at("stats.h5"))
        cls.reap("prune", network, "--from-stats", cls.at("stats.h5"), "--latency", "0.9", "--latency-table", cls.at("steady.json"),
                 "--ratios", "uniform", "-o", cls.at("c.h5"), "--report", cls.new("latency.json"))
        cls.reap("prune", network, "--calib", CALIBRATION, "--images", "600", *judged, "--keep", "0.5", "--classifier", "scale",
                 "--output-kind", "two=scores", "-o", cls.at("d.h5"), "--report", cls.new("heads.json"))
        cls.reap("prune", network, "--calib", CALIBRATION, "--images", "600", "--max-kl", "0.5", "--repair", "off", "--ratios", "uniform",
                 "-o", cls.at("e.h5"), "--report", cls.new("search.json"))
        cls.reap("eval", cls.at("a.h5"), "--data", cls.at("test.h5"), "--report", cls.new("eval.json"))
        cls.reap("eval", cls.at("d.h5"), "--data", cls.at("test.h5"), "--against", network, "--report", cls.new("against.json"))
        for source, name in (([*FEW, *judged], "sweep.h5"), (["--from-stats", cls.at("stats.h5")], "stored.h5")):
            cls.reap("sweep", network, *source, "--flops", "0.8,0.0001", "--ratios", "path", "--repair", "off", "-o", cls.new(name), status=2)
        cls.made += [os.path.join(cls.at("sweep.h5.d"), name) for name in os.listdir(cls.at("sweep.h5.d")) if name.startswith("reap-")]

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def at(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def new(cls, name):
        cls.made.append(cls.at(name))
        return cls.at(name)

    @classmethod
    def reap(cls, *words, status=0):
        quiet = [] if words[0].startswith("-") else ["--progress", "none", "--log-level", "quiet"]
        done = subprocess.run([PROGRAM, *words, *quiet], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        assert done.returncode == status, "%s: %s" % (" ".join(words), done.stderr)
        return done.stdout

    def everything(self):
        """All files, and the reports within the sweeps."""
        for path in self.made:
            document = load(path)
            yield os.path.basename(path), document
            for name, setting in document.get("settings", {}).items():
                yield "report of " + name, json.loads(setting["report"])

    def test_every_key_written_is_in_the_schema_and_the_other_way_round(self):
        seen = set()
        for name, document in self.everything():
            with self.subTest(file=name):
                validate(document, {"anyOf": SCHEMA["anyOf"]}, name, seen)
        keys = {(name, key) for name, definition in SCHEMA["$defs"].items() for key in definition["properties"]}
        self.assertEqual(sorted(keys - seen), [], "no run here writes them")

    def test_another_validator_agrees(self):
        python = python_with("jsonschema")
        if not python:
            self.skipTest("the package jsonschema is missing: files are checked by this test's own validator alone")
        found = subprocess.run([python, "-c", JUDGE], input=json.dumps([SCHEMA, *self.everything()]), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, universal_newlines=True)
        self.assertEqual((found.returncode, found.stdout), (0, ""))

    def test_files_that_do_not_fit_are_refused(self):
        report = load(self.at("resnet.json"))
        for change in (lambda r: r.update(more=1), lambda r: r.pop("gap"), lambda r: r["layers"][0].update(seconds="1"),
                       lambda r: r["layers"][0].update(more=1), lambda r: r["budget"].pop("of"), lambda r: r.update(date="today"),
                       lambda r: r["options"].update(refit="lsq"), lambda r: r.update(version=2), lambda r: r.update(ranks=0)):
            changed = json.loads(json.dumps(report))
            change(changed)
            with self.assertRaises(Wrong):
                validate(changed, {"anyOf": SCHEMA["anyOf"]}, "report", set())

    def test_every_key_is_explained(self):
        tables = {}
        for section in re.split(r"^### ", PAGE, flags=re.M)[1:]:
            title, body = section.split("\n", 1)
            rows = [line.split("|")[1] for line in body.split("\n") if line.startswith("|") and "---" not in line][1:]
            self.assertNotIn(title, tables)
            tables[title] = [key for row in rows for key in re.findall(r"`([^`]*)`", row)]
        for name, definition in SCHEMA["$defs"].items():
            self.assertEqual(sorted(tables.pop(definition["title"], [])), sorted(definition["properties"]), name)
        self.assertEqual(list(tables), [], "tables of nothing in the schema")

    def test_head(self):
        commit = re.search(r"\(commit (.*)\)", self.version)
        for name, document in self.everything():
            if document["format"] not in ("reap-report", "reap-eval"):
                continue
            made = datetime.datetime.strptime(document["date"], "%Y-%m-%dT%H:%M:%SZ")
            age = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) - made
            self.assertTrue(datetime.timedelta(0) <= age < datetime.timedelta(hours=2), name)
            self.assertEqual(document["host"], socket.gethostname(), name)
            self.assertEqual(document["commit"], commit.group(1) if commit else "unknown", name)

    def test_phases_add_up(self):
        for name, document in self.everything():
            seconds = dict(document.get("seconds", {})) if document["format"] in ("reap-report", "reap-eval") else {}
            if not seconds:
                continue
            total = seconds.pop("total")
            self.assertAlmostEqual(sum(seconds.values()), total, delta=1e-9 * total, msg=name)
            self.assertGreaterEqual(min(seconds.values()), 0, "%s: %s" % (name, seconds))  # no time is counted twice

    def test_phases_that_took_place_are_counted(self):
        seconds = load(self.at("resnet.json"))["seconds"]
        for phase in ("load", "paths", "sensitivity", "sizes", "forward", "moments", "solve", "producers", "held_out", "evaluate", "write"):
            self.assertGreater(seconds[phase], 0, phase)
        self.assertGreater(load(self.at("latency.json"))["seconds"]["latency"], 0)
        search = load(self.at("search.json"))
        tried = sum(one["seconds"] for one in search["search"]["tried"])
        self.assertGreater(search["seconds"]["search"], 0)
        self.assertLess(search["seconds"]["search"], tried)

    def test_examples_of_the_page(self):
        if not pandas:
            self.skipTest("pandas is missing")
        examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
        self.assertEqual(len(examples), 3)
        for example in examples:
            done = subprocess.run([sys.executable, "-c", example], cwd=self.folder.name, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  universal_newlines=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("b'", done.stdout)
            self.assertTrue(any(word in done.stdout for word in ("held_out_error", "reap-sweep", "largest_share")), done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
