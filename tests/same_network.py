#!/usr/bin/env python3
"""Compares two ONNX files bit for bit, but for what does not bear on the network: producer, notes (metadata_props), and
shapes that are told besides (value_info). Nothing but the standard library is needed.

same_network.py A.onnx B.onnx     exit status 1 if they differ
"""
import sys

PRODUCER, VERSION, GRAPH, NOTES = 2, 3, 7, 14  # fields of ModelProto
SHAPES = 13  # of GraphProto


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Yields (number, key and length, content) of the fields of a message; content None: the first has it all."""
    at = 0
    while at < len(data):
        start = at
        key, at = varint(data, at)
        content = None
        if key & 7 == 2:
            length, at = varint(data, at)
            content = data[at:at + length]
            yield key >> 3, data[start:at], content
            at += length
            continue
        if key & 7 == 0:
            _, at = varint(data, at)
        else:
            at += {1: 8, 5: 4}[key & 7]
        yield key >> 3, data[start:at], content


def network(path):
    """The fields that make the network, the graph's one by one."""
    with open(path, "rb") as f:
        data = memoryview(f.read())
    out = []
    for number, frame, content in fields(data):
        if number == GRAPH:
            out += [(f, c) for n, f, c in fields(content) if n != SHAPES]
        elif number not in (PRODUCER, VERSION, NOTES):
            out.append((frame, content))
    return out


def same(a, b):
    return network(a) == network(b)


if __name__ == "__main__":
    sys.exit(not same(*sys.argv[1:3]))
