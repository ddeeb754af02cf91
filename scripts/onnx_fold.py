#!/usr/bin/env python3
"""Folds the weights of a block-quantised ONNX file back to float32.

ONNX Runtime refuses the int8bq files of OpenCV Zoo: their DequantizeLinear nodes carry a block size
over scales that have none, and SFace lists its weights among the graph's inputs. Every one of these
nodes works on constants, so its result is a constant too: it is computed here, once, and the node goes.

A PRelu is written as Relu and two depthwise convolutions, because ONNX Runtime's own PRelu kernel is
slow on a CPU: it took half of SFace's time. The values stay the same to float32 rounding.

The file is edited as the protobuf fields it is made of, with the standard library alone. What needs no
change is copied byte for byte, and the same input always gives the same output.

    python3 onnx_fold.py IN.onnx OUT.onnx [--input-hw HEIGHTxWIDTH] [--output NAME:1x2x3]
"""

import argparse
import math
import struct
import sys
from array import array

# Field numbers of onnx.proto.
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO = 1, 5, 11, 12, 13
NODE_INPUT, NODE_OUTPUT, NODE_OP_TYPE, NODE_ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS, ATTRIBUTE_TYPE = 1, 3, 6, 11, 20
ATTRIBUTE_TYPE_INT = 2
TENSOR_DIMS, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_INT64S, TENSOR_NAME, TENSOR_RAW = 1, 2, 4, 7, 8, 9
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR, TENSOR_ELEMENT, TENSOR_SHAPE, SHAPE_DIM, DIM_VALUE = 1, 1, 2, 1, 1

FLOAT, UINT8, INT8, INT64 = 1, 2, 3, 7
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class FoldError(ValueError):
    """The file is not a model this script can fold."""


def fold(data, input_hw=None, output=None):
    """Returns the model with its constant weights as floats.

    `input_hw` also fixes the height and width of the input; the second dimension of each output counts
    the cells of a grid over the image and is scaled with the area. `output` is the name and the shape of
    a tensor inside the graph that becomes one more output.
    """
    return b"".join(
        _field(MODEL_GRAPH, _fold_graph(value, input_hw, output)) if number == MODEL_GRAPH else raw
        for number, _, value, raw in _fields(data)
    )


def with_outputs(data, names):
    """Returns the model with these outputs alone; the graph that computes them, and the others, stays as it is."""
    found = set()

    def graph(data):
        for number, _, value, raw in _fields(data):
            if number == GRAPH_OUTPUT:
                if _name(value) not in names:
                    continue
                found.add(_name(value))
            yield raw

    model = b"".join(
        _field(MODEL_GRAPH, b"".join(graph(value))) if number == MODEL_GRAPH else raw
        for number, _, value, raw in _fields(data)
    )
    if found != set(names):
        raise FoldError(f"the graph has no output {', '.join(sorted(set(names) - found))}")
    return model


def _fold_graph(data, input_hw, output):
    fields = list(_fields(data))
    of = lambda expected: [value for number, _, value, _ in fields if number == expected]
    tensors = {tensor.name: tensor for tensor in map(Tensor.read, of(GRAPH_INITIALIZER))}
    nodes = [Node(value) for value in of(GRAPH_NODE)]
    outputs = {_name(value) for value in of(GRAPH_OUTPUT)}

    gone, made = set(), {}
    for index, node in enumerate(nodes):
        tensor = _constant(node, tensors)
        if tensor is not None:
            gone.add(index)
            made[tensor.name] = tensors[tensor.name] = tensor
    rewritten = {}
    for index, node in enumerate(nodes):
        if node.op == "PRelu" and node.inputs[1] in tensors:
            rewritten[index], weights = _without_prelu(node, tensors[node.inputs[1]])
            made.update((weight.name, weight) for weight in weights)
            tensors.update((weight.name, weight) for weight in weights)
            node.inputs = [node.inputs[0], *(weight.name for weight in weights)]
    used = outputs.union(*(node.inputs for index, node in enumerate(nodes) if index not in gone))
    fed = used.difference(tensors)  # a weight, or the name of one that is no more, is no true input

    sizes = None
    if input_hw is not None:
        sizes = Resizing([value for value in of(GRAPH_INPUT) if _name(value) in fed], input_hw)

    folded, index = [], -1
    for number, _, value, raw in fields:
        if number == GRAPH_NODE:
            index += 1
            keep = index not in gone
            raw = rewritten.get(index, raw)
        elif number == GRAPH_INITIALIZER:
            keep = Tensor.read(value).name in used
        elif number == GRAPH_INPUT:
            keep = _name(value) in fed
            raw = _field(number, sizes.input(value)) if sizes and keep else raw
        elif number == GRAPH_OUTPUT:
            keep = True
            raw = _field(number, sizes.output(value)) if sizes else raw
        elif number == GRAPH_VALUE_INFO:
            keep = sizes is None and _name(value) not in made  # a shape for another size would be stale
        else:
            keep = True
        if keep:
            folded.append(raw)
    folded += (_field(GRAPH_INITIALIZER, tensor.write()) for name, tensor in made.items() if name in used)
    if output is not None:
        name, dims = output
        if not any(name in node.outputs for node in nodes):
            raise FoldError(f"there is no {name} in the graph")
        folded.append(_field(GRAPH_OUTPUT, _value(name, dims)))
    return b"".join(folded)


def _constant(node, tensors):
    """The tensor this node always produces, or None when it is not one of those folded here."""
    if node.op not in ("DequantizeLinear", "Reshape") or not all(name in tensors for name in node.inputs if name):
        return None
    inputs = [tensors[name] if name else None for name in node.inputs]
    if node.op == "DequantizeLinear":
        return _dequantize(node, *inputs)
    data, shape = inputs
    return Tensor(node.outputs[0], data.type, _reshaped(data.dims, shape.ints()), data.raw)


def _without_prelu(node, slopes):
    """The node as others that give the same: x where x > 0, else a * x, is (1 - a) * relu(x) + a * x.

    Returns the new nodes as fields of the graph, and the weights they use. Scaling each channel is a
    depthwise convolution of one pixel, which ONNX Runtime keeps in its blocked layout.
    """
    x, (y,) = node.inputs[0], node.outputs
    a = slopes.floats()
    dims = [len(a), 1, 1, 1]
    weights = [
        Tensor(f"{y}_above", FLOAT, dims, _little(array("f", [1.0 - slope for slope in a])).tobytes()),
        Tensor(f"{y}_all", FLOAT, dims, _little(array("f", a)).tobytes()),
    ]
    above, all_ = (weight.name for weight in weights)
    nodes = [
        _node("Relu", [x], f"{y}_relu"),
        _node("Conv", [f"{y}_relu", above], f"{y}_relu_scaled", group=len(a)),
        _node("Conv", [x, all_], f"{y}_scaled", group=len(a)),
        _node("Add", [f"{y}_scaled", f"{y}_relu_scaled"], y),
    ]
    return b"".join(nodes), weights


def _node(op, inputs, output, **integers):
    """A node as a field of the graph."""
    fields = [_field(NODE_INPUT, name.encode()) for name in inputs]
    fields += [_field(NODE_OUTPUT, output.encode()), _field(NODE_OP_TYPE, op.encode())]
    for name, value in integers.items():
        attribute = [_field(ATTRIBUTE_NAME, name.encode()), _number(ATTRIBUTE_INT, value)]
        attribute.append(_number(ATTRIBUTE_TYPE, ATTRIBUTE_TYPE_INT))
        fields.append(_field(NODE_ATTRIBUTE, b"".join(attribute)))
    return _field(GRAPH_NODE, b"".join(fields))


def _dequantize(node, data, scale, zero=None):
    """y = (x - zero) * scale in float32. The product of a double is exact here, so it is rounded once."""
    if data.type not in (INT8, UINT8):
        raise FoldError(f"{data.name}: only 8-bit weights can be folded")
    values = array("b" if data.type == INT8 else "B", data.raw)
    scales = scale.floats()
    zeros = array(values.typecode, zero.raw) if zero else array(values.typecode, bytes(len(scales)))
    axis, block = node.integers.get("axis", 1), node.integers.get("block_size", 0)
    out, start = array("f"), 0
    for length, index in _runs(data.dims, axis, block, len(scales)):
        s, z = scales[index], zeros[index]
        out.extend(array("f", [(x - z) * s for x in values[start : start + length]]))
        start += length
    return Tensor(node.outputs[0], FLOAT, data.dims, _little(out).tobytes())


def _runs(dims, axis, block, scales):
    """Pairs (length, index): the next `length` elements, in memory order, share the scale `index`."""
    if scales == 1:  # one for the whole tensor, whatever a block size says
        yield math.prod(dims), 0
        return
    axis %= len(dims)
    outer, middle, inner = math.prod(dims[:axis]), dims[axis], math.prod(dims[axis + 1 :])
    if not block:  # one for each slice along the axis
        if scales != middle:
            raise FoldError(f"{scales} scales do not fit an axis of {middle}")
        for _ in range(outer):
            for index in range(middle):
                yield inner, index
        return
    blocks = -(-middle // block)  # one for each block along the axis, and for each element beside it
    if scales != outer * blocks * inner:
        raise FoldError(f"{scales} scales do not fit blocks of {block} in {list(dims)}")
    for row in range(outer):
        if inner == 1:
            for index in range(blocks):
                yield min(block, middle - index * block), row * blocks + index
        else:
            for i in range(middle):
                for j in range(inner):
                    yield 1, (row * blocks + i // block) * inner + j


def _reshaped(dims, shape):
    """ONNX Reshape: 0 keeps a dimension, -1 takes what is left."""
    shape = [dims[at] if size == 0 else size for at, size in enumerate(shape)]
    total = math.prod(dims)
    if -1 in shape:
        shape[shape.index(-1)] = total // math.prod(size for size in shape if size != -1)
    if math.prod(shape) != total:
        raise FoldError(f"{list(dims)} does not fit the shape {shape}")
    return shape


class Resizing:
    """The shapes of the graph's input and outputs for another image size."""

    def __init__(self, inputs, input_hw):
        if len(inputs) != 1 or len(_shape(inputs[0])) != 4:
            raise FoldError("only a model with one image input can be given another size")
        self.new = input_hw
        self.old = _shape(inputs[0])[2:]

    def input(self, value):
        return _with_shape(value, [*_shape(value)[:2], *self.new])

    def output(self, value):
        batch, cells, *rest = _shape(value)
        scaled, left = divmod(cells * math.prod(self.new), math.prod(self.old))
        if left:
            raise FoldError(f"{_name(value)}: {self.new[0]}x{self.new[1]} does not divide into whole cells")
        return _with_shape(value, [batch, scaled, *rest])


class Node:
    def __init__(self, data):
        fields = list(_fields(data))
        self.inputs = [_text(value) for number, _, value, _ in fields if number == NODE_INPUT]
        self.outputs = [_text(value) for number, _, value, _ in fields if number == NODE_OUTPUT]
        self.op = next((_text(value) for number, _, value, _ in fields if number == NODE_OP_TYPE), "")
        self.integers = {}
        for attribute in (_message(value) for number, _, value, _ in fields if number == NODE_ATTRIBUTE):
            if ATTRIBUTE_GRAPH in attribute or ATTRIBUTE_GRAPHS in attribute:
                raise FoldError(f"a {self.op} node holds another graph, which this script does not follow")
            if ATTRIBUTE_INT in attribute:
                self.integers[_text(attribute[ATTRIBUTE_NAME])] = _signed(attribute[ATTRIBUTE_INT])


class Tensor:
    """An initializer; `raw` holds its elements, little-endian and in row-major order."""

    def __init__(self, name, type_, dims, raw):
        self.name, self.type, self.dims, self.raw = name, type_, dims, raw

    @classmethod
    def read(cls, data):
        fields = list(_fields(data))
        last = {number: value for number, _, value, _ in fields}
        raw = last.get(TENSOR_RAW)
        if raw is None:  # typed and packed, or one field for each element
            pieces = [value for number, _, value, _ in fields if number in (TENSOR_FLOATS, TENSOR_INT64S)]
            if TENSOR_FLOATS in last:
                raw = b"".join(pieces)
            else:
                raw = struct.pack(f"<{len(_ints(pieces))}q", *_ints(pieces))
        dims = _ints([value for number, _, value, _ in fields if number == TENSOR_DIMS])
        return cls(_text(last.get(TENSOR_NAME, b"")), last.get(TENSOR_TYPE), dims, bytes(raw))

    def write(self):
        dims = b"".join(_number(TENSOR_DIMS, size) for size in self.dims)
        name = _field(TENSOR_NAME, self.name.encode())
        return b"".join((dims, _number(TENSOR_TYPE, self.type), name, _field(TENSOR_RAW, self.raw)))

    def floats(self):
        if self.type != FLOAT:
            raise FoldError(f"{self.name}: only float32 scales can be folded")
        return _little(array("f", self.raw))

    def ints(self):
        if self.type != INT64:
            raise FoldError(f"{self.name}: a shape must be int64")
        return list(_little(array("q", self.raw)))


def _little(values):
    """The same numbers between this machine's byte order and the file's."""
    if sys.byteorder == "big":
        values.byteswap()
    return values


# Shapes of graph inputs and outputs: ValueInfo -> Type -> Tensor -> Shape -> Dim.


def _name(value):
    return _text(_message(value).get(VALUE_NAME, b""))


def _shape(value):
    shape = _message(_message(_message(value)[VALUE_TYPE])[TYPE_TENSOR]).get(TENSOR_SHAPE, b"")
    dims = [_message(dim).get(DIM_VALUE) for _, _, dim, _ in _fields(shape)]
    if None in dims:
        raise FoldError(f"{_name(value)}: its shape is not fixed, so it cannot be scaled")
    return dims


def _with_shape(value, dims):
    return _replaced(value, (VALUE_TYPE, TYPE_TENSOR, TENSOR_SHAPE), _dims(dims))


def _value(name, dims):
    """A description of a tensor of floats."""
    tensor = _number(TENSOR_ELEMENT, FLOAT) + _field(TENSOR_SHAPE, _dims(dims))
    return _field(VALUE_NAME, name.encode()) + _field(VALUE_TYPE, _field(TYPE_TENSOR, tensor))


def _dims(dims):
    return b"".join(_field(SHAPE_DIM, _number(DIM_VALUE, size)) for size in dims)


def _replaced(data, path, content):
    """The message with the field at the end of `path` replaced."""
    if not path:
        return content
    return b"".join(
        _field(number, _replaced(value, path[1:], content)) if number == path[0] else raw
        for number, _, value, raw in _fields(data)
    )


# The protobuf wire format.


def _fields(data):
    """Yields (number, wire type, value, the field's own bytes) for each field of a message."""
    data, at = memoryview(data), 0
    while at < len(data):
        start = at
        key, at = _varint(data, at)
        wire = key & 7
        if wire == VARINT:
            value, at = _varint(data, at)
        elif wire in (BYTES, FIXED32, FIXED64):
            length = {FIXED32: 4, FIXED64: 8}.get(wire)
            if length is None:
                length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise FoldError("not an ONNX file")
        if at > len(data):
            raise FoldError("the ONNX file is cut short")
        yield key >> 3, wire, value, data[start:at]


def _message(data):
    """A message's fields by number; of repeated ones, the last."""
    return {number: value for number, _, value, _ in _fields(data)}


def _varint(data, at):
    result = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
    raise FoldError("the ONNX file is cut short")


def _ints(values):
    """Repeated integers: single ones as they are, packed ones unpacked."""
    numbers = []
    for value in values:
        if isinstance(value, int):
            numbers.append(_signed(value))
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            numbers.append(_signed(number))
    return numbers


def _signed(number):
    return number - (1 << 64) if number >= 1 << 63 else number


def _encoded(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(number, value):
    return _encoded(number << 3 | VARINT) + _encoded(value)


def _field(number, value):
    return b"".join((_encoded(number << 3 | BYTES), _encoded(len(value)), value))


def _text(value):
    return bytes(value).decode()


def main():
    parser = argparse.ArgumentParser(description="Fold the weights of a block-quantised ONNX file back to float32.")
    parser.add_argument("source", metavar="IN.onnx")
    parser.add_argument("target", metavar="OUT.onnx")
    parser.add_argument("--input-hw", metavar="HxW", type=_size, help="also fix the input's height and width")
    parser.add_argument("--output", metavar="NAME:DIMS", type=_named, help="make an inner tensor an output, x:1x8x7x7")
    options = parser.parse_args()
    try:
        with open(options.source, "rb") as file:
            folded = fold(file.read(), options.input_hw, options.output)
        with open(options.target, "wb") as file:
            file.write(folded)
    except (OSError, FoldError) as error:
        sys.exit(f"onnx_fold: {error}.")


def _size(text):
    height, width = map(int, text.split("x"))
    return height, width


def _named(text):
    name, _, dims = text.rpartition(":")
    return name, [int(size) for size in dims.split("x")]


if __name__ == "__main__":
    main()
