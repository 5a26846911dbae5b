"""An ONNX network as a PyTorch module that can be trained, and its weights back into the same ONNX file.

The graph is walked node by node. Weights of convolutions, matrix products and batch norms become parameters, running
means and variances become buffers. Everything else in the file stays constant, and shape arithmetic is computed as it
is.
Writing back replaces the tensors' data and leaves the rest of the file alone, so what another program makes of the
file does not change. Operators: those of the convolutional networks that reap prunes.
"""
import numpy
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional

import script


class UnsupportedNetwork(script.UserError):
    pass


def _attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def symmetric(pads):
    half = len(pads) // 2
    return list(pads[:half]) if list(pads[:half]) == list(pads[half:]) else None


def _pad_space(x, pads, value=0.0):
    """pads as ONNX has them: the starts of all axes, then the ends."""
    half = len(pads) // 2
    flat = []
    for axis in reversed(range(half)):
        flat += [int(pads[axis]), int(pads[half + axis])]
    return functional.pad(x, flat, value=value)


def _auto_pad(attributes, x, kernel, strides, dilations):
    mode = attributes.get("auto_pad", b"NOTSET").decode()
    if mode in ("NOTSET", "VALID"):
        return list(attributes.get("pads", [0] * 2 * len(kernel))) if mode == "NOTSET" else [0] * 2 * len(kernel)
    starts, ends = [], []
    for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations):
        total = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
        small, large = total // 2, total - total // 2
        starts.append(large if mode == "SAME_LOWER" else small)
        ends.append(small if mode == "SAME_LOWER" else large)
    return starts + ends


def pad_for(attributes, x, kernel):
    """x with the padding that a convolution's attributes ask for."""
    space = len(kernel)
    return _pad_space(x, _auto_pad(attributes, x, kernel, attributes.get("strides", [1] * space),
                                   attributes.get("dilations", [1] * space)))


def _conv(module, node, a, x, weights, bias=None):
    space = weights.dim() - 2
    strides, dilations = a.get("strides", [1] * space), a.get("dilations", [1] * space)
    pads = _auto_pad(a, x, weights.shape[2:], strides, dilations)
    padding = symmetric(pads)
    if padding is None:
        x, padding = _pad_space(x, pads), [0] * space
    return functional.conv2d(x, weights, bias, strides, padding, dilations, a.get("group", 1))


def _norm(module, node, a, x, scale, bias, mean, var):
    # ONNX's momentum is the share of the old value, PyTorch's that of the new one.
    return functional.batch_norm(x, mean, var, scale, bias, module.training, 1 - a.get("momentum", 0.9),
                                 a.get("epsilon", 1e-5))


def _gemm(module, node, a, x, weights, bias=None):
    x = x.t() if a.get("transA") else x
    product = a.get("alpha", 1.0) * (x @ (weights.t() if a.get("transB") else weights))
    return product if bias is None else product + a.get("beta", 1.0) * bias


def _pool(x, a, average):
    kernel = a["kernel_shape"]
    strides = a.get("strides", [1] * len(kernel))
    if a.get("ceil_mode") or any(d != 1 for d in a.get("dilations", [1])):
        raise UnsupportedNetwork("pooling with ceil_mode or dilations")
    pads = _auto_pad(a, x, kernel, strides, [1] * len(kernel))
    padded = _pad_space(x, pads, 0.0 if average else -float("inf"))
    if not average:
        return functional.max_pool2d(padded, kernel, strides)
    if any(pads) and not a.get("count_include_pad", 0):
        weight = _pad_space(torch.ones_like(x[:1, :1]), pads)
        return functional.avg_pool2d(padded, kernel, strides) / functional.avg_pool2d(weight, kernel, strides)
    return functional.avg_pool2d(padded, kernel, strides)


def _clip(module, node, a, x, low=None, high=None):
    low, high = a.get("min", low), a.get("max", high)
    return torch.clamp(x, None if low is None else float(low), None if high is None else float(high))


def _slice(module, node, a, x, starts=None, ends=None, axes=None, steps=None):
    starts = a["starts"] if starts is None else starts.tolist()
    ends = a["ends"] if ends is None else ends.tolist()
    axes = (a.get("axes") if axes is None else axes.tolist()) or list(range(len(starts)))
    steps = [1] * len(starts) if steps is None else steps.tolist()
    for start, end, axis, step in zip(starts, ends, axes, steps):
        first = -x.shape[axis] - 1  # the place before index 0; a slice with a negative step ends there with None
        stop = max(end, first) if step > 0 or end > first else None
        places = range(x.shape[axis])[start:stop:step]
        x = x.index_select(axis, torch.tensor(list(places), dtype=torch.long, device=x.device))
    return x


def _pad(module, node, a, x, pads=None, value=None):
    pads = a["pads"] if pads is None else pads.tolist()
    mode = a.get("mode", b"constant").decode()
    if mode != "constant":
        raise UnsupportedNetwork("Pad of mode %s" % mode)
    return _pad_space(x, pads, a.get("value", 0.0) if value is None else float(value))


def _reshape(module, node, a, x, shape):
    sizes = [x.shape[i] if s == 0 and not a.get("allowzero") else s for i, s in enumerate(shape.tolist())]
    return x.reshape(sizes)


def _axes(a, axes, default=None):
    found = a.get("axes") if axes is None else axes.tolist()
    return default if found is None else list(found)


def _squeeze(module, node, a, x, axes=None):
    chosen = _axes(a, axes, [i for i, s in enumerate(x.shape) if s == 1])
    for axis in sorted((i % x.dim() for i in chosen), reverse=True):
        x = x.squeeze(axis)
    return x


def _unsqueeze(module, node, a, x, axes=None):
    chosen = _axes(a, axes)
    for axis in sorted(i % (x.dim() + len(chosen)) for i in chosen):
        x = x.unsqueeze(axis)
    return x


def _reduce_mean(module, node, a, x, axes=None):
    return x.mean(_axes(a, axes, list(range(x.dim()))), keepdim=bool(a.get("keepdims", 1)))


def _softmax(function):
    return lambda module, node, a, x: function(x, a.get("axis", 1 if module.opset < 13 else -1))


def _flatten(module, node, a, x):
    axis = a.get("axis", 1)
    return x.reshape(int(numpy.prod(x.shape[:axis], dtype=numpy.int64)), -1)


def _filled(module, node, a, shape):
    value = numpy_helper.to_array(a["value"]) if "value" in a else numpy.zeros(1, numpy.float32)
    return torch.from_numpy(numpy.full(shape.tolist(), value.reshape(-1)[0]))


def _constant(module, node, a):
    if "value" in a:
        return torch.from_numpy(numpy.array(numpy_helper.to_array(a["value"])))
    name, value = next(iter(a.items()))
    return torch.tensor(value, dtype=torch.int64 if "int" in name else torch.float32)


def _cast(module, node, a, x):
    empty = numpy_helper.to_array(onnx.TensorProto(data_type=a["to"], dims=[0]))
    return x.to(torch.from_numpy(empty).dtype)


def _div(module, node, a, x, y):
    whole = not (x.is_floating_point() or y.is_floating_point())
    return torch.div(x, y, rounding_mode="trunc") if whole else x / y


def _gather(module, node, a, x, indices):
    axis = a.get("axis", 0) % x.dim()
    flat = torch.where(indices < 0, indices + x.shape[axis], indices).reshape(-1).long()
    return x.index_select(axis, flat).reshape(list(x.shape[:axis]) + list(indices.shape) + list(x.shape[axis + 1:]))


def _split(module, node, a, x, sizes=None):
    axis, count = a.get("axis", 0), len(node.output)
    sizes = a.get("split") if sizes is None else sizes.tolist()
    if sizes is None:  # equal parts, the last one smaller where they do not come out even
        each = -(-x.shape[axis] // count)
        sizes = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    return torch.split(x, list(sizes), axis)


def _hard_sigmoid(module, node, a, x):
    return torch.clamp(a.get("alpha", 0.2) * x + a.get("beta", 0.5), 0, 1)


OPERATORS = {
    "Conv": _conv, "BatchNormalization": _norm, "Gemm": _gemm, "Clip": _clip, "Slice": _slice, "Pad": _pad,
    "Reshape": _reshape, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "ReduceMean": _reduce_mean,
    "Flatten": _flatten, "ConstantOfShape": _filled, "Constant": _constant, "Cast": _cast, "Div": _div,
    "Gather": _gather, "Split": _split, "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda module, node, a, x: x * torch.clamp(x / 6 + 0.5, 0, 1),
    "Sigmoid": lambda module, node, a, x: torch.sigmoid(x), "Tanh": lambda module, node, a, x: torch.tanh(x),
    "Erf": lambda module, node, a, x: torch.erf(x), "Sqrt": lambda module, node, a, x: torch.sqrt(x),
    "Pow": lambda module, node, a, x, y: torch.pow(x, y),
    "Softmax": _softmax(torch.softmax), "LogSoftmax": _softmax(torch.log_softmax),
    "Relu": lambda module, node, a, x: torch.relu(x),
    "Add": lambda module, node, a, x, y: x + y, "Sub": lambda module, node, a, x, y: x - y,
    "Mul": lambda module, node, a, x, y: x * y, "MatMul": lambda module, node, a, x, y: x @ y,
    "Identity": lambda module, node, a, x: x, "Dropout": lambda module, node, a, x, *rest: x,
    "MaxPool": lambda module, node, a, x: _pool(x, a, False),
    "AveragePool": lambda module, node, a, x: _pool(x, a, True),
    "GlobalAveragePool": lambda module, node, a, x: x.mean(dim=(2, 3), keepdim=True),
    "GlobalMaxPool": lambda module, node, a, x: x.amax(dim=(2, 3), keepdim=True),
    "Concat": lambda module, node, a, *x: torch.cat(x, a["axis"]),
    "Transpose": lambda module, node, a, x: x.permute(*a.get("perm", reversed(range(x.dim())))),
    "Shape": lambda module, node, a, x: torch.tensor(x.shape, dtype=torch.int64),
}


class OnnxModule(torch.nn.Module):
    """The network of an ONNX file; forward(x) takes and gives one tensor."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.opset = max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.steps = [(n, _attributes(n)) for n in model.graph.node]
        missing = sorted({n.op_type for n, _ in self.steps} - set(OPERATORS))
        if missing:
            raise UnsupportedNetwork("operators that cannot be trained here: %s" % ", ".join(missing))
        self.held = {t.name: torch.from_numpy(numpy.array(numpy_helper.to_array(t))) for t in model.graph.initializer}
        inputs = [i for i in model.graph.input if i.name not in self.held]
        if len(inputs) != 1 or len(model.graph.output) != 1:
            raise UnsupportedNetwork("%d inputs and %d outputs; wanted one of each"
                                     % (len(inputs), len(model.graph.output)))
        self.input, self.output = inputs[0].name, model.graph.output[0].name
        self.input_shape = [d.dim_value or None for d in inputs[0].type.tensor_type.shape.dim]  # None: free
        self.learned = {}
        self._find_parameters()

    def _owner(self, name):
        """The initialiser behind a name, through Identity nodes; None if it is computed."""
        sources = {n.output[0]: n.input[0] for n, _ in self.steps if n.op_type == "Identity"}
        while name in sources:
            name = sources[name]
        return name if name in self.held and self.held[name].is_floating_point() else None

    def _find_parameters(self):
        slots = {"Conv": (1, 2), "Gemm": (1, 2), "MatMul": (1,), "BatchNormalization": (1, 2)}
        for node, _ in self.steps:
            for slot in slots.get(node.op_type, ()):
                owner = self._owner(node.input[slot]) if slot < len(node.input) else None
                if owner:
                    self._learn(owner, torch.nn.Parameter)
            if node.op_type == "BatchNormalization":
                for slot in (3, 4):
                    self._learn(self._owner(node.input[slot]), None)

    def _learn(self, name, kind):
        if name in self.learned or name is None:
            return
        tensor, attribute = self.held[name].float().clone(), "t%d" % len(self.learned)
        if kind:
            self.register_parameter(attribute, kind(tensor))
        else:
            self.register_buffer(attribute, tensor)
        self.learned[name] = attribute

    def _compute(self, node, attributes, given):
        return OPERATORS[node.op_type](self, node, attributes, *given)

    def forward(self, x):
        values = {name: tensor for name, tensor in self.held.items()}
        for name, attribute in self.learned.items():
            values[name] = getattr(self, attribute)
        values[self.input] = x
        for node, attributes in self.steps:
            given = [values[name] if name else None for name in node.input]
            try:
                made = self._compute(node, attributes, given)
                values.update(zip(node.output, made if isinstance(made, tuple) else (made,)))
            except UnsupportedNetwork:
                raise
            except Exception as error:
                raise UnsupportedNetwork("%s %s: %s" % (node.op_type, node.name, error)) from error
        return values[self.output]

    def write(self, path):
        """The file with the present weights, each in the type it had."""
        for tensor in self.model.graph.initializer:
            if tensor.name in self.learned:
                old = numpy_helper.to_array(tensor)
                new = getattr(self, self.learned[tensor.name]).detach().cpu().numpy()
                new = new.astype(old.dtype).reshape(old.shape)
                tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
        onnx.checker.check_model(self.model)
        onnx.save(self.model, path)


def load(path, kind=OnnxModule):
    try:
        model = onnx.load(path)
    except OSError:
        raise
    except Exception as error:  # protobuf has exception types of its own
        raise UnsupportedNetwork("%s: not a readable ONNX file" % path) from error
    return kind(model)
