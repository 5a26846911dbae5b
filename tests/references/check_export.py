#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Check a model that reap wrote against other programs.

Is it a valid ONNX model, does it compute what reap says it computes, and does
it cost what reap says it costs? Prints one line per check.

  MODEL.onnx   the model
  DATA.h5      /images uint8 or float32 [N, C, H, W]; see datasets/common.py
  OUTPUTS.h5   /outputs [N, ...] as computed by reap
  --report     reap's report; its pruned.flops, or baseline.flops if nothing
               was pruned, has to be the multiply-adds of one image

Without onnxruntime the outputs are computed by OpenCV, if that is there, one
image at a time.

Exit status: 0 all right, 1 a check failed, 77 a check could not be made, as a
module is missing or too old.
"""

import argparse
import json
import sys

EXIT_FAILED = 1
EXIT_SKIPPED = 77

# Images computed at once, where the model leaves it free.
BATCH = 64

LINEAR = ("Conv", "Gemm", "MatMul")


class Failure(Exception):
    """A check that failed."""


class Skip(Exception):
    """Something is missing that the checks need."""


def require(name):
    try:
        return __import__(name)
    except ImportError:
        raise Skip("Python module '%s' is not installed" % name) from None


# --- validity ----------------------------------------------------------------

def check_validity(path):
    """The checker's opinion; the full check includes strict inference."""
    try:
        # By path, so that data outside the model are checked too; but the full
        # check of old versions writes what it infers to that path.
        onnx.checker.check_model(path)
        onnx.checker.check_model(onnx.load(path), full_check=True)
    except Exception as error:
        raise Failure(first_line(error)) from None
    return "valid, checked by onnx %s" % onnx.__version__


def infer(model):
    try:
        return onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:
        raise Failure(first_line(error)) from None


def dims(value):
    """Sizes of a value: numbers, names, or None for what is unknown."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or None
            for d in value.type.tensor_type.shape.dim]


def check_shapes(model):
    """Shapes that the model states wrongly make strict inference fail."""
    inferred = infer(model)
    output = dims(inferred.graph.output[0])
    if output is None:
        raise Failure("the output's shape is unknown")
    return "consistent, output %s" % output


def first_line(error):
    lines = [line for line in str(error).split("\n") if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


# --- outputs -----------------------------------------------------------------

class Images:
    """The images as the network gets them."""

    def __init__(self, file):
        if "images" not in file:
            raise Failure("%s has no data set 'images'" % file.filename)
        self.data = file["images"]
        layout = self.data.attrs.get("layout", b"")
        if isinstance(layout, bytes):
            layout = layout.decode()
        if layout != "NCHW" or self.data.ndim != 4:
            raise Failure("images have layout '%s' and %d axes, expected NCHW"
                          % (layout, self.data.ndim))
        self.raw = self.data.dtype == np.uint8
        if not self.raw and self.data.dtype != np.float32:
            raise Failure("images are %s" % self.data.dtype)
        if self.raw:
            attributes = self.data.attrs
            self.scale = np.float32(attributes["scale"])
            shape = (1, -1, 1, 1)
            self.mean = np.float32(attributes["mean"]).reshape(shape)
            self.std = np.float32(attributes["std"]).reshape(shape)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, part):
        images = self.data[part]
        if self.raw:
            images = (images * self.scale - self.mean) / self.std
        return np.ascontiguousarray(images, np.float32)


class OnnxRuntime:
    def __init__(self, model):
        """model: a path, or the bytes of a model."""
        options = onnxruntime.SessionOptions()
        # Warnings would come between the lines of the checks.
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise Failure("onnxruntime: " + first_line(error)) from None
        self.name = "onnxruntime " + onnxruntime.__version__
        self.batch = BATCH

    def all(self, images):
        feed = {self.session.get_inputs()[0].name: images}
        try:
            return self.session.run(None, feed)
        except Exception as error:
            raise Failure("onnxruntime: " + first_line(error)) from None

    def __call__(self, images):
        return self.all(images)[0]


class OpenCV:
    """Stands in for onnxruntime, one image at a time.

    It reads fewer models, and takes some for what they are not. Neither says
    anything about the model, so in both cases the check is skipped.
    """

    def __init__(self, path):
        misread = self.misread(onnx.load(path))
        if misread:
            raise Skip("no onnxruntime, and OpenCV does not compute "
                       + misread)
        try:
            self.net = cv2.dnn.readNetFromONNX(path)
        except cv2.error as error:
            raise Skip("no onnxruntime, and OpenCV cannot read the model: "
                       + " ".join(error.err.split())) from None
        self.name = "OpenCV " + cv2.__version__
        self.batch = 1

    def __call__(self, images):
        self.net.setInput(images)
        try:
            return self.net.forward()
        except cv2.error as error:
            raise Skip("no onnxruntime, and OpenCV cannot run the model: "
                       + " ".join(error.err.split())) from None

    @staticmethod
    def misread(model):
        """What OpenCV 4.6 computes wrongly instead of refusing it, or None."""
        ranks = {t.name: len(t.dims) for t in model.graph.initializer}
        for node in model.graph.node:
            values = {a.name: onnx.helper.get_attribute_value(a)
                      for a in node.attribute}
            if values.get("auto_pad") == b"SAME_LOWER":
                return "auto_pad SAME_LOWER"
            if node.op_type == "MaxPool" and \
                    set(values.get("dilations", [1])) != {1}:
                return "MaxPool with dilations"
            if values.get("count_include_pad") and any(values.get("pads", [])):
                return "AveragePool with count_include_pad"
            if node.op_type == "Gemm" and (
                    values.get("alpha", 1.0) != 1.0
                    or values.get("beta", 1.0) != 1.0
                    or ranks.get("".join(node.input[2:]), 1) != 1):
                return "Gemm with factors, or with C other than [m]"
        return None


def compute(engine, images, batch):
    """All outputs; a batch that the model fixes is filled up."""
    size = batch if batch else engine.batch
    results = []
    for start in range(0, len(images), size):
        part = images[start:start + size]
        count = len(part)
        if batch and count < size:
            part = np.concatenate([part, part[-1:].repeat(size - count, 0)])
        result = engine(part)
        if len(result) != len(part):
            raise Failure("%d outputs for %d images" % (len(result),
                                                        len(part)))
        results.append(result[:count])
    return np.concatenate(results)


def check_outputs(engine, found, expected, tolerance):
    if found.shape != expected.shape:
        raise Failure("%s gives %s, expected %s" % (
            engine.name, list(found.shape), list(expected.shape)))
    for what, values in ((engine.name, found), ("the file", expected)):
        if not np.isfinite(values).all():
            raise Failure("%s has values that are not finite" % what)
    largest = float(np.abs(expected).max())
    difference = float(np.abs(found - expected).max())
    text = "largest difference %.3g of %.3g, tolerance %g, by %s" % (
        difference, largest, tolerance, engine.name)
    if difference > tolerance * largest:
        raise Failure(text)
    return text


def check_classes(found, expected, tolerance):
    """Same class for every image; a tie within the tolerance is no other."""
    largest = float(np.abs(expected).max())
    rows = np.arange(len(expected))
    chosen, wanted = found.argmax(1), expected.argmax(1)
    gap = np.minimum(expected[rows, wanted] - expected[rows, chosen],
                     found[rows, chosen] - found[rows, wanted])
    other = chosen != wanted
    wrong = other & (gap > tolerance * largest)
    if wrong.any():
        raise Failure("%d of %d images have another class, first image %d" % (
            wrong.sum(), len(rows), np.flatnonzero(wrong)[0]))
    return "same class for %d images, %d of them ties" % (len(rows),
                                                          other.sum())


# --- costs -------------------------------------------------------------------

def multiply_adds(model, batch):
    """Multiply-adds of convolutions and matrix products, for one image."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    graph = fixed.graph
    constants = {tensor.name for tensor in graph.initializer}
    # With a batch of one all sizes are numbers. What the file says about other
    # values may name the batch: it is inferred anew.
    del graph.value_info[:]
    for value in graph.input:
        if value.name not in constants:
            if not batch:
                value.type.tensor_type.shape.dim[0].dim_value = 1
            image = dims(value)
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = infer(fixed).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    for values in (inferred.input, inferred.value_info, inferred.output):
        for value in values:
            shapes.setdefault(value.name, dims(value))

    linear = [node for node in graph.node if node.op_type in LINEAR
              and node.domain in ("", "ai.onnx")]

    def unknown(name):
        sizes = shapes.get(name)
        return sizes is None or not all(isinstance(d, int) for d in sizes)

    # Inference gives up on some shape arithmetic: there the shapes are those
    # that come up.
    rest = {name for node in linear for name in (node.input[1], node.output[0])
            if unknown(name)}
    if rest:
        if not onnxruntime:
            raise Skip("no onnxruntime, and the shape of %s cannot be inferred"
                       % ", ".join(sorted(rest)))
        del graph.output[:]
        for name in sorted(rest):
            graph.output.add(name=name).type.tensor_type.elem_type = \
                onnx.TensorProto.FLOAT
        values = OnnxRuntime(fixed.SerializeToString()).all(
            np.zeros(image, np.float32))
        for name, value in zip(sorted(rest), values):
            shapes[name] = list(value.shape)

    total = 0
    for node in linear:
        weights = shapes[node.input[1]]
        if node.op_type == "Conv":
            inputs = product(weights[1:])
        elif node.op_type == "Gemm":
            turned = any(a.name == "transB" and a.i for a in node.attribute)
            inputs = weights[1 if turned else 0]
        else:
            inputs = weights[-2] if len(weights) > 1 else weights[0]
        total += product(shapes[node.output[0]]) * inputs
    return total // (batch if batch else 1)


def product(sizes):
    result = 1
    for size in sizes:
        result *= size
    return result


def check_costs(model, batch, path):
    with open(path) as file:
        report = json.load(file)
    for part in ("pruned", "baseline"):
        # "pruned" may be there and be null.
        if isinstance(report, dict) and report.get(part):
            break
    else:
        raise Failure("the report has neither 'pruned' nor 'baseline'")
    if "flops" not in report[part]:
        raise Failure("the report has no %s.flops" % part)
    stated = report[part]["flops"]
    counted = multiply_adds(model, batch)
    if stated != counted:
        raise Failure("%d multiply-adds, the report's %s.flops is %s"
                      % (counted, part, stated))
    return "%d multiply-adds, as the report's %s.flops" % (counted, part)


# --- all checks --------------------------------------------------------------

class Checks:
    """Runs checks, prints a line for each, counts failures and skips."""

    def __init__(self):
        self.failures = 0
        self.skipped = 0

    def run(self, what, function, *arguments):
        try:
            text, verdict = function(*arguments), "ok"
        except (Failure, KeyError, OSError, ValueError) as error:
            text, verdict = first_line(error), "FAILED"
            self.failures += 1
        except Skip as reason:
            text, verdict = str(reason), "skipped"
            self.skipped += 1
        print("%-8s %-7s %s" % (what, verdict, text))
        return verdict == "ok"


def network_input(model):
    """The one input that is no initialiser; fails unless there is one."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise Failure("%d inputs and %d outputs, expected one of each"
                      % (len(inputs), len(model.graph.output)))
    shape = dims(inputs[0])
    if not shape:
        raise Failure("the input has no shape")
    return shape


def check(arguments):
    checks = Checks()
    known = onnx.defs.onnx_opset_version()
    try:
        model = onnx.load(arguments.model)
        wanted = max([o.version for o in model.opset_import
                      if o.domain in ("", "ai.onnx")], default=0)
    except Exception:
        # Said better by the first check.
        wanted = 0
    if wanted > known:
        raise Skip("onnx %s knows operator sets up to %d, the model has %d"
                   % (onnx.__version__, known, wanted))
    if not checks.run("model", check_validity, arguments.model):
        return EXIT_FAILED
    checks.run("shapes", check_shapes, model)

    found = {}

    def outputs():
        sizes = network_input(model)
        batch = sizes[0] if isinstance(sizes[0], int) else 0
        found["batch"] = batch
        with h5py.File(arguments.outputs, "r") as file:
            expected = file["outputs"][...]
        with h5py.File(arguments.data, "r") as file:
            images = Images(file)
            if len(images) != len(expected):
                raise Failure("%d images, but outputs of %d"
                              % (len(images), len(expected)))
            engine = (OnnxRuntime if onnxruntime else OpenCV)(arguments.model)
            computed = compute(engine, images, batch)
        # Kept for the check that follows.
        found["computed"], found["expected"] = computed, expected
        return check_outputs(engine, computed, expected, arguments.tolerance)
    checks.run("outputs", outputs)
    if "computed" in found and found["expected"].ndim == 2 \
            and found["computed"].shape == found["expected"].shape:
        checks.run("classes", check_classes, found["computed"],
                   found["expected"], arguments.tolerance)

    if arguments.report:
        checks.run("flops", check_costs, model, found.get("batch", 0),
                   arguments.report)
    if checks.failures:
        return EXIT_FAILED
    return EXIT_SKIPPED if checks.skipped else 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("data", metavar="DATA.h5")
    parser.add_argument("outputs", metavar="OUTPUTS.h5")
    parser.add_argument("--report", metavar="R.json")
    parser.add_argument("--tolerance", type=float, default=1e-4, metavar="T",
                        help="largest difference, relative to the largest"
                             " output (default: %(default)g)")
    arguments = parser.parse_args()
    global np, h5py, onnx, onnxruntime, cv2
    try:
        np, h5py, onnx = require("numpy"), require("h5py"), require("onnx")
        __import__("onnx.checker")
        __import__("onnx.shape_inference")
        onnxruntime = cv2 = None
        try:
            onnxruntime = require("onnxruntime")
        except Skip as missing:
            try:
                cv2 = require("cv2")
            except Skip:
                raise missing from None
        return check(arguments)
    except Skip as reason:
        print("skipped: %s" % reason)
        return EXIT_SKIPPED


if __name__ == "__main__":
    sys.exit(main())
