"""Where a model comes from: `demo`, a Hugging Face folder or a hub name becomes a model, its config and tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxprune.classes import TASKS, attention_of, auto_class, class_of, task_class
from fxprune.errors import SourceError, UsageError, unknown_name
from fxprune.examples import example_inputs
from fxprune.hub import chain, first_line, is_hub_name, offline, offline_remedy, quiet
from fxprune.trust import trust

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = ["DEMO", "TASKS", "Source", "example_inputs", "load_model", "load_shell", "load_tokenizer"]

DEMO = "demo"

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A loaded model and what belongs to it."""

    name: str  # as the user gave it
    location: str  # folder, or name on the hub
    model: nn.Module  # float32, evaluation mode
    config: Any
    tokenizer: Any | None  # None: the source has none (an image model, or a folder without it)
    auto_class: str  # "AutoModelForMaskedLM": the class that loads the model without further knowledge


def load_model(name: str, *, task: str | None = None) -> Source:
    """Load a model with its own weights: float32, evaluation mode, no KV cache, fused attention where it has it.

    The class is the one `config.architectures` names, so a sentence encoder comes without a head.

    Args:
        name: "demo", a Hugging Face folder, or a name on the hub.
        task: one of `TASKS`, where the model's own class is not wanted.
    Raises:
        SourceError: there is no such model, it cannot be reached, or it lacks config or (safetensors) weights.
        UsageError: the task is unknown.
    """
    if task is not None and task not in TASKS:
        raise UsageError(unknown_name("task", task, TASKS))
    location = _locate(name)
    local = Path(location).is_dir() or offline()
    config = _config(name, location, local)
    with quiet():
        model_class = task_class(name, config, TASKS[task]) if task else class_of(name, location, config)
    _switch_off_cache(config)
    return _source(name, location, local, _weights(name, location, local, config, model_class))


def load_shell(name: str, *, weights: bool = True) -> Source:
    """Return what `load_model` returns, on the meta device: made from the config alone, in no memory.

    Args:
        name: as for `load_model`.
        weights: whether a folder must hold them, though they are not read.
    Raises:
        SourceError: there is no such model.
    """
    import torch

    location = _locate(name, weights)
    local = Path(location).is_dir() or offline()
    config = _config(name, location, local)
    model_class = class_of(name, location, config)
    _switch_off_cache(config)
    with quiet(), torch.device("meta"):
        model = model_class._from_config(config, dtype=torch.float32, attn_implementation=attention_of(model_class))
    return _source(name, location, local, model)


def _source(name: str, location: str, local: bool, model: Any) -> Source:
    return Source(
        name=name,
        location=location,
        model=model.eval(),
        config=model.config,
        tokenizer=find_tokenizer(name, location, local),
        auto_class=auto_class(type(model), model.config),
    )


def load_tokenizer(source: Source) -> Any:
    """Return the tokenizer of `source`.

    Raises:
        SourceError: it has none.
    """
    if source.tokenizer is None:
        raise SourceError(
            f"model {source.name!r} has no tokenizer",
            remedy="put the tokenizer's files (tokenizer.json, tokenizer_config.json) beside its config.json",
        )
    return source.tokenizer


def _locate(name: str, weights: bool = True) -> str:
    """Return the folder or hub name that `name` stands for, checked as far as that needs no network."""
    folder = Path(__file__).parent / "demo" / "teacher" if name == DEMO else Path(name).expanduser()
    if folder.is_dir():
        _check_folder(folder, weights)
        return str(folder)
    if folder.exists():
        raise SourceError(f"model {name!r} is a file", remedy="give the folder that holds config.json and the weights")
    if not is_hub_name(name):
        raise SourceError(
            f"there is no model folder {name!r}", remedy="give a Hugging Face folder, a hub name or 'demo'"
        )
    return name


def _check_folder(folder: Path, weights: bool) -> None:
    files = [file.name for file in folder.iterdir()]
    if "config.json" not in files:
        raise SourceError(
            f"folder '{folder}' has no config.json", remedy="give the folder that `save_pretrained` wrote"
        )
    if not weights or any(file.endswith(".safetensors") for file in files):
        return
    pickles = sorted(file for file in files if file.endswith(_PICKLES))
    if trust().pickles and any(file.endswith(".bin") for file in pickles):
        return
    if pickles:
        raise SourceError(
            f"the weights in '{folder}' are pickled ({pickles[0]}), and loading a pickle runs whatever code it holds",
            remedy="convert them where you trust them: load the model and `save_pretrained` it (model.safetensors); "
            "--allow-pickle reads the tensors of a pytorch_model.bin, and nothing else",
        )
    raise SourceError(f"folder '{folder}' has no weights", remedy="put model.safetensors beside config.json")


def _config(name: str, location: str, local: bool) -> Any:
    from transformers import AutoConfig

    try:
        with quiet():
            return AutoConfig.from_pretrained(location, local_files_only=local, trust_remote_code=trust().code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _explained(name, location, local, "config", error) from error


def _weights(name: str, location: str, local: bool, config: Any, model_class: Any) -> nn.Module:
    from pickle import UnpicklingError

    import torch
    from safetensors import SafetensorError

    try:
        with quiet():
            model, report = model_class.from_pretrained(
                location,
                config=config,
                dtype=torch.float32,
                attn_implementation=attention_of(model_class),
                use_safetensors=None if trust().pickles else True,
                weights_only=True,
                local_files_only=local,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, UnpicklingError) as error:
        raise _explained(name, location, local, "weights", error) from error
    if missing := sorted(report["missing_keys"]):
        raise SourceError(
            f"the weights of model {name!r} lack {len(missing)} tensors of {model_class.__name__}",
            cause=f"{missing[0]} is not among them and would be random",
            remedy="choose the task the weights were trained for; 'features' is the model without a head",
        )
    return model


def find_tokenizer(name: str, location: str, local: bool) -> Any | None:
    """Return the tokenizer at a folder or hub name; None if it has none."""
    from transformers import AutoTokenizer

    folder = Path(location)
    if folder.is_dir() and not any((folder / file).is_file() for file in _TOKENIZER_FILES):
        return None
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(location, local_files_only=local, trust_remote_code=trust().code)
    except Exception as error:  # tokenizers raises plain Exception for a file it cannot read
        if folder.is_dir():
            raise SourceError(
                f"the tokenizer of model {name!r} cannot be read", cause=first_line(error), remedy="save it again"
            ) from error
        return None  # a hub model without one: image models have none


def _explained(name: str, location: str, local: bool, part: str, error: Exception) -> SourceError:
    """Say in one sentence why the `part` of a model could not be loaded."""
    if "trust_remote_code" in str(error):
        return SourceError(
            f"model {name!r} brings Python code of its own, and nothing of it was run",
            remedy="read that code; if you trust it, pass --trust-remote-code",
        )
    if Path(location).is_dir():
        remedy = "give a folder written by `save_pretrained`, whole and unchanged"
        return SourceError(f"the {part} of model {name!r} cannot be read", cause=first_line(error), remedy=remedy)
    if local:
        message = f"model {name!r} is neither a folder nor in the local cache, and there is no network"
        return SourceError(message, remedy=offline_remedy())
    kinds = {type(step).__name__ for step in chain(error)}
    if "GatedRepoError" in kinds:
        return SourceError(f"model {name!r} is gated", remedy="accept its terms on the hub, then `hf auth login`")
    if "RepositoryNotFoundError" in kinds or "is not a valid model identifier" in str(error):
        return SourceError(
            f"there is no model {name!r} on the hub, and no such folder",
            remedy="check the spelling; a private model needs `hf auth login`",
        )
    return SourceError(
        f"the {part} of model {name!r} cannot be loaded from the hub",
        cause=first_line(error),
        remedy="try again, or give a model with a config.json and safetensors weights",
    )


def _switch_off_cache(config: Any) -> None:
    for part in _nested(config):
        if hasattr(part, "use_cache"):
            part.use_cache = False


def _nested(config: Any) -> Iterator[Any]:
    """Yield `config` and every config inside it: an encoder-decoder keeps one for each side."""
    yield config
    for value in vars(config).values():
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            yield from _nested(value)
