"""What cutting a network without re-solving has to give: the original with zeros where removed channels are read.

A product with a mask of zeros and ones goes before the first input of each layer that reads what was removed. The
weights stay as they are, so weights that the file computes (normalised, transposed, dequantised) are no special case.
The two networks agree as long as no channel that stays depends on one that went before a layer reads them. That is so
but for a norm over all channels of an image, GroupNormalization of one group: it is written out here, with sums over
those channels that stay.
"""
import numpy as np
import onnx
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


def one_group(node, shapes):
    if node.op_type == "GroupNormalization":
        return any(a.name == "num_groups" and a.i == 1 for a in node.attribute)
    return node.op_type == "InstanceNormalization" and (shapes.get(node.input[0]) or [0, 0])[1] == 1


def staying(name, makers, made):
    """A one for each channel of a tensor that stays, a zero for those that go; None where no layer makes it.

    `made` has the same for what layers make, and takes what is found. Behind layers only operators are passed that
    leave channels where they are, and concatenations.
    """
    if name not in made:
        node = makers.get(name)
        layer = node is None or node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
        parts = [] if layer else [staying(i, makers, made) for i in node.input]
        known = [p for p in parts if p is not None]
        joined = known and node.op_type == "Concat" and len(known) == len(parts)
        made[name] = np.concatenate(parts) if joined else known[0] if known else None
    return made[name]


def written_out(graph, node, stays, rank, opset):
    """The nodes of a norm over all channels that stay, of what has the shape [N, C, ...], or [N, 1, C * ...]."""
    x, scale, shift = node.input[:3]
    name, axes, nodes = node.output[0], np.arange(1, rank), []
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    for end, array in (("mask", stays.reshape([1, -1] + [1] * (rank - 2))), ("epsilon", np.float32(epsilon)),
                       ("share", np.float32(len(stays) / stays.sum())), ("axes", axes), ("back", np.array([0, 1, -1])),
                       ("apart", np.array([0, len(stays), -1])), ("form", np.array([1, -1] + [1] * (rank - 2)))):
        graph.initializer.append(numpy_helper.from_array(np.asarray(array), "%s %s" % (name, end)))

    def add(op, inputs, end, **attributes):
        output = "%s %s" % (name, end) if end else name
        nodes.append(helper.make_node(op, inputs, [output], "%s %s" % (name, end or "y"), **attributes))
        return output

    def mean(of, end):
        over = {} if opset >= 18 else {"axes": axes.tolist()}
        of_all = add("ReduceMean", [of, name + " axes"] if opset >= 18 else [of], end, **over)
        return add("Mul", [of_all, name + " share"], end + " of those that stay")

    if node.op_type == "InstanceNormalization":
        x = add("Reshape", [x, name + " apart"], "channels")
    kept = add("Mul", [x, name + " mask"], "kept")
    centred = add("Mul", [add("Sub", [x, mean(kept, "mean")], "centred"), name + " mask"], "masked")
    variance = mean(add("Mul", [centred, centred], "squares"), "variance")
    deviation = add("Sqrt", [add("Add", [variance, name + " epsilon"], "sum")], "deviation")
    y = add("Div", [centred, deviation], "normalised")
    y = add("Mul", [y, add("Reshape", [scale, name + " form"], "scale")], "scaled")
    if node.op_type == "InstanceNormalization":
        y = add("Reshape", [y, name + " back"], "joined")
    add("Add", [y, add("Reshape", [shift, name + " form"], "shift")], "")
    return nodes


def renormalise(model, made):
    """Norms over all channels of an image, some of which go, become norms over those that stay."""
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in [*inferred.value_info, *inferred.input, *inferred.output]}
    makers = {o: node for node in graph.node for o in node.output}
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    for node in [n for n in graph.node if one_group(n, shapes)]:
        stays, shape = staying(node.input[0], makers, made), shapes[node.input[0]]
        if stays is None or stays.all():
            continue
        if len(shape) != 3 if shape[1] == 1 else shape[1] != len(stays):
            raise ValueError("the channels of %s are not followed" % node.name)
        at = list(graph.node).index(node)
        put(graph, [*graph.node[:at], *written_out(graph, node, stays, len(shape), opset), *graph.node[at + 1:]])


def put(graph, nodes):
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def mask(model, cuts, shown=str):
    """Changes the model; `cuts` as in the report of `reap prune`. ValueError where a layer is no node of the file, or
    channels of a norm are not followed."""
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
    renormalise(model, made)
    model.ir_version = max(model.ir_version, 4)  # from which initializers need not be inputs
