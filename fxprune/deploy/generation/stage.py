"""The files that generate as a part of an output folder: of a slim model beside its class, or of any model by name."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxprune.atomic import atomic_write
from fxprune.deploy.generation.caches import NoCacheError, check_remembers
from fxprune.deploy.generation.quantising import quantise
from fxprune.deploy.generation.settings import DECODER, ENCODER, SETTINGS, WITH_PAST, int8_name
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


def export_folder(name: str, folder: Path, *, int8: bool = False, tables: bool = True) -> GenerationExport:
    """Write any model, by its name, so that `folder` generates: graphs, settings and tokenizer.

    Args:
        name: "demo", a Hugging Face folder, or a name on the hub.
        folder: made if missing.
        int8: write the graphs in int8 and not in float32; those of the other precision are removed.
        tables: whether tables of embeddings become int8 too.
    Raises:
        SourceError: there is no such model.
        UsageError: it does not generate with a cache.
        DeployError: it cannot be exported, or does not agree.
    """
    source = load_model(name)
    check_remembers(source.model, name)
    place = folder / PLACE
    written = _only_int8(source.model, place, tables) if int8 else export_generation(source.model, place)
    for graph in (WITH_PAST, ENCODER, DECODER):
        stale = place / (graph if int8 else int8_name(graph))
        for file in (stale, stale.with_name(f"{stale.name}.data")):
            file.unlink(missing_ok=True)
    if source.tokenizer is not None:
        with quiet():
            source.tokenizer.save_pretrained(folder)
    return written


def _only_int8(model: Any, folder: Path, tables: bool) -> GenerationExport:
    """Prove the float32 graphs in a folder for the time being, and keep their int8 versions."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".float32-") as temporary:
        dense = export_generation(model, Path(temporary))
        written = quantise(dense, folder, tables=tables)
        settings = folder / SETTINGS
        atomic_write(settings, (Path(temporary) / SETTINGS).read_bytes())
    return replace(written, files=(settings, *(file for export in written.int8.values() for file in export.files)))


def generation_facts(written: GenerationExport | None, reason: str | None = None) -> dict[str, Any]:
    """Return what was written, or why it was not, for JSON."""
    if written is None:
        return {"not_written": reason}
    facts = {
        "files": [file.name for file in written.files],
        "max_error": written.max_error,
        "layers": written.layers,
        "window": written.window,
        "rungs": {name: graph.rung for name, graph in written.graphs.items()},
    }
    if written.int8_agreement is not None:
        facts["int8"] = {name: export.to_data() for name, export in written.int8.items()}
        facts["int8_agreement"] = asdict(written.int8_agreement)
    return facts
