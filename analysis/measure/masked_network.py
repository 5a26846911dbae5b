"""What cutting a network without re-solving has to give: the original with zeros where removed channels are read.

A product with a mask of zeros and ones goes before the first input of each layer that reads what was removed. The
weights stay as they are, so weights that the file computes (normalised, transposed, dequantised) are no special case.
The two networks agree as long as no channel that stays depends on one that went before a layer reads them. reap cuts
no others: channels that a norm takes together go together or stay.
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


def mask(model, cuts, shown=str):
    """Changes the model; `cuts` as in the report of `reap prune`. ValueError where a layer is no node of the file."""
    graph, names, masks, nodes = model.graph, names_of(model.graph, shown), {}, []
    for member in (m for cut in cuts for m in cut["members"] if m["role"] == "consumes"):
        masks.setdefault(names.index(member["layer"]), np.ones(member["entries"], np.float32))[member["removed"]] = 0
    for i, node in enumerate(graph.node):
        if i in masks:
            after = spatial_dimensions(graph, node) if node.op_type in ("Conv", "ConvTranspose") else 0
            graph.initializer.append(numpy_helper.from_array(masks[i].reshape([-1] + [1] * after), "mask %d" % i))
            nodes.append(helper.make_node("Mul", [node.input[0], "mask %d" % i], ["masked %d" % i], "mask node %d" % i))
            node.input[0] = "masked %d" % i
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    model.ir_version = max(model.ir_version, 4)  # from which initializers need not be inputs
