"""ONNX files of any widths without exporting each: two files of other widths tell which numbers in them are sizes.

Both are walked side by side. Where an integer differs, it is the size of an axis, or a part, a multiple or a sum of
such sizes: the axis types know the size of every axis at both widths. What is written then is the same graph with other
integers and weights of other shapes. Their values are arbitrary, which a latency does not depend on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxprune.errors import DeployError
from fxprune.latency.holes import Hole, HoleFinder
from fxprune.latency.space import Space

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_DROPPED = {"doc_string", "metadata_props", "quantization_annotation", "producer_version"}
_INTEGERS = 64  # numbers a tensor of sizes has at most
Place = tuple[str | int, ...]  # fields and indices, from the model down


@dataclass(frozen=True, slots=True)
class Template:
    """An ONNX file with holes.

    Attributes:
        bare: without the weights whose shape follows the widths.
        integers: where a number follows the widths.
        tensors: the shapes of weights that do, and whether the numbers in it do too.
        space: of the widths.
    """

    bare: ModelProto
    integers: Mapping[Place, Hole]
    shapes: Mapping[Place, tuple[Hole, ...]]
    values: Mapping[Place, tuple[Hole, ...]]
    space: Space

    @classmethod
    def of(cls, files: Sequence[ModelProto], widths: Sequence[tuple[int, ...]], space: Space) -> Template:
        """Compare two files of one model at different widths.

        Raises:
            DeployError: they differ in more than sizes, or in one that is the size of no axis.
        """
        first, second = map(_unshared, files)
        _keep_common_shapes(first, second)
        finder = HoleFinder(space, *widths)
        integers: dict[Place, Hole] = {}
        shapes: dict[Place, tuple[Hole, ...]] = {}
        values: dict[Place, tuple[Hole, ...]] = {}
        for place, a, b in _pairs(first, second, ()):
            if isinstance(a, int):
                integers[place] = finder(a, b)
            elif list(a.dims) != list(b.dims) or _is_bare(a):
                shapes[place] = tuple(finder(n, m) for n, m in zip(a.dims, b.dims, strict=True))
            elif (numbers := _numbers(a)) is not None and (others := _numbers(b)) != numbers:
                values[place] = tuple(finder(n, m) for n, m in zip(numbers, others or (), strict=True))
        bare = type(first)()
        bare.CopyFrom(first)
        for place in shapes:
            _at(bare, place).ClearField("raw_data")
        return cls(bare, integers, shapes, values, space)

    def write(self, widths: Sequence[int], path: Path) -> None:
        """Write the file of other widths.

        Raises:
            DeployError: a size would be no whole number, or the file too large for its format.
        """
        import onnx

        counts = self.space.counts(widths)
        model = onnx.ModelProto()
        model.CopyFrom(self.bare)
        for place, hole in self.integers.items():
            _put(model, place, hole(counts))
        for place, holes in self.values.items():
            tensor = _at(model, place)
            tensor.raw_data = np.array([hole(counts) for hole in holes], dtype=_dtype(tensor)).tobytes()
        for place, holes in self.shapes.items():
            _fill(_at(model, place), [hole(counts) for hole in holes])
        try:
            onnx.save(model, str(path))
        except Exception as err:  # protobuf's errors have no base of their own
            raise DeployError("the ONNX file cannot be written", cause=str(err).splitlines()[0][:200]) from err


def _unshared(file: ModelProto) -> ModelProto:
    """Give every use of a vector one of its own, in the order of the nodes.

    The exporter keeps one constant for equal numbers, and which ones are equal changes with the widths.
    """
    own = type(file)()
    own.CopyFrom(file)
    weights = {tensor.name: tensor for tensor in file.graph.initializer}
    kept: dict[str, TensorProto] = {}
    for node in own.graph.node:
        for i, name in enumerate(node.input):
            tensor = weights.get(name)
            if tensor is not None and len(tensor.dims) < 2:
                node.input[i] = f"{name}#{len(kept)}"
            if tensor is not None:
                kept.setdefault(node.input[i], tensor)
    del own.graph.initializer[:]
    for name, tensor in kept.items():
        own.graph.initializer.add().CopyFrom(tensor)
        own.graph.initializer[-1].name = name
    return own


def _keep_common_shapes(first: ModelProto, second: ModelProto) -> None:
    """Keep the shapes of values that both files know: ONNX Runtime fuses operators only where it knows shapes."""
    known = [{value.name: value for value in file.graph.value_info} for file in (first, second)]
    common = [name for name, value in known[0].items() if _rank(value) == _rank(known[1].get(name))]
    for file, values in zip((first, second), known, strict=True):
        copies = [values[name].SerializeToString() for name in common]
        del file.graph.value_info[:]
        for text in copies:
            file.graph.value_info.add().ParseFromString(text)


def _rank(value: Any) -> int | None:
    return None if value is None else len(value.type.tensor_type.shape.dim)


def _pairs(a: Any, b: Any, place: Place) -> Iterator[tuple[Place, Any, Any]]:
    """Yield the integers that differ, and all tensors."""
    if a.DESCRIPTOR.name == "TensorProto":
        if len(a.dims) != len(b.dims) or a.data_type != b.data_type:
            raise DeployError("the graph changes with the widths", cause=f"tensor {a.name}")
        yield place, a, b
        return
    for field in a.DESCRIPTOR.fields:
        if field.name in _DROPPED or field.type in (field.TYPE_STRING, field.TYPE_BYTES, field.TYPE_FLOAT):
            continue
        mine, others = _items(a, field), _items(b, field)
        if len(mine) != len(others):
            raise DeployError("the graph changes with the widths", cause=f"{len(mine)} and {len(others)} {field.name}")
        for i, (x, y) in enumerate(zip(mine, others, strict=True)):
            here = (*place, field.name, i) if field.is_repeated else (*place, field.name)
            if field.type == field.TYPE_MESSAGE:
                if field.name == "node" and x.op_type != y.op_type:
                    raise DeployError("the graph changes with the widths", cause=f"{x.op_type} or {y.op_type}")
                yield from _pairs(x, y, here)
            elif x != y:
                yield here, int(x), int(y)


def _items(message: Any, field: Any) -> list[Any]:
    if field.is_repeated:
        return list(getattr(message, field.name))
    return [getattr(message, field.name)] if not field.has_presence or message.HasField(field.name) else []


def _at(model: Any, place: Place) -> Any:
    for step in place:
        model = model[step] if isinstance(step, int) else getattr(model, step)
    return model


def _put(model: Any, place: Place, value: int) -> None:
    *above, last = place
    owner = _at(model, tuple(above))
    if isinstance(last, int):
        owner[last] = value
    else:
        setattr(owner, last, value)


def _dtype(tensor: TensorProto) -> np.dtype[Any]:
    import onnx

    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))


def _is_bare(tensor: TensorProto) -> bool:
    """Tell whether the weights of a tensor were left out when the file was kept."""
    held = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
    return bool(np.prod(tensor.dims)) and not any(getattr(tensor, name) for name in held)


def _numbers(tensor: TensorProto) -> list[int] | None:
    """Return the numbers of a small tensor of integers."""
    import onnx

    if tensor.data_type not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32):
        return None
    found = onnx.numpy_helper.to_array(tensor)
    return [int(n) for n in found.ravel()] if found.size <= _INTEGERS else None


_NORMAL = np.random.default_rng(0).standard_normal(4099) * 0.02
_BYTES = np.random.default_rng(0).integers(-2, 3, 4099)  # times a scale as small as that: a weight as small


def _fill(tensor: TensorProto, shape: list[int]) -> None:
    """Give a tensor another shape; weights are small and different, other integers, and zero points, are zero."""
    dtype = _dtype(tensor)
    numbers = np.zeros(shape)
    if dtype.kind == "f":
        numbers = np.resize(_NORMAL, shape)
    elif dtype == np.int8 and len(shape) > 1:
        numbers = np.resize(_BYTES, shape)
    for name in ("dims", "float_data", "int64_data", "int32_data"):
        tensor.ClearField(name)
    tensor.dims.extend(shape)
    tensor.raw_data = numbers.astype(dtype).tobytes()
