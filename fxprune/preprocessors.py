"""What makes inputs of data: the tokenizer of a text model, the processor of an image model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fxprune.errors import SourceError
from fxprune.hub import first_line, offline, quiet
from fxprune.sources import Source, find_tokenizer, load_tokenizer


def load_preprocessor(source: Source) -> Any:
    """Return what makes inputs of the data of `source`: its tokenizer, or of an image model its processor, if any.

    Raises:
        SourceError: a text model has no tokenizer, or the processor cannot be read.
    """
    if not takes_images(source):
        return load_tokenizer(source)
    folder = Path(source.location)
    if folder.is_dir() and not (folder / "preprocessor_config.json").is_file():
        return None
    from transformers import AutoImageProcessor

    try:
        with quiet():
            return AutoImageProcessor.from_pretrained(source.location, local_files_only=folder.is_dir() or offline())
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise SourceError(
            f"the image processor of model {source.name!r} cannot be read",
            cause=first_line(error),
            remedy="save it again, or leave preprocessor_config.json out",
        ) from error


def takes_images(source: Source) -> bool:
    """Tell image models from others."""
    return getattr(source.model, "main_input_name", None) == "pixel_values"


def folder_tokenizer(folder: Path) -> Any:
    """Return the tokenizer that lies in `folder`, whatever else does.

    Raises:
        SourceError: there is none, or it cannot be read.
    """
    found = find_tokenizer(str(folder), str(folder), local=True)
    if found is None:
        raise SourceError(f"folder '{folder}' has no tokenizer", remedy="put the tokenizer of the model into it")
    return found
