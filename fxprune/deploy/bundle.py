"""What a slim model is saved as: plan, graph, certificate, and a Hugging Face model where a config can express it."""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from fxprune.atomic import atomic_write, move_files
from fxprune.deploy.manifest import read_manifest, remove_old, write_manifest
from fxprune.deploy.structure import restore_outputs, with_plain_outputs
from fxprune.errors import FxpruneError, SourceError
from fxprune.exported import capture_program, examples_of
from fxprune.origin import Origin
from fxprune.plan import Plan
from fxprune.traced import Traced

if TYPE_CHECKING:
    from fxprune.deploy.hf import HfExport
    from fxprune.deploy.program import Exported

PLAN, GRAPH, CERTIFICATE = "plan.json", "student.pt2", "certificate.json"


def save_bundle(slim: Traced, folder: Path) -> Path:
    """Write plan, certificate (if there is one), graph and Hugging Face model; other files in `folder` stay.

    Whether a config of the model's class expresses the slim widths, and if not why, stands in ``fxprune.json``.

    Args:
        slim: from `prune`, `distill` or `capture`.
        folder: made if missing.
    Raises:
        DeployError: the graph cannot be stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".save-") as temporary:
        stage = Path(temporary)
        facts: dict[str, Any] = {}
        files = [*write_plan(slim, stage), *write_graph(plain_program(slim, facts), stage)]
        try:
            export = write_hf(slim, stage)
            facts["hugging_face"] = hf_facts(export)
            files += export.files if export else ()
        except FxpruneError as error:
            facts["failures"] = {"hugging_face": str(error)}
        remove_old(folder, keep=[folder / file.relative_to(stage) for file in files])
        write_manifest(stage, files, facts)
        move_files(stage, folder)
    return folder


def load_bundle(folder: Path) -> Traced:
    """Load what `save_bundle` wrote, without the model's source code.

    Returns:
        A graph that is called like the saved one; it returns the classes of the Hugging Face library if that is
        installed, else dictionaries.
    Raises:
        SourceError: the folder holds no such model, or a damaged one.
    """
    from fxprune.deploy.pt2 import load_program

    if not (folder / GRAPH).is_file():
        raise SourceError(
            f"folder '{folder}' holds no model that fxprune saved",
            cause=f"there is no {GRAPH}" if folder.is_dir() else "there is no such folder",
            remedy="give the folder of `slim.save(folder)`, or the --output of a run",
        )
    program = load_program(folder / GRAPH)
    traced = capture_program(program)
    restore_outputs(traced, read_manifest(folder).get("outputs"))
    if (folder / PLAN).is_file():
        traced.meta["plan"] = Plan.load(folder / PLAN)
    traced.meta["origin"] = Origin(model_class=Traced, config=None, example_kwargs=examples_of(program))
    return traced


def write_plan(slim: Traced, folder: Path) -> list[Path]:
    """Write the plan and the certificate, as far as the model has them."""
    files = []
    for fact, name in (("plan", PLAN), ("certificate", CERTIFICATE)):
        if fact in slim.meta:
            atomic_write(folder / name, slim.meta[fact].to_json())
            files.append(folder / name)
    return files


def plain_program(slim: Traced, facts: dict[str, Any]) -> Exported:
    """Export the graph; `facts` learns which class its outputs were of, and what was repaired.

    Raises:
        DeployError: it cannot be exported.
    """
    from fxprune.deploy.program import export_program

    bare, structure = with_plain_outputs(slim)
    facts["outputs"] = structure
    if "repairs" in slim.meta:
        facts["repairs"] = slim.meta["repairs"].to_data()
    return export_program(bare, origin_of(slim).example_kwargs)


def write_graph(exported: Exported, folder: Path) -> list[Path]:
    """Write the graph as .pt2.

    Raises:
        DeployError: it cannot be stored.
    """
    from fxprune.deploy.pt2 import store_program

    return [store_program(exported.program, folder / GRAPH)]


def write_hf(slim: Traced, folder: Path, *, tokenizer: Any = None) -> HfExport | None:
    """Write the ordinary Hugging Face model; None if the model came from no class of that library.

    Raises:
        DeployError: no config of the class expresses the slim model.
    """
    origin = origin_of(slim)
    if not _is_pretrained(origin.model_class) or origin.config is None:
        return None
    from fxprune.deploy.class_graph import fit
    from fxprune.deploy.hf import save_hf

    return save_hf(
        origin.model_class,  # type: ignore[arg-type]
        origin.config,
        slim.state_dict(),
        folder,
        reference=lambda kwargs: slim(**kwargs),
        example_kwargs=origin.example_kwargs,
        hints=_hints(slim),
        fit=lambda model: fit(slim, model, origin.example_kwargs),
        tokenizer=tokenizer,
        classes=slim.meta.get("size_classes"),
        dims=dict(slim.provenance.dynamic) or None,
        generation=origin.generation,
    )


def hf_facts(export: HfExport | None) -> dict[str, Any] | None:
    """Return what an export tells its readers, for JSON."""
    if export is None:
        return None
    return {
        "model_class": export.model_class,
        "changed": {name: list(sizes) for name, sizes in export.changed.items()},
        "max_error": export.max_error,
        "folded": list(export.folded),
        "fresh": list(export.fresh),
        "proved": export.proved,
    }


def origin_of(slim: Traced) -> Origin:
    """Return where a captured model came from."""
    found: Origin = slim.meta["origin"]
    return found


def _is_pretrained(model_class: type[nn.Module]) -> bool:
    transformers = sys.modules.get("transformers")
    return transformers is not None and issubclass(model_class, transformers.PreTrainedModel)


def _hints(slim: Traced) -> Mapping[int, set[int]]:
    """Return dense size -> slim sizes, for every group that was cut."""
    hints: dict[int, set[int]] = defaultdict(set)
    for entry in slim.meta["plan"].groups.values() if "plan" in slim.meta else ():
        if entry.count < entry.size:
            hints[entry.size].add(entry.count)
    return hints
