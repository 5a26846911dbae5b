# SPDX-License-Identifier: BSD-3-Clause
"""One network in the many forms that exporters give it: what random_network.py makes, written another way.

Constants become nodes, come in float16 behind a Cast, are read through an Identity, are merged where they are equal,
are listed as inputs (IR 3); names are odd. What the network computes stays the same but for the rounding of float16.
Names that are no UTF-8 cannot be set from Python: they are put into the file's bytes in place of others of the same
length, `Case.swaps`.
"""
import numpy as np
from onnx import TensorProto, helper, numpy_helper, shape_inference

PLACEHOLDER, NOT_UTF8 = b"Zq0j", b"\xff\xfe\xc3("

ODD = ["with space", "a/b", "a.b", "/a/b", "a//b", ".", "/", "..", "../up", "caf\u00e9", "\u6f22\u5b57", "\U0001f3b2",
       "quote\"s", "it's", "back\\slash", "new\nline", "tab\t", "esc\x1b[31mred", "bell\x07", "%s%n", "{}", "<&>",
       "a" * 300, "-o", "null", "0", "a.b_3", "Conv_2", "weight", "bias", "layers", "$(id)", "semi;colon", "co:lon",
       "st*r", "a\u0301", "\u202eright", "\x7f"]


def rename(graph, value_name, node_name):
    """New names by functions of the old one; the empty name stands for what is left out."""
    known = {"": ""}

    def new(name):
        if name not in known:
            known[name] = value_name(name, len(known))
        return known[name]
    for part in (graph.input, graph.initializer, graph.output, graph.value_info):
        for item in part:
            item.name = new(item.name)
    for i, node in enumerate(graph.node):
        node.input[:], node.output[:] = [new(v) for v in node.input], [new(v) for v in node.output]
        node.name = node_name(node, i)


def odd_names(case, pick):
    graph, style = case.model.graph, pick.choice(["torch", "empty", "some empty", "clash", "odd", "odd", "bytes"])
    case.words.append("names: " + style)
    words = pick.sample(ODD, len(ODD))

    def unlike(name, n):
        return "%s %d" % (words[n % len(words)], n)
    if style == "torch":
        rename(graph, lambda name, n: name if name == "images" else "/net/net.%d/%s_output_0" % (n, name),
               lambda node, i: "/net/net.%d/%s" % (i, node.op_type))
    elif style in ("empty", "some empty"):
        share = 1 if style == "empty" else 0.5
        rename(graph, lambda name, n: name, lambda node, i: "" if pick.random() < share else node.name)
    elif style == "clash":
        forms = ["a/%d", "a.%d", "/a/%d", "/a.%d"]
        rename(graph, lambda name, n: forms[n % 4] % (n // 4), lambda node, i: forms[i % 4] % (i // 4))
    elif style == "odd":
        rename(graph, unlike, lambda node, i: words[i] if i < len(words) else unlike("", i))
    else:
        case.swaps = [(PLACEHOLDER, NOT_UTF8)]
        mark = PLACEHOLDER.decode()
        rename(graph, lambda name, n: name + mark if n % 3 else name, lambda node, i: node.name + mark)


def constant_node(tensor, pick, opset):
    """A Constant in one of its forms."""
    array, whole = numpy_helper.to_array(tensor), tensor.data_type == TensorProto.INT64
    short = array.ndim <= 1 and array.size and (whole or tensor.data_type == TensorProto.FLOAT)
    if opset >= 12 and short and pick.random() < 0.5:
        key = "value_" + ("int" if whole else "float") + ("s" if array.ndim else "")
        value = array.tolist()
        return helper.make_node("Constant", [], [tensor.name], name=tensor.name + "_node", **{key: value})
    return helper.make_node("Constant", [], [tensor.name], name=tensor.name + "_node", value=tensor)


def constants_as_nodes(case, pick):
    """All, or some: at the beginning, or each in front of its reader."""
    graph, opset, share = case.model.graph, case.model.opset_import[0].version, pick.choice([0.2, 1.0])
    nodes, kept = list(graph.node), []
    early = pick.random() < 0.5
    for tensor in graph.initializer:
        at = next((i for i, node in enumerate(nodes) if tensor.name in node.input), None)
        floats = tensor.data_type == TensorProto.FLOAT
        if at is None or pick.random() > share or (opset < 9 and not floats):
            kept.append(tensor)
            continue
        nodes.insert(0 if early else at, constant_node(tensor, pick, opset))
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    case.words.append("Constant nodes")


def through_identity(case, pick):
    """As PyTorch writes equal tensors: one initialiser, read through an Identity by the other layers."""
    graph, added = case.model.graph, []
    for node in graph.node:
        for slot, name in enumerate(node.input):
            if any(t.name == name for t in graph.initializer) and pick.random() < 0.25:
                node.input[slot] = "%s_again_%d" % (name, len(added))
                again = node.input[slot]
                added.append(helper.make_node("Identity", [name], [again], name="Identity_%s" % again))
    nodes = added + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    case.words.append("Identity of constants")


def half_weights(case, pick):
    """Weights in float16, cast to float32 where they are read."""
    graph, casts = case.model.graph, []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.ndim < 1:
            continue
        name = tensor.name + "_half"
        casts.append(helper.make_node("Cast", [name], [tensor.name], name="Cast_" + tensor.name, to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), name))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    case.words.append("float16 weights")


def merge_equal(case):
    """One initialiser for all that hold the same."""
    graph, first, names, kept = case.model.graph, {}, {}, []
    for tensor in graph.initializer:
        key = (tensor.data_type, tuple(tensor.dims), tensor.raw_data)
        names[tensor.name] = first.setdefault(key, tensor.name)
        if names[tensor.name] == tensor.name:
            kept.append(tensor)
    for node in graph.node:
        node.input[:] = [names.get(v, v) for v in node.input]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    case.words.append("equal constants merged")


def as_inputs(case, pick, every):
    """Initialisers listed as inputs, before the images or behind them; needed in IR 3."""
    graph = case.model.graph
    listed = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in graph.initializer
              if every or pick.random() < 0.5]
    images = graph.input[0]
    inputs = listed + [images] if pick.random() < 0.3 else [images] + listed
    del graph.input[:]
    graph.input.extend(inputs)
    case.words.append("constants as inputs")


def number_fields(case):
    """Numbers in typed fields in place of raw bytes."""
    for tensor in case.model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.ClearField("raw_data")
            tensor.float_data.extend(array.ravel().tolist())
        elif array.dtype == np.int64:
            tensor.ClearField("raw_data")
            tensor.int64_data.extend(array.ravel().tolist())
    case.words.append("typed fields")


def disguise(case, pick):
    if pick.random() < 0.3:
        case.model = shape_inference.infer_shapes(case.model)
    if pick.random() < 0.2:
        merge_equal(case)
    form = pick.choice(["", "", "", "nodes", "identity", "half", "unused"])
    if form == "nodes":
        constants_as_nodes(case, pick)
    elif form == "identity":
        through_identity(case, pick)
    elif form == "half":
        half_weights(case, pick)
    elif form == "unused":
        case.model.graph.initializer.append(numpy_helper.from_array(np.ones((3, 2), np.float32), "left_over"))
    if pick.random() < 0.45:
        odd_names(case, pick)
    kind = pick.choice(["", "", "", "", "external", "fields", "IR 3", "IR 3", "some inputs"])
    if kind == "external" and not case.swaps:
        case.external = True
        case.words.append("external data")
    elif kind == "fields":
        number_fields(case)
    elif kind == "IR 3":
        case.model.ir_version = 3
        as_inputs(case, pick, True)
    elif kind == "some inputs":
        as_inputs(case, pick, False)
