"""An ONNX network as a PyTorch module made of layers, for programs that cut layers, and its weights back into ONNX.

Convolutions, matrix products and batch norms are torch.nn modules, whose tensors may change their sizes before they are
written. Everything else is computed as onnx_torch.py does: constants that count channels stay as they are in the file.
"""
import onnx
import torch
from onnx import numpy_helper

import onnx_torch


class LayeredModule(onnx_torch.OnnxModule):
    def _find_parameters(self):
        self.layers, self.layer_of = torch.nn.ModuleDict(), {}
        makers = {"Conv": self._convolution, "Gemm": self._linear, "MatMul": self._linear,
                  "BatchNormalization": self._norm}
        for node, a in self.steps:
            if node.op_type in makers and self._owner(node.input[1]):
                self._add(node, makers[node.op_type](node, a))

    def _add(self, node, layer):
        """names: of the layer's tensors, the initialiser of each."""
        slots = {1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"}
        layer.names = {slots[k]: self._owner(name) for k, name in enumerate(node.input) if k in slots and name}
        layer.turned = isinstance(layer, torch.nn.Linear) and not dict(_flags(node)).get("transB")
        with torch.no_grad():
            for name, owner in layer.names.items():
                tensor = self.held[owner].float()
                getattr(layer, name).copy_(tensor.t() if layer.turned and name == "weight" else tensor)
        self.layer_of[node.output[0]] = "l%d" % len(self.layers)
        self.layers[self.layer_of[node.output[0]]] = layer

    def _convolution(self, node, a):
        filters, per_group, *kernel = self.held[self._owner(node.input[1])].shape
        if len(kernel) != 2:
            raise onnx_torch.UnsupportedNetwork("%s: a convolution over %d axes" % (node.name, len(kernel)))
        padding = onnx_torch.symmetric(a.get("pads", [0] * 4)) if "auto_pad" not in a else None
        layer = torch.nn.Conv2d(per_group * a.get("group", 1), filters, kernel, a.get("strides", 1), padding or 0,
                                a.get("dilations", 1), a.get("group", 1), len(node.input) > 2)
        layer.padded = padding is None
        return layer

    def _linear(self, node, a):
        if a.get("alpha", 1) != 1 or a.get("beta", 1) != 1 or a.get("transA"):
            raise onnx_torch.UnsupportedNetwork("%s: a Gemm with factors" % node.name)
        outputs, inputs = self.held[self._owner(node.input[1])].shape[::1 if a.get("transB") else -1]
        return torch.nn.Linear(inputs, outputs, len(node.input) > 2)

    def _norm(self, node, a):
        return torch.nn.BatchNorm2d(len(self.held[self._owner(node.input[1])]), a.get("epsilon", 1e-5),
                                    1 - a.get("momentum", 0.9))

    def linear_layers(self):
        """Those with weights that are multiplied, in the order of the network."""
        return [layer for layer in self.layers.values() if not isinstance(layer, torch.nn.BatchNorm2d)]

    def _compute(self, node, attributes, given):
        if node.output[0] not in self.layer_of:
            return super()._compute(node, attributes, given)
        layer, x = self.layers[self.layer_of[node.output[0]]], given[0]
        if getattr(layer, "padded", False):
            x = onnx_torch.pad_for(attributes, x, layer.weight.shape[2:])
        return layer(x)

    def write(self, path):
        """The file with the layers' tensors, whatever their sizes have become."""
        tensors = {t.name: t for t in self.model.graph.initializer}
        for node in self.model.graph.node:
            if node.output[0] not in self.layer_of:
                continue
            layer = self.layers[self.layer_of[node.output[0]]]
            for name, owner in layer.names.items():
                new = getattr(layer, name).detach()
                new = new.t() if layer.turned and name == "weight" else new
                tensors[owner].CopyFrom(numpy_helper.from_array(new.contiguous().numpy(), owner))
            for attribute in node.attribute:
                if attribute.name == "group":
                    attribute.i = layer.groups
        del self.model.graph.value_info[:]
        onnx.save(self.model, path)


def _flags(node):
    return [(a.name, a.i) for a in node.attribute]


def load(path):
    return onnx_torch.load(path, LayeredModule)
