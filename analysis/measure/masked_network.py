"""What cutting a network without re-solving has to give: the original with zeros where removed channels are read.

A product with a mask of zeros and ones goes before the first input of each layer that reads what was removed. The
weights stay as they are, so weights that the file computes (normalised, transposed, dequantised) are no special case.
The two networks agree as long as no channel that stays depends on one that went before a layer reads them. That is so
but for what takes channels together: a Layer-, RMS- or GroupNormalization over all of them, a mean, sum or norm of
them. Only the channels that stay are gathered for it. Behind a normalisation each one that went is a copy of one that
stays, until a layer reads zeros in its place.
"""
import os
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper


def names_of(graph, shown=str):
    """The names that reap gives the nodes of the file in its reports, in the file's order.

    `shown` makes of a node's name what reports show of it, where the file has other bytes than the message here.
    """
    names, taken = [], set()
    for i, node in enumerate(graph.node):
        name = shown(node.name)
        name = (name[1:] if name.startswith("/") else name) or "%s_%d" % (node.op_type, i)
        name = name.replace("/", ".")
        while name == "." or name in taken:
            name = "%s_%d" % (name, i)
        taken.add(name)
        names.append(name)
    return names


def spatial_dimensions(graph, node):
    """Of a convolution's input, from its window or its weights, which may come by way of other nodes."""
    for attribute in node.attribute:
        if attribute.name == "kernel_shape":
            return len(attribute.ints)
    makers = {name: other for other in graph.node for name in other.output}
    name = node.input[1]
    while name in makers and makers[name].op_type != "Constant":
        name = makers[name].input[0]
    constants = [makers[name].attribute[0].t] if name in makers else graph.initializer
    return next(len(t.dims) - 2 for t in constants if name in makers or t.name == name)


# Axes are negative and count from the last one, so that they stay what they are where tensors are broadcast.
SUMS = ("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2")
OVER_LAST = ("LayerNormalization", "RMSNormalization")


def constant(node):
    value = helper.get_attribute_value(node.attribute[0])
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def seen_of_one_image(model, sizes):
    """Shapes of all tensors, and short lists of whole numbers that are computed, as they come out for an image of zeros.
    sizes: those of images, where the file leaves them free."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph, constants = model.graph, {t.name for t in model.graph.initializer}
    images, shapes, lists = {}, {}, {}
    for given in (i for i in graph.input if i.name not in constants):
        kind = given.type.tensor_type
        shape = [d.dim_value or (sizes[i] if 0 < i < len(sizes) else 1) for i, d in enumerate(kind.shape.dim)]
        images[given.name] = np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind.elem_type))
    known = {o.name for o in graph.output} | {""}
    graph.output.extend(onnx.ValueInfoProto(name=name) for node in graph.node for name in node.output
                        if name not in known)
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads, settings.log_severity_level = 1, 4
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "shapes.onnx")
        onnx.save(model, path, save_as_external_data=True, location="shapes.data")
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    for name, value in zip(names, session.run(names, images)):
        shapes[name] = list(np.shape(value))
        if np.size(value) <= 16 and np.asarray(value).dtype.kind == "i":
            lists[name] = np.asarray(value)
    shapes.update((name, list(image.shape)) for name, image in images.items())
    return shapes, lists


def along_one_axis(shape, output, stays, axis):
    """What stays behind a Reshape, and its axis; None where several axes say which."""
    whole = np.broadcast_to(np.reshape(stays, [-1] + [1] * (-1 - axis)), shape).reshape(output)
    for to in range(-1, -1 - len(output), -1):
        line = np.moveaxis(whole, to, 0).reshape(output[to], -1)
        if (line == line[:, :1]).all():
            return line[:, 0], to
    return None


class Staying:
    """Which channels of each tensor stay, and along which axis they lie: values[name] is (ones and zeros, axis), or
    missing where no layer makes them, or where they are not followed. The axis is None where they are one instance."""

    def __init__(self, model, made, sizes):
        self.graph, self.made, self.values = model.graph, made, {}
        self.shapes, lists = seen_of_one_image(model, sizes)
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer if len(t.dims) < 2}
        self.constants.update((n.output[0], constant(n)) for n in self.graph.node
                              if n.op_type == "Constant" and n.attribute[0].name != "sparse_value")
        self.constants.update(lists)
        for node in self.graph.node:
            found = self.follow(node)
            if node.op_type == "Split" and found is not None and found[1] is not None:
                self.part(node, *found)
            elif found is not None:
                self.values.update((name, found) for name in node.output)

    def axes(self, node, rank):
        """Those that a node names; None: none. ValueError where they cannot be told."""
        given = next((list(a.ints) for a in node.attribute if a.name == "axes"), None)
        if given is None and len(node.input) > 1 and node.input[1]:
            given = self.constants[node.input[1]].ravel().tolist()
        if given and not rank and max(given) >= 0:
            raise ValueError("the rank of %s is not inferred" % node.input[0])
        return None if given is None else [int(i) if i < 0 else int(i) - rank for i in given]

    def size(self, name, axis):
        """0 where it is not known."""
        shape = self.shapes.get(name) or []
        return shape[axis] if len(shape) >= -axis else 0

    def of_layer(self, node):
        axis = -1 - spatial_dimensions(self.graph, node) if node.op_type in ("Conv", "ConvTranspose") else -1
        stays, size = self.made.get(node.output[0]), self.size(node.output[0], axis)
        return (stays, axis) if stays is not None else (np.ones(size, np.float32), axis) if size else None

    def part(self, node, stays, axis):
        """Each output of a Split has the next of the channels, or all of them, if it parts another axis."""
        sizes = [self.size(name, axis) for name in node.output]
        ends = np.cumsum(sizes)
        for name, size, end in zip(node.output, sizes, ends):
            if size == len(stays):
                self.values[name] = (stays, axis)
            elif size and ends[-1] == len(stays):
                self.values[name] = (stays[end - size:end], axis)

    def sliced(self, node, stays, axis):
        """Behind a Slice; None where its numbers are not constant."""
        given = {a.name: list(a.ints) for a in node.attribute}
        for name, value in zip(("starts", "ends", "axes", "steps"), node.input[1:]):
            if value and value not in self.constants:
                return None
            if value:
                given[name] = self.constants[value].ravel().tolist()
        rank = len(self.shapes.get(node.input[0]) or [])
        axes = given.get("axes", list(range(len(given["starts"]))))
        for start, end, along, step in zip(given["starts"], given["ends"], axes, given.get("steps", [1] * len(axes))):
            if rank and (along if along < 0 else along - rank) == axis:
                stop = end if step > 0 or end >= -len(stays) else None
                stays = stays[start:stop:step]
        return stays, axis

    def moved(self, node, stays, axis):
        """Behind an operator of one tensor."""
        shape, output = self.shapes.get(node.input[0]), self.shapes.get(node.output[0])
        rank = len(shape) if shape else 0
        if axis is None:  # one instance or a list of all numbers, until it is parted again
            apart = node.op_type == "Reshape" or (node.op_type == "Gather" and rank == 1)
            return (stays, 1 - len(output)) if apart and output else None if apart else (stays, None)
        if node.op_type == "Split":
            return stays, axis
        if node.op_type == "Slice":
            return self.sliced(node, stays, axis)
        if node.op_type == "Transpose":
            order = next(list(a.ints) for a in node.attribute if a.name == "perm")
            return stays, order.index(len(order) + axis) - len(order)
        if node.op_type.startswith("Reduce"):
            over = self.axes(node, rank)
            kept = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
            if over is None or axis in over or (not kept and not shape):
                return None
            return stays, axis if kept else axis + sum(i > axis for i in over)
        reshapes = node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze") and shape and output
        if reshapes and all(shape) and all(output) and len(output) > 1 and not stays.all():
            found = along_one_axis(shape, output, stays, axis)
            if found:
                return found
        if reshapes and axis != -1:
            behind = int(np.prod(shape[axis + 1:]))
            places = [i - len(output) for i in range(1, len(output))
                      if output[i] == len(stays) and int(np.prod(output[i + 1:])) == behind]
            instance = len(output) == 1 or (len(output) == 3 and output[1] == 1)
            return (stays, places[0]) if places else (stays, None) if instance else None
        return (stays, axis) if self.size(node.output[0], axis) in (0, len(stays)) else None

    def follow(self, node):
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            return self.of_layer(node)
        known = [self.values[i] for i in node.input if i in self.values]
        if not known or node.op_type in ("Shape", "Size"):
            return None
        if node.op_type == "Concat":
            along = next(a.i for a in node.attribute if a.name == "axis")
            rank = len(self.shapes.get(node.output[0]) or []) or len(self.shapes.get(node.input[0]) or [])
            if (along if along < 0 else along - rank) == known[0][1]:
                parts = [stays for stays, _ in known]
                return (np.concatenate(parts), known[0][1]) if len(parts) == len(node.input) else None
        found = max(known, key=lambda k: len(k[0]))
        return self.moved(node, *found) if node.input[0] in self.values or len(known) == 1 else found


def together(node, follows):
    """For a node that takes all channels together: which stay, along which axis; None for others."""
    x, op = node.input[0] if node.input else "", node.op_type
    given = {a.name: a.i for a in node.attribute}
    if op == "InstanceNormalization" and (follows.shapes.get(x) or [0, 0])[1] == 1:
        return follows.values.get(x)
    if op == "GroupNormalization" and given.get("num_groups") == 1:
        return follows.values.get(x)
    found = follows.values.get(x)
    if found is None or found[1] is None or op not in (*SUMS, *OVER_LAST):
        return None
    rank = len(follows.shapes.get(x) or [])
    if op in OVER_LAST:
        first = given.get("axis", -1)
        return found if found[1] >= (first if first < 0 else first - rank) else None
    over = follows.axes(node, rank)
    return found if over is None or found[1] in over else None


def of_those_that_stay(graph, node, stays, axis, constants):
    """The node, of channels that stay alone, and what puts the others back into their places."""
    nodes, name = [], node.output[0]
    kept = np.flatnonzero(stays)
    for end, array in (("kept", kept), ("places", np.maximum(np.cumsum(stays) - 1, 0)), ("back", [0, 1, -1]),
                       ("apart", [0, len(stays), -1]), ("left", [0, len(kept), -1])):
        graph.initializer.append(numpy_helper.from_array(np.asarray(array, np.int64), "%s %s" % (name, end)))

    def add(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], "%s node" % output, **attributes))
        return output

    def gather(x, which, output, along):
        return add("Gather", [x, "%s %s" % (name, which)], output, axis=along)

    x, instance = node.input[0], node.op_type == "InstanceNormalization"
    if instance:
        x, axis = add("Reshape", [x, name + " apart"], name + " channels"), -2
    inputs = [gather(x, "kept", name + " gathered", axis)]
    if instance:
        inputs[0] = add("Reshape", [inputs[0], name + " back"], name + " instance")
    for slot, given in enumerate(node.input[1:]):
        array = constants.get(given)
        along = 0 if node.op_type == "GroupNormalization" else axis
        whole = node.op_type in SUMS or instance or given == "" or (array is not None and array.size == 1)
        inputs.append(given if whole else gather(given, "kept", "%s parameter %d" % (name, slot), along))
    if node.op_type in SUMS:
        add(node.op_type, inputs, name)
    else:
        y = add(node.op_type, inputs, name + " normalised")
        if instance:
            y = add("Reshape", [y, name + " left"], name + " split")
        y = gather(y, "places", name + " whole" if instance else name, axis)
        if instance:
            add("Reshape", [y, name + " back"], name)
    for made in nodes:
        if made.op_type == node.op_type and made.input[0] == inputs[0]:
            made.attribute.extend(node.attribute)
    return nodes


def renormalise(model, made, sizes):
    """What takes channels together, some of which go, takes those that stay."""
    graph = model.graph
    follows = Staying(model, made, sizes)
    nodes = []
    for node in graph.node:
        found = together(node, follows)
        if found is None or found[0].all():
            nodes.append(node)
        else:
            nodes += of_those_that_stay(graph, node, *found, follows.constants)
    put(graph, nodes)


def put(graph, nodes):
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def mask(model, cuts, shown=str, sizes=()):
    """Changes the model; `cuts` as in the report of `reap prune`. `sizes`: of images, where the file leaves some free.
    ValueError where a layer is no node of the file."""
    graph, names, masks, made, nodes = model.graph, names_of(model.graph, shown), {}, {}, []
    for member in (m for cut in cuts for m in cut["members"]):
        i = names.index(member["layer"])
        known, key = (masks, i) if member["role"] == "consumes" else (made, graph.node[i].output[0])
        known.setdefault(key, np.ones(member["entries"], np.float32))[member["removed"]] = 0
    for i, node in enumerate(graph.node):
        if i in masks:
            after = spatial_dimensions(graph, node) if node.op_type in ("Conv", "ConvTranspose") else 0
            graph.initializer.append(numpy_helper.from_array(masks[i].reshape([-1] + [1] * after), "mask %d" % i))
            nodes.append(helper.make_node("Mul", [node.input[0], "mask %d" % i], ["masked %d" % i], "mask node %d" % i))
            node.input[0] = "masked %d" % i
        nodes.append(node)
    put(graph, nodes)
    model.ir_version = max(model.ir_version, 4)  # from which initializers need not be inputs
    renormalise(model, made, sizes)
