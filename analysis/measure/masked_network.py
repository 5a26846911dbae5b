"""What cutting a network without re-solving has to give: the original with zeros where removed channels are read.

A product with a mask of zeros and ones goes before the first input of each layer that reads what was removed. The
weights stay as they are, so weights that the file computes (normalised, transposed, dequantised) are no special case.
The two networks agree as long as no channel that stays depends on one that went before a layer reads them. reap cuts
no others: channels that a norm takes together go together or stay.
"""
import numpy as np
import onnx
from onnx import helper, numpy_helper


def names_of(graph):
    """The names that reap gives the nodes of the file in its reports, in the file's order."""
    names, taken = [], set()
    for i, node in enumerate(graph.node):
        name = (node.name[1:] if node.name.startswith("/") else node.name) or "%s_%d" % (node.op_type, i)
        name = name.replace("/", ".")
        while name == "." or name in taken:
            name = "%s_%d" % (name, i)
        taken.add(name)
        names.append(name)
    return names


def spatial_dimensions(graph, node):
    """Of a convolution's input, from its window or its weights."""
    for attribute in node.attribute:
        if attribute.name == "kernel_shape":
            return len(attribute.ints)
    return next(len(t.dims) - 2 for t in graph.initializer if t.name == node.input[1])


def mask(model, cuts):
    """Changes the model; `cuts` as in the report of `reap prune`. ValueError where a layer is no node of the file."""
    graph, names, masks, nodes = model.graph, names_of(model.graph), {}, []
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
