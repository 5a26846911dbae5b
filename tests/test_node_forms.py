#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Operators through the program, judged by onnxruntime: one network for each form of input, each case an output of it.

What reap eval stores has to be what onnxruntime computes, number by number: for operator sets 7 to 21, on images,
sequences, volumes and vectors, whatever the axes, modes and attributes. Uses that are not supported have to be refused
in one line that names the node and the reason. Functions of the model's own, bytes as input, free heights and widths.

test_node_forms.py [PART ...] runs parts by hand. REAP_PROGRAM is the program, REAP_VENV_PYTHON another Python to try.
Exit status 77 (skipped) where onnx, onnxruntime, NumPy or h5py are missing.
"""
import itertools
import os
import shutil
import subprocess
import tempfile
import unittest

from judged import PROGRAM, TensorProto, h5py, helper, np, numpy_helper, onnx, onnxruntime

N = 3  # images
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
ENVIRONMENT = dict(os.environ, OMPI_MCA_ess_singleton_isolated="1")


class Net:
    """A network on input "x"; every case is an output of its own."""

    def __init__(self, opset, shape, seed=1):
        self.opset, self.shape, self.rng = opset, tuple(shape), np.random.RandomState(seed)
        self.nodes, self.constants, self.outputs, self.count = [], [], [], 0
        self.images = self.rng.standard_normal((N,) + self.shape).astype(np.float32)
        self.type, self.dims, self.functions = FLOAT, ["batch"] + list(shape), []

    def fresh(self, hint):
        self.count += 1
        return "%s_%d" % (hint, self.count)

    def constant(self, values, dtype=np.int64):
        name = self.fresh("c")
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def floats(self, values):
        return self.constant(values, np.float32)

    def weights(self, *shape):
        return self.floats(self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))

    def node(self, op, *inputs, outputs=1, domain="", **attributes):
        names = [self.fresh(op) for _ in range(outputs)]
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(helper.make_node(op, list(inputs), names, name="node %s" % names[0], domain=domain, **given))
        return names[0] if outputs == 1 else names

    def out(self, name, kind=FLOAT):
        self.outputs.append((name, kind))

    def case(self, op, *inputs, kind=FLOAT, **attributes):
        self.out(self.node(op, *inputs, **attributes), kind)

    def model(self):
        x = helper.make_tensor_value_info("x", self.type, self.dims)
        infos = [helper.make_tensor_value_info(name, kind, None) for name, kind in self.outputs]
        graph = helper.make_graph(self.nodes, "net", [x], infos, self.constants)
        domains = [helper.make_opsetid("", self.opset)] + [helper.make_opsetid(d, 1) for d in
                                                           sorted({f.domain for f in self.functions})]
        model = helper.make_model(graph, opset_imports=domains, functions=self.functions)
        model.ir_version = 8
        return model


def expected(model, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": images})


class Programs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="reap-node-forms-")
        self.addCleanup(shutil.rmtree, self.folder)

    def at(self, name):
        return os.path.join(self.folder, name)

    def write(self, model, images):
        onnx.save(model, self.at("net.onnx"))
        with h5py.File(self.at("data.h5"), "w") as file:
            data = file.create_dataset("images", data=images)
            data.attrs["layout"] = "NCHW"
            if images.dtype == np.uint8:
                data.attrs["scale"] = np.float32(1)
                data.attrs["mean"] = np.zeros(images.shape[1], np.float32)
                data.attrs["std"] = np.ones(images.shape[1], np.float32)

    def reap(self, command, *words):
        quiet = [] if command == "inspect" else ["--log-level", "warning"]
        done = subprocess.run([PROGRAM, command, *words, *quiet], env=ENVIRONMENT,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stderr.strip()

    def evaluate(self, *more):
        status, text = self.reap("eval", self.at("net.onnx"), "--data", self.at("data.h5"), "--outputs",
                                 self.at("outputs.h5"), *more)
        self.assertEqual(status, 0, text)
        with h5py.File(self.at("outputs.h5")) as file:
            return [file["outputs_%d" % k if k else "outputs"][...] for k in range(len(file))]

    def check(self, net, tolerance=2e-5, backends=("auto",)):
        model = net.model()
        self.write(model, net.images)
        wanted = expected(model, net.images)
        for backend in backends:
            found = self.evaluate(*([] if backend == "auto" else ["--kernels", backend]))
            self.assertEqual(len(found), len(wanted))
            for (name, _), y, z in zip(net.outputs, wanted, found):
                node = next(n for n in net.nodes if name in n.output)
                what = "%s of opset %d: %s" % (node.op_type, net.opset, helper.printable_node(node))
                self.assertEqual(z.shape, y.shape, what)
                apart = float(np.abs(z.astype(np.float64) - y).max())
                self.assertLessEqual(apart, tolerance * max(1, float(np.abs(y).max())), what)

    def refuse(self, net, *words):
        self.write(net.model(), net.images)
        status, text = self.reap("inspect", self.at("net.onnx"))
        self.assertEqual(status, 3, text)
        self.assertEqual(len(text.splitlines()), 1, text)
        for word in words:
            self.assertIn(word, text)


class Moves(Programs):
    def test_split(self):
        for opset in (7, 11, 13, 18, 21):
            net = Net(opset, (6, 4, 5))
            for axis, sizes in [(1, [1, 2, 3]), (1, [3, 3]), (2, [4]), (3, [2, 3])] + [(-1, [4, 1])] * (opset >= 11):
                if opset < 13:
                    parts = net.node("Split", "x", outputs=len(sizes), axis=axis, split=sizes)
                else:
                    parts = net.node("Split", "x", net.constant(sizes), outputs=len(sizes), axis=axis)
                for part in parts if len(sizes) > 1 else [parts]:
                    net.out(part)
            for parts in (2, 3):
                number = {"num_outputs": parts} if opset >= 18 else {}
                for part in net.node("Split", "x", outputs=parts, axis=1, **number):
                    net.out(part)
            if opset >= 18:  # the last part is smaller
                for part in net.node("Split", "x", outputs=3, axis=3, num_outputs=3):
                    net.out(part)
            self.check(net)

    def test_depth_and_space(self):
        net = Net(13, (8, 4, 6))
        for mode in ("DCR", "CRD"):
            net.case("DepthToSpace", "x", blocksize=2, mode=mode)
        net.case("SpaceToDepth", "x", blocksize=2)
        net.case("DepthToSpace", "x", blocksize=1)
        self.check(net)
        net = Net(13, (18, 2, 1))
        for mode in ("DCR", "CRD", None):
            net.case("DepthToSpace", "x", blocksize=3, mode=mode)
        self.check(net)

    def test_gather(self):
        for opset, shape in ((11, (6, 4, 5)), (13, (7, 3)), (13, (5, 4, 2, 3)), (13, (9,))):
            net = Net(opset, shape)
            for axis in range(1, len(shape) + 1):
                for index in (0, -1, [0], [2, 0, -1], [[0, 1], [-1, 0]]):
                    if opset == 13 or np.ndim(index) <= 1:
                        index = np.mod(index, shape[axis - 1]) if axis == 1 else np.clip(index, -shape[axis - 1],
                                                                                        shape[axis - 1] - 1)
                        net.case("Gather", "x", net.constant(index), axis=axis - (len(shape) + 1) * (axis % 2))
            self.check(net)

    def test_pads(self):
        for opset, shape in ((7, (3, 4, 5)), (13, (4, 6)), (19, (3, 4, 5)), (19, (2, 3, 4, 2))):
            net, rank = Net(opset, shape), len(shape) + 1
            for mode, seed in itertools.product(("constant", "reflect", "edge", "wrap")[:4 if opset >= 19 else 3], (0, 1)):
                most = [0] + [min(s - 1, 3) for s in shape]
                pads = [int(net.rng.randint(0, m + 1)) for m in most * 2]
                if mode == "reflect" and rank > 4:
                    pads[1] = pads[rank + 1] = 0
                if opset < 11:
                    net.case("Pad", "x", pads=pads, mode=mode)
                else:
                    net.case("Pad", "x", net.constant(pads), mode=mode)
            self.check(net)

    def test_views_by_strides(self):
        """All entries in their order, images and all."""
        net = Net(13, (4, 3))
        flat = net.node("Reshape", "x", net.constant([-1]))
        count = net.node("Gather", net.node("Shape", flat), net.constant(0), axis=0)
        places = net.node("Range", net.constant(0), count, net.constant(1))
        net.case("Gather", flat, net.node("Reshape", places, net.constant([-1, 3, 4])), axis=0)
        self.check(net)

    def test_expand_and_tile(self):
        for shape in ((1, 4, 1), (3, 1), (2, 1, 3, 1)):
            net = Net(13, shape)
            grown = [s if s > 1 else 2 + i for i, s in enumerate(shape)]
            net.case("Expand", "x", net.constant([1] + grown))
            net.case("Expand", "x", net.constant([1] * len(grown)))
            net.case("Expand", "x", net.constant(grown[-1:]))
            for repeats in ([1] + [2] * len(shape), [1] + [1] * len(shape), [1, 3] + [1] * (len(shape) - 1)):
                if len([r for r in repeats if r > 1]) <= 3:
                    net.case("Tile", "x", net.constant(repeats))
            self.check(net)

    def test_select(self):
        for opset, shape in ((9, (5, 3, 4)), (13, (6, 7)), (13, (8,)), (12, (4, 2, 3, 2))):
            net = Net(opset, shape)
            net.images = np.round(net.images * 2) / 2  # ties
            for axis in range(1, len(shape) + 1):
                axis -= (len(shape) + 1) * (axis % 2) * (opset >= 11)
                for op, keep in itertools.product(("ArgMax", "ArgMin"), (0, 1)):
                    net.case(op, "x", axis=axis, keepdims=keep, kind=INT64)
                    if opset >= 12:
                        net.case(op, "x", axis=axis, keepdims=keep, select_last_index=1, kind=INT64)
                k = min(2, shape[axis - 1 if axis > 0 else axis])
                largest = {"largest": 0} if opset >= 11 and axis < 0 else {}
                inputs = ["x"] if opset < 10 else ["x", net.constant([k])]
                values, places = net.node("TopK", *inputs, outputs=2, axis=axis, k=k if opset < 10 else None, **largest)
                net.out(values)
                if opset >= 10:  # an older onnxruntime breaks ties its own way
                    net.out(places, INT64)
            self.check(net)

    def test_compare(self):
        for shape in ((4, 3, 5), (6,), (5, 2)):
            net = Net(16, shape)
            y, zero = net.node("Neg" if False else "Mul", "x", net.floats(-0.5)), net.floats(0)
            each = net.floats(net.rng.standard_normal((shape[0],) + (1,) * (len(shape) - 1)))
            masks = [net.node(op, "x", other) for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")
                     for other in (y, zero, each)]
            masks += [net.node(op, masks[0], masks[2]) for op in ("And", "Or", "Xor")]
            masks += [net.node("Not", masks[0]), net.node("Cast", "x", to=BOOL)]
            for mask in masks:
                net.out(net.node("Cast", mask, to=FLOAT))
                net.case("Where", mask, "x", y)
            net.case("Where", masks[1], zero, "x")
            net.case("Where", masks[2], "x", each)
            net.case("Where", net.constant(net.rng.uniform(size=shape[-1]) < 0.5, bool), "x", y)
            net.out(net.node("Cast", net.node("Cast", "x", to=INT64), to=FLOAT))
            net.out(masks[4], BOOL)
            self.check(net)


class Sizes(Programs):
    def resizes(self, opset, shape, modes, places, scales):
        net = Net(opset, shape)
        net.dims[0] = N  # sizes name it
        sizes = [(N,) + tuple(max(1, int(np.float32(s) * d)) for s, d in zip(scale[1:], shape)) for scale in scales]
        for mode, place in itertools.product(modes, places):
            extra = [{}]
            if mode == "nearest":
                extra = [{"nearest_mode": m} for m in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")]
            elif mode == "cubic":
                extra = [{}, {"cubic_coeff_a": -0.5}, {"exclude_outside": 1}]
            for scale, size, more in zip(scales, sizes, itertools.cycle(extra)):
                form = dict(mode=mode, coordinate_transformation_mode=place, **more)
                region = "" if opset >= 13 else net.floats([])
                lengths = [np.float32(s) * d for s, d in zip(scale[1:], shape)]
                if place != "align_corners" or all(length == int(length) for length in lengths):
                    net.case("Resize", "x", region, net.floats(scale), **form)  # else refused: see Refusals
                net.case("Resize", "x", region, net.floats([]) if region else "", net.constant(size), **form)
        self.check(net)

    def test_resize(self):
        places = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
        scales = [(1, 1, 2, 2), (1, 1, 0.5, 1.5), (1, 1, 2.6, 0.6), (1, 1, 1, 3)]
        self.resizes(13, (3, 6, 5), ["nearest", "linear"], places, scales)
        self.resizes(11, (2, 5, 6), ["cubic"], places, scales)
        self.resizes(11, (2, 7, 4), ["nearest"], ["tf_half_pixel_for_nn"], scales)
        self.resizes(19, (2, 5, 4), ["nearest", "linear"], places + ["half_pixel_symmetric"], scales)
        self.resizes(13, (3, 7), ["nearest", "linear"], places[:2], [(1, 1, 2), (1, 1, 0.7)])
        self.resizes(13, (2, 3, 4, 2), ["nearest"], places[:2], [(1, 1, 2, 1, 2.5)])

    def test_resize_by_axes(self):
        net = Net(18, (3, 6, 5))
        for axes in ([2, 3], [-1], [3, 2]):
            net.case("Resize", "x", "", net.floats([2] * len(axes)), axes=axes)
            net.case("Resize", "x", "", "", net.constant([9] * len(axes)), axes=axes, mode="linear")
        self.check(net)

    def test_upsample(self):
        for opset in (7, 9, 10):
            net = Net(opset, (3, 4, 5))
            for mode, scale in itertools.product(("nearest", "linear"), ([1, 1, 2, 2], [1, 1, 3, 1], [1, 1, 1.5, 2])):
                if opset == 7:
                    net.case("Upsample", "x", mode=mode, scales=[float(s) for s in scale])
                else:
                    net.case("Upsample" if opset == 9 else "Resize", "x", net.floats(scale), mode=mode)
            if opset == 10:
                net.case("Resize", "x", net.floats([1, 1, 0.5, 0.6]))
            self.check(net)

    def test_computed_sizes(self):
        """As PyTorch writes interpolate(x, size=y.shape[2:])."""
        net = Net(13, (3, 4, 5))
        y = net.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])
        wanted = net.node("Slice", net.node("Shape", "x"), net.constant([2]), net.constant([4]))
        whole = net.node("Concat", net.node("Slice", net.node("Shape", y), net.constant([0]), net.constant([2])),
                         net.node("Cast", wanted, to=INT64), axis=0)
        net.case("Resize", y, "", "", whole, mode="linear")
        self.check(net)


class Windows(Programs):
    def window(self, net, axes, channels, transposed):
        pick = net.rng.randint
        groups = [1, 1, 2, 3, channels][pick(5)]
        kernel, stride, dilation = ([int(pick(1, m)) for _ in range(axes)] for m in (4, 4, 3))
        pads = [int(pick(0, k)) for k in kernel * 2]
        form = dict(group=groups, strides=stride, dilations=dilation, pads=pads)
        outputs = groups * int(pick(1, 4))
        if transposed:
            form["output_padding"] = [int(pick(0, s)) for s in stride]
            shape = [channels, outputs // groups] + kernel
        else:
            shape = [outputs, channels // groups] + kernel
        bias = [net.floats(net.rng.standard_normal(outputs))] if pick(2) else []
        return ["x", net.weights(*shape)] + bias, form

    def test_convolutions(self):
        for transposed, sides in itertools.product((False, True), ((13,), (9, 8), (5, 6, 7))):
            net = Net(13, (6,) + sides, seed=len(sides))
            for _ in range(16):
                inputs, form = self.window(net, len(sides), 6, transposed)
                net.case("ConvTranspose" if transposed else "Conv", *inputs, **form)
            self.check(net, backends=("auto", "plain"))

    def test_pools_and_norms(self):
        for sides in ((13,), (9, 8), (5, 6, 7)):
            net = Net(19, (4,) + sides)
            n = len(sides)
            for k, s, ceil in itertools.product((1, 2, 3), (1, 2), (0, 1)):
                form = dict(kernel_shape=[k] * n, strides=[s] * n, ceil_mode=ceil, pads=[k // 2] * 2 * n)
                if all((-(-(d + 2 * (k // 2) - k) // s)) * s < d + k // 2 for d in sides) or not ceil:
                    net.case("MaxPool", "x", **form)
                    net.case("AveragePool", "x", count_include_pad=k % 2, **form)
            net.case("MaxPool", "x", kernel_shape=[2] * n, dilations=[2] * n)
            net.case("AveragePool", "x", kernel_shape=[3] * n, auto_pad="SAME_UPPER")
            for op in ("GlobalAveragePool", "GlobalMaxPool"):
                net.case(op, "x")
            form = [net.floats(net.rng.uniform(0.5, 1.5, 4)) for _ in range(4)]
            net.case("BatchNormalization", "x", *form)
            for size in (1, 3, 9):
                if n == 2:  # onnxruntime has no others
                    net.case("LRN", "x", size=size, alpha=0.3, beta=0.6, bias=1.5)
            self.check(net)

    def test_layouts_meet(self):
        """Sequences and volumes between what slides windows over them and what does not."""
        for shape in ((4, 9), (4, 3, 4, 2)):
            net, n = Net(13, shape), len(shape) - 1
            net.dims[0] = N  # a constant has it
            y = net.node("Conv", "x", net.weights(4, 4, *[1] * n), net.floats(net.rng.standard_normal(4)))
            relu = net.node("Relu", net.node("Add", y, "x"))
            net.out(relu)
            order = [0] + list(range(2, n + 2)) + [1]
            last = net.node("Transpose", relu, perm=order)
            z = net.node("MatMul", last, net.weights(4, 5))
            net.out(z)
            net.case("Concat", relu, net.floats(np.ones((N, 2) + shape[1:])), axis=1)
            net.case("Concat", relu, net.node("Transpose", net.node("Transpose", y, perm=order),
                                              perm=[0, n + 1] + list(range(1, n + 1))), axis=2)
            net.case("Sub", net.node("Reshape", y, net.constant([0, 4] + list(shape[1:]))), "x")
            net.case("Mul", relu, net.floats(net.rng.standard_normal((4,) + (1,) * n)))
            net.case("Flatten", relu)
            net.case("Softmax", y, axis=1)
            net.case("ReduceMean", y, axes=[2])
            self.check(net)


class Sums(Programs):
    def test_reductions(self):
        kinds = ["ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMin",
                 "ReduceProd"]
        for opset, shape in ((7, (3, 4, 5)), (13, (4, 3)), (18, (3, 4, 5)), (18, (6,)), (18, (2, 3, 2, 3))):
            net, rank = Net(opset, shape), len(shape) + 1
            for op, keep in itertools.product(kinds, (0, 1)):
                for axes in [list(range(1, rank)), [rank - 1], [1]] + ([[-1, 1]] if opset > 7 and rank > 2 else []):
                    if len(axes) == rank - 1 and not keep and opset < 13:
                        continue
                    if opset >= 18 or (op == "ReduceSum" and opset >= 13):
                        net.case(op, "x", net.constant(axes), keepdims=keep)
                    else:
                        net.case(op, "x", axes=axes, keepdims=keep)
            if opset >= 18:
                net.case("ReduceSum", "x", net.constant([]), noop_with_empty_axes=1)
            self.check(net)


class Constants(Programs):
    def test_shape_arithmetic(self):
        """Tables and masks that depend on no image, added to one that does."""
        net = Net(18, (4, 4))
        ints = net.constant([5, -7, 0, 3])
        base = net.floats(np.arange(16).reshape(4, 4))
        made = [net.node("Mod", ints, net.constant([3, 3, -2, -2])), net.node("Mod", ints, net.constant(4), fmod=1)]
        flags = [net.node(op, ints, net.constant([0, 0, 0, 9])) for op in ("Less", "LessOrEqual", "Greater",
                                                                           "GreaterOrEqual", "Equal")]
        flags += [net.node(op, flags[0], flags[2]) for op in ("And", "Or", "Xor")] + [net.node("Not", flags[0])]
        made = [net.node("Cast", m, to=FLOAT) for m in made + flags]
        halves = net.floats([0.5, 1.5, -0.5, 2.3])
        made += [net.node(op, halves) for op in ("Floor", "Ceil", "Round")]
        for upper, k in itertools.product((0, 1), (-1, 0, 2)):
            made.append(net.node("Trilu", base, net.constant(k), upper=upper))
        made.append(net.node("Trilu", base))
        for axis, exclusive, reverse in itertools.product((0, 1, -1), (0, 1), (0, 1)):
            made.append(net.node("CumSum", base, net.constant(axis), exclusive=exclusive, reverse=reverse))
        made.append(net.node("GatherND", base, net.constant([[0], [3], [-1], [1]])))
        made.append(net.node("GatherND", base, net.constant([[0, 1], [2, 3], [-1, -4], [1, 1]])))
        made.append(net.node("GatherND", base, net.constant([[1], [0], [3], [-1]]), batch_dims=1))
        made.append(net.node("ScatterND", base, net.constant([[1], [-1]]), net.floats(np.ones((2, 4)))))
        made.append(net.node("ScatterND", base, net.constant([[1, 2], [0, -1]]), net.floats([50, 60])))
        made.append(net.node("Tile", net.floats([[1, 2]]), net.constant([4, 2])))
        for part in net.node("Split", net.floats(np.arange(32).reshape(4, 8)), outputs=2, axis=1, num_outputs=2):
            made.append(part)
        made.append(net.node("ReduceSum", base, net.constant([0])))
        made.append(net.node("ReduceL2", base, net.constant([-1])))
        for op in ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"):
            made.append(net.node("Cast", net.node(op, net.constant([[2, 3], [4, -5]]), net.constant([0, 1])), to=FLOAT))
        made.append(net.node("Reshape", net.node("Conv", net.floats(np.arange(32).reshape(1, 2, 4, 4) / 30),
                                                 net.weights(2, 1, 3, 2), net.floats([1, 2]), group=2,
                                                 pads=[1, 0, 1, 1]), net.constant([1, 2, 4, 4])))
        made[-1] = net.node("Squeeze", net.node("Split", made[-1], outputs=2, axis=1, num_outputs=2)[1],
                            net.constant([0, 1]))
        made.append(net.node("Clip", base, net.floats(2.5), net.floats(9)))
        made.append(net.node("Cast", net.node("Clip", ints, net.constant(-1)), to=FLOAT))
        made.append(net.node("Range", net.floats(0), net.floats(1), net.floats(0.25)))
        made.append(net.node("Cast", net.node("Range", net.constant(4), net.constant(0), net.constant(-1)), to=FLOAT))
        for value in made:
            net.case("Add", "x", value)
        self.check(net)


class Inputs(Programs):
    def test_bytes(self):
        """uint8 images, normalised within the network."""
        net = Net(13, (3, 6, 5))
        net.type, net.images = TensorProto.UINT8, net.rng.randint(0, 256, (N, 3, 6, 5)).astype(np.uint8)
        y = net.node("Sub", net.node("Cast", "x", to=FLOAT), net.floats([[[120]], [[110]], [[100]]]))
        y = net.node("Div", y, net.floats(60))
        net.case("Conv", y, net.weights(4, 3, 3, 3))
        net.out(net.node("Cast", net.node("Equal", "x", net.constant(7, np.uint8)), to=FLOAT))
        self.check(net)
        with h5py.File(self.at("data.h5"), "a") as file:
            file["images"].attrs["scale"] = np.float32(1 / 255)
        status, text = self.reap("eval", self.at("net.onnx"), "--data", self.at("data.h5"))
        self.assertEqual(status, 3)
        self.assertIn("whole numbers", text)

    def test_vectors(self):
        net = Net(13, (12,))
        y = net.node("Relu", net.node("Gemm", "x", net.weights(7, 12), net.floats(np.ones(7)), transB=1))
        net.case("MatMul", y, net.weights(7, 4))
        self.check(net)

    def test_free_sizes(self):
        net = Net(13, (3, 7, 9))
        net.dims = ["batch", 3, "height", "width"]
        y = net.node("Relu", net.node("Conv", "x", net.weights(5, 3, 3, 3), pads=[1] * 4))
        net.case("Conv", y, net.weights(4, 5, 1, 1))
        self.check(net)
        self.refuse(net, "no fixed size along axis 2", "no images")
        status, text = self.reap("prune", self.at("net.onnx"), "--calib", self.at("data.h5"), "--keep", "0.5",
                                 "--onnx", self.at("pruned.onnx"), "-o", self.at("pruned.h5"))
        self.assertEqual(status, 0, text)
        shape = onnx.load(self.at("pruned.onnx")).graph.input[0].type.tensor_type.shape
        self.assertEqual([d.dim_param for d in shape.dim], ["batch", "", "height", "width"])

    def test_functions(self):
        """Functions of the model's own, one within another, with an attribute handed on."""
        net = Net(13, (4, 5))
        step = helper.make_node("LeakyScale", ["a"], ["b"], domain="own", name="inner")
        step.attribute.append(onnx.AttributeProto(name="axis", ref_attr_name="along", type=onnx.AttributeProto.INT))
        scale = helper.make_node("Softmax", ["a"], ["soft"], name="soft")
        scale.attribute.append(onnx.AttributeProto(name="axis", ref_attr_name="axis", type=onnx.AttributeProto.INT))
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
        net.functions = [
            helper.make_function("own", "Twice", ["a"], ["c"], [step, helper.make_node("Add", ["b", "a"], ["c"])], opsets,
                                 ["along"]),
            helper.make_function("own", "LeakyScale", ["a"], ["b"], [scale, helper.make_node("Relu", ["soft"], ["b"])],
                                 opsets, ["axis"])]
        y = net.node("Twice", "x", domain="own", along=1)
        net.out(net.node("Twice", y, domain="own", along=2))
        net.out(y)
        self.check(net)
        endless = helper.make_function("own", "Twice", ["a"], ["c"],
                                       [helper.make_node("Twice", ["a"], ["c"], domain="own")], opsets, ["along"])
        net.functions = [endless]
        self.refuse(net, "Twice", "without end")
        net.functions = [helper.make_function("own", "Twice", ["a"], ["c"], [helper.make_node("Relu", ["a"], ["c"])],
                                              [helper.make_opsetid("", 14)], ["along"])]
        self.refuse(net, "Twice", "another opset")


class Refusals(Programs):
    def test_uses_that_are_not_supported(self):
        def case(words, op, *inputs, opset=18, shape=(4, 6, 5), outputs=1, **attributes):
            net = Net(opset, shape)
            net.dims[0] = N
            made = net.node(op, "x", *[net.constant(i) if not isinstance(i, tuple) else net.floats(list(i[0]))
                                       if len(i) else "" for i in inputs], outputs=outputs, **attributes)
            net.out(made if outputs == 1 else made[0])
            with self.subTest(op=op, words=words):
                self.refuse(net, op, words)
        none = ()
        case("make up", "Split", [1, 2], outputs=2, axis=1)
        case("make up", "Split", [5, -1], outputs=2, axis=1)
        case("sizes for 3 outputs", "Split", [2, 2], outputs=3, axis=1)
        case("equal parts", "Split", outputs=3, axis=1, opset=13)
        case("make up", "Split", outputs=2, axis=1, split=[2, 1], opset=11)
        case("make up", "Split", outputs=2, axis=1, split=[2 ** 62, 2 ** 62], opset=11)
        case("num_outputs", "Split", outputs=2, axis=1, num_outputs=2 ** 40)
        case("cannot be split", "Split", outputs=4, axis=3, num_outputs=4)
        case("outside", "Split", outputs=2, axis=4, num_outputs=2)
        case("mixes the images", "Split", [1, 2], outputs=2, axis=0)
        case("blocksize", "DepthToSpace", blocksize=3)
        case("blocksize", "DepthToSpace", blocksize=2 ** 40)
        case("blocksize", "SpaceToDepth", blocksize=4)
        case("mode = XYZ", "DepthToSpace", blocksize=2, mode="XYZ")
        case("outside axis 1", "Gather", [4], axis=1)
        case("mixes the images", "Gather", [0], axis=0)
        case("out of range", "Tile", [1, 2 ** 40, 2 ** 40, 1])
        case("one repeat for each", "Tile", [1, 2])
        case("mixes the images", "Tile", [2, 1, 1, 1])
        case("do not fit", "Expand", [1, 3, 6, 5])
        case("entry -1", "Expand", [1, -1, 6, 5])
        case("has neither", "Resize")
        case("has neither", "Resize", none, none, [1, 4, 6])
        case("scales for", "Resize", none, ([1, 1, 2],))
        case("out of range", "Resize", none, ([1, 1, -2, 2],))
        case("out of range", "Resize", none, ([1, 1, 1e12, 2],))
        case("out of range", "Resize", none, none, [1, 4, 2 ** 40, 5])
        case("empty", "Resize", none, ([1, 1, 0.1, 2],))
        case("mode = best", "Resize", none, ([1, 1, 2, 2],), mode="best")
        case("tf_crop_and_resize", "Resize", none, ([1, 1, 2, 2],),
             coordinate_transformation_mode="tf_crop_and_resize")
        case("7.5 pixels", "Resize", none, ([1, 1, 2, 1.5],), mode="linear",
             coordinate_transformation_mode="align_corners")
        case("antialias", "Resize", none, ([1, 1, 0.5, 2],), mode="linear", antialias=1)
        case("keep_aspect_ratio_policy", "Resize", none, none, [1, 4, 9, 9], keep_aspect_ratio_policy="not_larger")
        case("named twice", "Resize", none, ([2, 2],), axes=[2, -2])
        case("size = 0", "LRN", size=0)
        case("not possible", "TopK", [7], axis=1)
        case("pads of 6 and 0", "Pad", [0, 0, 6, 0, 0, 0, 0, 0], mode="reflect")
        case("mode = other", "Pad", [0] * 8, mode="other")
        case("outside", "ArgMax", axis=7)
        case("mixes the images", "ArgMax", axis=0)
        case("outside", "ReduceSum", [5])

    def transposed(self, words, shape=(4, 2, 3, 3), **attributes):
        net = Net(13, (4, 6, 5))
        net.case("ConvTranspose", "x", net.weights(*shape), **attributes)
        with self.subTest(words=words):
            self.refuse(net, "ConvTranspose", words)

    def test_transposed_convolutions(self):
        self.transposed("pads", output_shape=[12, 10])
        self.transposed("pads", auto_pad="SAME_UPPER")
        self.transposed("its weights are for 3 channels", shape=(3, 2, 3, 3))
        self.transposed("does not divide", group=3)
        self.transposed("output_padding", output_padding=[1, 1])
        self.transposed("empty or too large", pads=[9, 9, 9, 9])
        self.transposed("out of range", strides=[0, 1])
        self.transposed("empty or too large", strides=[2 ** 31, 2 ** 31])
        self.transposed("do not have the rank", shape=(4, 2, 3))

    def test_quantised(self):
        net = Net(13, (3, 4, 4))
        scale, zero = net.floats(0.1), net.constant(3, np.uint8)
        net.case("DequantizeLinear", net.node("QuantizeLinear", "x", scale, zero), scale, zero)
        self.refuse(net, "QuantizeLinear", "prune the float network, then quantise")


if __name__ == "__main__":
    unittest.main(verbosity=2)
