"""The files that generate as a part of an output folder: of a slim model beside its class, or of any model by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxprune.deploy.generation.caches import NoCacheError, check_remembers
from fxprune.deploy.generation.writing import GenerationExport, export_generation
from fxprune.errors import DeployError
from fxprune.quiet import quiet
from fxprune.sources import load_model

if TYPE_CHECKING:
    from fxprune.deploy.hf import HfExport

PLACE = "onnx"  # inside the folder


def write_generation(hf: HfExport | None, folder: Path) -> tuple[GenerationExport | None, str | None]:
    """Write what a Hugging Face folder holds with a cache, into its `onnx` folder.

    Args:
        hf: what was written to `folder`; None if no config expresses the student.
        folder: of all results.
    Returns:
        What was written; or None, and why this model can have no such file.
    Raises:
        DeployError: there is no class that could keep the cache, or the export failed.
    """
    if hf is None:
        raise DeployError(
            "a cache is kept by the class of the model, and no config of it expresses the student",
            remedy="use onnx/model.onnx, which reads the whole text for each token",
        )
    try:
        return export_generation(load_model(str(folder)).model, folder / PLACE), None
    except NoCacheError as error:
        return None, str(error)


def export_folder(name: str, folder: Path) -> GenerationExport:
    """Write any model, by its name, so that `folder` generates: graphs, settings and tokenizer.

    Args:
        name: "demo", a Hugging Face folder, or a name on the hub.
        folder: made if missing.
    Raises:
        SourceError: there is no such model.
        UsageError: it does not generate with a cache.
        DeployError: it cannot be exported, or does not agree.
    """
    source = load_model(name)
    check_remembers(source.model, name)
    written = export_generation(source.model, folder / PLACE)
    if source.tokenizer is not None:
        with quiet():
            source.tokenizer.save_pretrained(folder)
    return written


def generation_facts(written: GenerationExport | None, reason: str | None = None) -> dict[str, Any]:
    """Return what was written, or why it was not, for JSON."""
    if written is None:
        return {"not_written": reason}
    return {
        "files": [file.name for file in written.files],
        "max_error": written.max_error,
        "layers": written.layers,
        "window": written.window,
        "rungs": {name: graph.rung for name, graph in written.graphs.items()},
    }
