#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the broken models: what a reader has to refuse, saying why.

  malformed/NAME.onnx   the broken model
  malformed/NAME.bin    only where its weights are kept outside the model
  malformed/cases.txt   one line per case: NAME, a tab, and the words that the
                        error message has to contain, with a space between
                        them; capitals do not matter

Most words are the name of the offending node, and the weights of a node bear
its name too: "spoiled.weight" belongs to "spoiled". So it is left open which
of the two a message names. No word is part of the file's own path: a message
that names nothing but the file does not pass.

Each case is one network that is sound but for one thing. Needs onnx and numpy.
"""

import argparse
import glob
import os
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "malformed")

# What the tests call a file may contain all of this.
PATH = "tests/references/malformed/%s.onnx"

IMAGE = [3, 7, 5]

CASES = {}

random = np.random.RandomState(20)


class Broken:
    """The bytes of a model, words of the message, weights outside."""

    def __init__(self, words, content, outside=None):
        self.words = words.split()
        self.content = content
        self.outside = outside


def case(name, words, content, outside=None):
    assert name not in CASES, name
    if not isinstance(content, bytes):
        content = content.SerializeToString()
    CASES[name] = Broken(words, content, outside)


def weights(*shape):
    return (0.3 * random.standard_normal(shape)).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def tensor(name, value):
    if isinstance(value, TensorProto):
        return value
    return numpy_helper.from_array(np.array(value, order="C"), name)


def node(op, inputs, outputs, name, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), name=name,
                            **attributes)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def network(nodes, constants, output=("batch", "m", "h", "w"), opset=13,
            inputs=None, outputs=None):
    """A model of these nodes, from "input" to "output"."""
    graph = helper.make_graph(
        nodes, "network",
        [value("input", ["batch"] + IMAGE)] if inputs is None else inputs,
        [value("output", output)] if outputs is None else outputs,
        [tensor(n, v) for n, v in constants.items()])
    model = helper.make_model(graph, producer_name="reap-tests",
                              opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 7
    return model


def convolution(name="layer", constants=None, **attributes):
    """A convolution and a Relu: a sound model to be broken.

    constants: in place of NAME.weight [4, 3, 3, 3] and NAME.bias
    """
    own = {name + ".weight": weights(4, 3, 3, 3), name + ".bias": weights(4)}
    own.update(constants or {})
    return network([node("Conv", "input %s.weight %s.bias" % (name, name),
                         "hidden", name, **attributes),
                    node("Relu", "hidden", "output", "last")], own)


def headed(middle, constants, output=("batch", "m", "h", "w"), opset=13):
    """A convolution to "hidden", [batch, 4, 5, 3], then the nodes given."""
    own = {"layer.weight": weights(4, 3, 3, 3)}
    own.update(constants)
    return network([node("Conv", "input layer.weight", "hidden", "layer")]
                   + middle, own, output, opset)


def float_tensor(name, dims, content):
    """A tensor whose bytes need not be those of its dimensions."""
    return TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims,
                       raw_data=content)


# --- files -------------------------------------------------------------------

def file_cases():
    sound = convolution().SerializeToString()
    case("zero_bytes", "empty", b"")
    # Seven is no wire type: the first byte alone is an error.
    case("random_bytes", "damaged", b"\x07" + random.bytes(499))
    # Ends within the weights.
    case("cut_short", "damaged", sound[:len(sound) // 2])
    case("cut_by_one", "damaged", sound[:-1])
    # Field 7, the graph, said to be as long as can be expressed.
    case("length_absurd", "damaged",
         b"\x08\x07\x3a" + b"\xff" * 9 + b"\x01" + sound)
    # A number of more than ten bytes.
    case("number_absurd", "damaged", b"\x08" + b"\xff" * 20 + b"\x01" + sound)

    model = convolution()
    model.ClearField("graph")
    case("no_body", "graph", model)

    model = convolution()
    model.ir_version = 0
    case("ir_zero", "version", model)
    # A later version that makes a node depend on its field 99.
    model = convolution()
    model.ir_version = 99
    model.graph.node[0].MergeFromString(bytes([0x98, 0x06, 0x01]))
    case("ir_unknown_part", "99 field NodeProto", model)
    for name, version in (("too_old", 5), ("too_new", 99), ("negative", -13)):
        case("operators_" + name, "opset", network(
            [node("Relu", "input", "output", "last")], {}, opset=version))
    model = convolution()
    del model.opset_import[:]
    case("operators_undeclared", "opset", model)


# --- the graph ---------------------------------------------------------------

def graph_cases():
    case("unknown_operator", "FooBar strange", headed(
        [node("FooBar", "hidden", "boxes", "strange"),
         node("Relu", "boxes", "output", "last")], {}))
    # Printed with printf(name), this would do harm.
    case("unknown_operator_percent", "%s%n%d", headed(
        [node("FooBar", "hidden", "boxes", "%s%n%d"),
         node("Relu", "boxes", "output", "last")], {}))
    case("unnamed_operator", "anonymous", headed(
        [node("", "hidden", "output", "anonymous")], {}))
    for name, op in (("custom_domain", "FancyConv"),
                     ("custom_domain_known_name", "Relu")):
        model = headed([node(op, "hidden", "output", "fancy",
                             domain="com.example")], {})
        model.opset_import.extend([helper.make_opsetid("com.example", 1)])
        case(name, "fancy", model)

    case("undefined_tensor", "nowhere", headed(
        [node("Add", "hidden nowhere", "output", "last")], {}))
    case("unsorted", "latecomer", headed(
        [node("Relu", "latecomer", "output", "last"),
         node("Relu", "hidden", "latecomer", "first")], {}))
    case("cycle", "roundabout", headed(
        [node("Add", "hidden roundabout", "forward", "a"),
         node("Relu", "forward", "roundabout", "b"),
         node("Relu", "roundabout", "output", "c")], {}))
    case("cycle_of_one", "ouroboros", headed(
        [node("Add", "hidden ouroboros", "ouroboros", "a"),
         node("Relu", "ouroboros", "output", "b")], {}))
    case("twice_computed", "contested", headed(
        [node("Relu", "hidden", "contested", "a"),
         node("Identity", "hidden", "contested", "b"),
         node("Relu", "contested", "output", "c")], {}))
    model = convolution()
    model.graph.initializer.append(tensor("layer.bias", weights(4)))
    case("twice_initialised", "layer.bias", model)
    # The image itself computed by a node.
    case("image_computed", "overpainted", network(
        [node("Relu", "overpainted", "overpainted", "first"),
         node("Relu", "overpainted", "output", "last")], {},
        inputs=[value("overpainted", ["batch"] + IMAGE)]))

    case("too_few_inputs", "lonely", headed(
        [node("Add", "hidden", "output", "lonely")], {}))
    case("too_many_inputs", "crowded", headed(
        [node("Relu", "hidden hidden", "output", "crowded")], {}))
    case("required_left_out", "hollow", headed(
        [helper.make_node("Add", ["hidden", ""], ["output"], name="hollow")],
        {}))
    case("nothing_computed", "idle", headed(
        [helper.make_node("Relu", ["hidden"], [], name="idle"),
         node("Relu", "hidden", "output", "last")], {}))

    words = node("Identity", "words", "output", "last")
    case("string_input", "words", network(
        [words], {}, ("batch", 3), inputs=[value("words", ["batch", 3],
                                                 TensorProto.STRING)],
        outputs=[value("output", ["batch", 3], TensorProto.STRING)]))
    case("constants_only", "input", network(
        [node("Relu", "c", "output", "last")], {"c": weights(1, 3, 7, 5)},
        inputs=[]))
    case("without_result", "output", network(
        [node("Relu", "input", "hidden", "last")], {}, outputs=[]))
    case("result_missing", "phantom", network(
        [node("Relu", "input", "hidden", "last")], {},
        outputs=[value("phantom", ["batch"] + IMAGE)]))

    branch = helper.make_graph(
        [node("Relu", "hidden", "chosen", "inner")], "branch", [],
        [value("chosen", None)])
    case("subgraph_if", "branching", headed(
        [node("If", "condition", "output", "branching", then_branch=branch,
              else_branch=branch)], {"condition": np.array(True)}))
    body = helper.make_graph(
        [node("Relu", "state_in", "state_out", "inner"),
         node("Identity", "condition_in", "condition_out", "copied")], "body",
        [value("number", [], TensorProto.INT64),
         value("condition_in", [], TensorProto.BOOL), value("state_in", None)],
        [value("condition_out", [], TensorProto.BOOL),
         value("state_out", None)])
    case("subgraph_loop", "looping", headed(
        [node("Loop", "trips condition hidden", "output", "looping",
              body=body)],
        {"trips": np.array(2, np.int64), "condition": np.array(True)}))


# --- tensors -----------------------------------------------------------------

def tensor_cases():
    def spoiled(name, word, dims, content):
        """The weights of layer `word` replaced."""
        weight = word + ".weight"
        case(name, word, convolution(
            word, {weight: float_tensor(weight, dims, content)}))
    floats = weights(4, 3, 3, 3).tobytes()
    spoiled("raw_too_short", "scanty", [4, 3, 3, 3], floats[:-4])
    spoiled("raw_not_whole", "ragged", [4, 3, 3, 3], floats[:-1])
    spoiled("raw_too_long", "overfull", [4, 3, 3, 3], floats + floats[:4])
    spoiled("raw_missing", "bare", [4, 3, 3, 3], b"")
    spoiled("dims_below_zero", "minus", [4, 3, -3, 3], floats)
    # Two negative ones make a product as it should be.
    spoiled("dims_both_below_zero", "minus", [4, 3, -3, -3], floats)
    spoiled("dims_huge", "giant", [1 << 20, 1 << 20, 3, 3], floats)
    spoiled("dims_overflow", "giant", [(1 << 62) + 1, 4, 3, 3], floats)
    # The product is 2^64, zero in 64 bits: as many as there are bytes.
    spoiled("dims_overflow_to_zero", "giant", [1 << 32, 1 << 32, 1, 1], b"")
    spoiled("dims_too_many", "deep", [1] * 200 + [4, 3, 3, 3], floats)
    spoiled("dims_zero", "vacant", [0, 3, 3, 3], b"")

    short = TensorProto(name="scanty.weight", data_type=TensorProto.FLOAT,
                        dims=[4, 3, 3, 3], float_data=[0.5] * 107)
    case("floats_too_few", "scanty", convolution(
        "scanty", {"scanty.weight": short}))

    def with_value(name, word, number, part):
        own = {word + ".weight": weights(4, 3, 3, 3),
               word + ".bias": weights(4)}
        own["%s.%s" % (word, part)].flat[2] = number
        case(name, word, convolution(word, own))
    with_value("value_nan", "spoiled", np.nan, "weight")
    with_value("value_nan_bias", "spoiled", np.nan, "bias")
    with_value("value_inf", "boundless", np.inf, "weight")
    with_value("value_minus_inf", "boundless", -np.inf, "weight")

    def norm(name, word, **changed):
        own = {"scale": weights(4), "shift": weights(4), "mean": weights(4),
               "var": weights(4) ** 2}
        own.update(changed)
        own = {"%s.%s" % (word, key): array for key, array in own.items()}
        case(name, word, headed(
            [node("BatchNormalization", " ".join(["hidden"] + list(own)),
                  "output", word)], own))
    # The root of which is taken.
    norm("norm_variance_below_zero", "rootless",
         var=np.array([1.0, 0.5, -1.0, 2.0], np.float32))
    norm("norm_value_nan", "spoiled",
         mean=np.array([1.0, np.nan, 0.0, 2.0], np.float32))
    norm("norm_channels", "mismatched", scale=weights(5))

    def halved(name, word, model, kind):
        for end in (model.graph.input[0], model.graph.output[0]):
            end.type.tensor_type.elem_type = kind
        case(name, word, model)
    half = weights(4, 3, 3, 3).astype(np.float16)
    half.flat[2] = np.inf
    halved("weights_float16_inf", "boundless", convolution(
        "boundless", {"boundless.weight": half, "boundless.bias":
                      weights(4).astype(np.float16)}), TensorProto.FLOAT16)
    brain = np.resize(np.array([0x3e80, 0xbd40, 0x7fc0], np.uint16), 108)
    halved("weights_bfloat16_nan", "spoiled", network(
        [node("Conv", "input spoiled.weight", "output", "spoiled")],
        {"spoiled.weight": TensorProto(
            name="spoiled.weight", data_type=TensorProto.BFLOAT16,
            dims=[4, 3, 3, 3], raw_data=brain.tobytes())}, opset=22),
        TensorProto.BFLOAT16)
    case("weights_float64", "wide", convolution(
        "wide", {"wide.weight": weights(4, 3, 3, 3).astype(np.float64)}))
    absurd = float_tensor("alien.weight", [4, 3, 3, 3], floats)
    absurd.data_type = 999
    case("weights_no_such_type", "alien", convolution(
        "alien", {"alien.weight": absurd}))

    case("weights_quantised", "rounded networks", network(
        [node("QuantizeLinear", "input scale zero", "bytes", "rounded.first"),
         node("QLinearConv", "bytes scale zero weight scale zero scale zero",
              "product", "rounded"),
         node("DequantizeLinear", "product scale zero", "output",
              "rounded.last")],
        {"scale": np.float32(0.05), "zero": np.uint8(128), "weight":
         random.randint(0, 256, (4, 3, 3, 3)).astype(np.uint8)}))

    def outside(name, words, word, location, offset=0, length=None, data=None):
        weight = TensorProto(
            name=word + ".weight", data_type=TensorProto.FLOAT,
            dims=[4, 3, 3, 3], data_location=TensorProto.EXTERNAL)
        entries = {"location": location, "offset": str(offset),
                   "length": str(len(floats) if length is None else length)}
        for key, entry in entries.items():
            if entry != "None":
                weight.external_data.add(key=key, value=entry)
        case(name, words, convolution(word, {weight.name: weight}), data)
    # The first two files exist: only a reader that guards its folder, and
    # plain files, fails. /dev/zero has bytes without end.
    outside("external_parent", "climbing", "climbing",
            "../kernels/weights_external.bin", 64)
    outside("external_inner_parent", "climbing", "climbing",
            "kernels/../../kernels/weights_external.bin", 64)
    outside("external_absolute", "rooted", "rooted", "/dev/zero")
    outside("external_lost", "nowhere.bin", "layer", "nowhere.bin")
    outside("external_folder", "housed", "housed", ".")
    outside("external_unnamed", "homeless", "homeless", "")
    own = "external_past_end"
    outside(own, "beyond", "beyond", own + ".bin", 1 << 40, data=floats)
    own = "external_ends_early"
    outside(own, "beyond", "beyond", own + ".bin", 4, data=floats)
    own = "external_offset_below_zero"
    outside(own, "minus", "minus", own + ".bin", -4, data=floats)
    own = "external_offset_absurd"
    outside(own, "beyond", "beyond", own + ".bin", (1 << 64) - 4, data=floats)
    own = "external_offset_no_number"
    outside(own, "puzzling", "puzzling", own + ".bin", "twelve", data=floats)
    own = "external_length_wrong"
    outside(own, "scanty", "scanty", own + ".bin", 0, len(floats) - 8,
            data=floats)


# --- operators ---------------------------------------------------------------

def operator_cases():
    def conv(name, word, constants=None, **attributes):
        own = {"%s.%s" % (word, key): array
               for key, array in (constants or {}).items()}
        case(name, word, convolution(word, own, **attributes))
    conv("conv_rank_of_weights", "flattened", {"weight": weights(4, 9, 3)})
    conv("conv_channels_mismatch", "misfit", {"weight": weights(4, 5, 3, 3)})
    conv("conv_kernel_mismatch", "misfit", kernel_shape=[5, 5])
    conv("conv_kernel_too_large", "oversized",
         {"weight": weights(4, 3, 9, 9)})
    conv("conv_bias_length", "uneven", {"bias": weights(3)})
    conv("conv_pads_below_zero", "shrinking", pads=[0, -1, 0, -1])
    conv("conv_pads_huge", "bloated", pads=[1 << 61] * 4)
    conv("conv_pads_count", "uneven", pads=[1, 1, 1])
    conv("conv_stride_zero", "standing", strides=[0, 1])
    conv("conv_stride_below_zero", "backward", strides=[1, -2])
    conv("conv_dilation_zero", "collapsed", dilations=[1, 0])
    conv("conv_group_no_divisor", "divided", group=2)
    conv("conv_group_zero", "divided", group=0)
    conv("conv_group_no_divisor_of_outputs", "divided",
         {"weight": weights(4, 1, 3, 3)}, group=3)
    conv("conv_auto_pad_unknown", "guessing", auto_pad="SAME_SIDEWAYS")
    # A number where a list is expected, and text in its place.
    conv("conv_stride_no_list", "mistyped", strides=2)
    conv("conv_stride_text", "mistyped", strides="2, 2")
    # Weights that depend on the image are none that could be pruned.
    case("conv_weights_computed", "loose", network(
        [node("Transpose", "input", "loose.weight", "loose.turn",
              perm=[1, 0, 2, 3]),
         node("Conv", "input loose.weight", "output", "loose")], {}))

    flat = node("Flatten", "hidden", "flat", "flatten")
    case("gemm_inner_size", "misfit", headed(
        [flat, node("Gemm", "flat misfit.weight", "output", "misfit",
                    transB=1)], {"misfit.weight": weights(6, 61)},
        ("batch", 6)))
    case("gemm_c_length", "misfit", headed(
        [flat, node("Gemm", "flat misfit.weight misfit.bias", "output",
                    "misfit", transB=1)],
        {"misfit.weight": weights(6, 60), "misfit.bias": weights(7)},
        ("batch", 6)))
    case("matmul_inner_size", "misfit", headed(
        [flat, node("MatMul", "flat misfit.weight", "output", "misfit")],
        {"misfit.weight": weights(61, 6)}, ("batch", 6)))
    case("add_shapes", "misfit", headed(
        [node("Add", "hidden misfit.bias", "output", "misfit")],
        {"misfit.bias": weights(5, 1, 1)}))

    def reshape(name, *target):
        case(name, "misshapen", headed(
            [node("Reshape", "hidden target", "output", "misshapen")],
            {"target": ints(*target)}, ("batch", "n")))
    reshape("reshape_no_fit", 0, 61)
    reshape("reshape_no_divisor", 0, -1, 7)
    reshape("reshape_two_unknown", -1, -1)
    reshape("reshape_below_minus_one", 0, -2)
    reshape("reshape_overflow", 0, 1 << 62, 1 << 62)
    reshape("reshape_zero_past_end", 0, 0, 0, 0, 0)
    case("reshape_by_image", "misshapen", network(
        # The sizes depend on the pixels.
        [node("Cast", "input", "whole", "misshapen.cast",
              to=TensorProto.INT64),
         node("Reshape", "input whole", "output", "misshapen")], {},
        ("batch", "n")))

    case("concat_shapes", "misfit", headed(
        [node("MaxPool", "hidden", "small", "pool", kernel_shape=[2, 2]),
         node("Concat", "hidden small", "output", "misfit", axis=1)], {}))
    case("concat_axis", "misled", headed(
        [node("Concat", "hidden hidden", "output", "misled", axis=4)], {}))
    case("transpose_perm", "muddled", headed(
        [node("Transpose", "hidden", "output", "muddled",
              perm=[0, 1, 1, 3])], {}))
    case("squeeze_not_one", "pressed", headed(
        [node("Squeeze", "hidden axes", "output", "pressed")],
        {"axes": ints(2)}, ("batch", 4, 3)))
    case("flatten_axis", "misled", headed(
        [node("Flatten", "hidden", "output", "misled", axis=7)], {},
        ("batch", "n")))

    def cut(name, word, **constants):
        case(name, word, headed(
            [node("Slice", "hidden starts ends axes steps", "output", word)],
            {key: ints(*values) for key, values in constants.items()}))
    cut("slice_step_zero", "standing", starts=[0], ends=[9], axes=[2],
        steps=[0])
    cut("slice_axis", "misled", starts=[0], ends=[9], axes=[4], steps=[1])
    cut("slice_lengths", "uneven", starts=[0, 0], ends=[9], axes=[2, 3],
        steps=[1, 1])
    cut("slice_nothing_left", "vacant", starts=[3], ends=[3], axes=[1],
        steps=[1])

    def pad(name, word, *pads, **attributes):
        case(name, word, headed(
            [node("Pad", "hidden pads", "output", word, **attributes)],
            {"pads": ints(*pads)}))
    pad("pad_too_many_axes", "overlong", 0, 0, 0, 1, 1, 0, 0, 0, 1, 1)
    pad("pad_too_few_axes", "curtailed", 1, 1, 1, 1)
    pad("pad_huge", "bloated", 0, 0, 1 << 62, 1 << 62, 0, 0, 1 << 62, 1 << 62)
    pad("pad_mirrored", "mirroring", 0, 0, 99, 1, 0, 0, 1, 1, mode="reflect")
    pad("pad_mode_unknown", "guessing", 0, 0, 1, 1, 0, 0, 1, 1, mode="fancy")

    def pool(name, word, op="MaxPool", **attributes):
        case(name, word, headed(
            [node(op, "hidden", "output", word, **attributes)], {}))
    pool("pool_without_kernel", "shapeless")
    pool("pool_kernel_zero", "collapsed", kernel_shape=[0, 2])
    pool("pool_kernel_too_large", "oversized", kernel_shape=[9, 9])
    pool("pool_stride_zero", "standing", "AveragePool", kernel_shape=[2, 2],
         strides=[0, 0])
    pool("pool_kernel_3d", "oversized", kernel_shape=[2, 2, 2])
    # Windows of nothing but padding: an average over no element.
    pool("pool_pads_exceed_kernel", "unfounded", "AveragePool",
         kernel_shape=[2, 2], pads=[3, 3, 3, 3])

    # Sound as networks, but one image's output depends on the others, which
    # no program may assume that computes them in batches of its own.
    case("batch_concatenated", "mixing", headed(
        [node("Concat", "hidden hidden", "output", "mixing", axis=0)], {}))
    case("batch_averaged", "mixing", headed(
        [node("ReduceMean", "hidden", "output", "mixing", axes=[0])], {}))
    case("batch_transposed", "mixing", headed(
        [node("Flatten", "hidden", "flat", "flatten"),
         node("Gemm", "flat mixing.weight", "output", "mixing", transA=1)],
        {"mixing.weight": weights(1, 6)}, (60, 6)))
    # Statistics of the batch instead of those stored.
    case("batch_normalised", "mixing", headed(
        [node("BatchNormalization",
              "hidden norm.scale norm.shift norm.mean norm.var",
              "output new_mean new_var", "mixing", training_mode=1)],
        {"norm." + part: np.ones(4, np.float32)
         for part in ("scale", "shift", "mean", "var")}, opset=14))


def write(folder):
    os.makedirs(folder, exist_ok=True)
    for stale in glob.glob(os.path.join(folder, "*")):
        if stale.endswith((".onnx", ".bin")):
            os.unlink(stale)
    with open(os.path.join(folder, "cases.txt"), "w") as listing:
        for name, broken in CASES.items():
            for word in broken.words:
                assert word.lower() not in PATH % name, (name, word)
            with open(os.path.join(folder, name + ".onnx"), "wb") as file:
                file.write(broken.content)
            if broken.outside is not None:
                with open(os.path.join(folder, name + ".bin"), "wb") as file:
                    file.write(broken.outside)
            listing.write("%s\t%s\n" % (name, " ".join(broken.words)))
    print("%d cases" % len(CASES))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", default=FOLDER,
                        help="where to write (default: beside this file)")
    arguments = parser.parse_args()
    for add in (file_cases, graph_cases, tensor_cases, operator_cases):
        add()
    write(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
