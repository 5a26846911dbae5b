"""ONNX files written byte by byte, for networks that no library would write.

Names may be bytes of any kind. Nothing but the standard library is needed.
"""

import struct

FLOAT, INT64 = 1, 7


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    """One field: an integer, text, bytes (a message too) or a float."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, dims, values, kind=FLOAT):
    packed = struct.pack("<%d%s" % (len(values), "f" if kind == FLOAT else "q"),
                         *values)
    return (b"".join(field(1, d) for d in dims) + field(2, kind) +
            field(8, name) + field(9, packed))


def attribute(name, value):
    out = field(1, name)
    if isinstance(value, float):
        return out + field(2, value) + field(20, 1)
    if isinstance(value, int):
        return out + field(3, value) + field(20, 2)
    if isinstance(value, list):
        return out + b"".join(field(8, v) for v in value) + field(20, 7)
    if isinstance(value, str):
        return out + field(4, value) + field(20, 3)
    return out + field(5, value) + field(20, 4)  # bytes: a tensor


def node(op, inputs, outputs, name="", **attributes):
    return (b"".join(field(1, i) for i in inputs) +
            b"".join(field(2, o) for o in outputs) + field(3, name) +
            field(4, op) +
            b"".join(field(5, attribute(k, v)) for k, v in attributes.items()))


def value_info(name, dims):
    shape = b"".join(field(1, field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, FLOAT) +
                                           field(2, shape)))


def model(nodes, inputs, outputs, tensors=(), opset=13, producer="test"):
    """Inputs and outputs are pairs of name and shape."""
    graph = (b"".join(field(1, n) for n in nodes) + field(2, "g") +
             b"".join(field(5, t) for t in tensors) +
             b"".join(field(11, value_info(*i)) for i in inputs) +
             b"".join(field(12, value_info(*o)) for o in outputs))
    return (field(1, 8) + field(2, producer) + field(7, graph) +
            field(8, field(1, "") + field(2, opset)))
