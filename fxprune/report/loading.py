"""Code that loads this very model in three ways, and lets it write; it runs inside the folder of the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fxprune.deploy.generation import settings
from fxprune.report.cleaning import listed, mapping, text, whole
from fxprune.report.parts import Code
from fxprune.report.reading import GRAPH, ONNX, Results

_BATCH, _FREE = 2, 8  # of the inputs made up: rows, and any other free size
WITH_PAST, DECODER = (f"onnx/{name}" for name in (settings.WITH_PAST, settings.DECODER))
_TEXT = "A sentence to try it on."
_KINDS = {"bool", "float16", "float32", "float64", "int32", "int64", "uint8"}


def loading_code(results: Results) -> list[Code]:
    """Return a block for each form the model was written in; none for inputs that are nested."""
    inputs = [mapping(item) for item in listed(results.facts.get("inputs"))]
    if not inputs or not all(map(_sound, inputs)):
        return []
    maker = _Maker(inputs, _helper(results, inputs), whole(results.facts.get("longest")))
    return [*_transformers(results, maker), *_torch(results, maker), *_onnxruntime(results, maker), *_writing(results)]


def _transformers(results: Results, maker: _Maker) -> Iterator[Code]:
    name = results.part("hugging_face").get("model_class")
    if not _is_name(name) or results.facts.get("class_of", "transformers") != "transformers":
        return  # a class of other code cannot be imported by its name
    names = sorted({str(name), *([maker.helper] if maker.helper else [])})
    lines = [
        "import torch",
        f"from transformers import {', '.join(names)}",
        "",
        f'model = {name}.from_pretrained(".").eval()',
        *maker.lines("torch"),
        "with torch.no_grad():",
        "    outputs = model(**inputs)",
        _shown(results),
    ]
    yield Code(caption="With transformers", language="python", text="\n".join(lines))


def _torch(results: Results, maker: _Maker) -> Iterator[Code]:
    if GRAPH not in results.sizes:
        return
    lines = [
        "import torch",
        "",
        f'model = torch.export.load("{GRAPH}").module()',
        *replace(maker, helper=None).lines("torch", constants=True),
        "with torch.no_grad():",
        "    outputs = model(**inputs)",
        _shown(results),
    ]
    yield Code(caption="With PyTorch alone", language="python", text="\n".join(lines))


def _onnxruntime(results: Results, maker: _Maker) -> Iterator[Code]:
    if ONNX not in results.sizes:
        return
    made = maker.lines("np")
    lines = [
        *(["import numpy as np"] if any("np." in line for line in made) else []),
        "import onnxruntime",
        *([f"from transformers import {maker.helper}"] if maker.helper else []),
        "",
        f'session = onnxruntime.InferenceSession("{ONNX}", providers=["CPUExecutionProvider"])',
        *made,
        "inputs = {value.name: inputs[value.name] for value in session.get_inputs()}",
        "names = [value.name for value in session.get_outputs()]",
        "outputs = dict(zip(names, session.run(names, inputs)))",
        "print({name: value.shape for name, value in outputs.items()})",
    ]
    yield Code(caption="With ONNX Runtime", language="python", text="\n".join(lines))


def _writing(results: Results) -> Iterator[Code]:
    """Yield how a model that writes is asked to, if it keeps what it has read and has a tokenizer."""
    files = results.sizes
    if (WITH_PAST not in files and DECODER not in files) or "tokenizer_config.json" not in files:
        return
    lines = [
        "from fxprune.deploy.generation.generator import OnnxGenerator",
        "from transformers import AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained(".")',
        f'prompt = tokenizer("{_TEXT}")["input_ids"]',
        '(written,) = OnnxGenerator(".").generate([prompt], max_new_tokens=20)',
        "print(tokenizer.decode(written))",
    ]
    yield Code(caption="Writing, with a key-value cache in ONNX Runtime", language="python", text="\n".join(lines))


def _helper(results: Results, inputs: list[Mapping[str, Any]]) -> str | None:
    """Return the class that makes inputs of texts, if a tokenizer was saved; images come ready-made."""
    made = any(item["name"] == "input_ids" and item.get("preprocessed") for item in inputs)
    return "AutoTokenizer" if made and "tokenizer_config.json" in results.sizes else None


@dataclass(frozen=True, slots=True)
class _Maker:
    """Writes the lines that make the inputs: of a text as far as a tokenizer does, else of ones and noise."""

    inputs: list[Mapping[str, Any]]
    helper: str | None
    longest: int | None

    def lines(self, library: str, *, constants: bool = False) -> list[str]:
        """Return the lines for "torch" or "np"; `constants` keeps the arguments that are no tensors."""
        wanted = [item for item in self.inputs if constants or "value" not in item]
        rows = [f'    "{item["name"]}": {self._value(item, library)},' for item in wanted]
        return [*self._text(library), "inputs = {", *rows, "}"]

    def _text(self, library: str) -> list[str]:
        if not self.helper:
            return []
        tensors = {"torch": "pt", "np": "np"}[library]
        return [
            f'tokenizer = {self.helper}.from_pretrained(".")',
            f'text = tokenizer("{_TEXT}", return_tensors="{tensors}")',
        ]

    def _value(self, item: Mapping[str, Any], library: str) -> str:
        if "value" in item:
            return repr(item["value"])
        if self.helper and item.get("preprocessed"):
            return f'text["{item["name"]}"]'
        ids = next((other for other in self.inputs if other["name"] == "input_ids"), None)
        if self.helper and ids is not None and (ids["shape"], ids["dtype"]) == (item["shape"], item["dtype"]):
            return f'{library}.zeros_like(text["input_ids"])'
        return self._filled(item["shape"], item["dtype"], library)

    def _filled(self, shape: list[int | str], dtype: str, library: str) -> str:
        rows, free = 1 if self.helper else _BATCH, min(_FREE, self.longest or _FREE)
        sizes = [size if isinstance(size, int) else rows if size == "batch" else free for size in shape]
        inside = ", ".join(map(str, sizes))
        if dtype == "float32":
            return f"torch.rand({inside})" if library == "torch" else f'np.random.rand({inside}).astype("float32")'
        if library == "torch":
            return f"torch.ones({inside}, dtype=torch.{dtype})"
        return f'np.ones([{inside}], dtype="{dtype}")'


def _shown(results: Results) -> str:
    names = [text(name) for name in listed(results.facts.get("output_names"))]
    if not names or names == ["output"] or not _is_name(names[0]):
        return "print(outputs)"
    return f'print(outputs["{names[0]}"].shape)'


def _sound(item: Mapping[str, Any]) -> bool:
    """Tell whether what a file says of an input may stand in code."""
    if not _is_name(item.get("name")):
        return False
    if "nested" in item:
        return False
    if "value" in item:
        return item["value"] is None or isinstance(item["value"], bool | int | float)
    sizes = listed(item.get("shape"))
    return item.get("dtype") in _KINDS and all(isinstance(size, int) or _is_name(size) for size in sizes)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isidentifier()
