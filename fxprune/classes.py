"""Which transformers class loads a model, asked from the library's own tables."""

from __future__ import annotations

from typing import Any

from fxprune.errors import SourceError
from fxprune.trust import trust

TASKS = {
    "masked-lm": "AutoModelForMaskedLM",
    "causal-lm": "AutoModelForCausalLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "image-classification": "AutoModelForImageClassification",
    "features": "AutoModel",
}

# a class may stand in several lists: a sequence-to-sequence model also in those of masked LM and of pre-training
_LAST = ("AutoModel", "AutoModelForTextEncoding", "AutoModelForPreTraining")


def class_of(name: str, location: str, config: Any) -> Any:
    """Return the class of a model, also one whose code lies beside its weights, where that is trusted."""
    wanted = (config.architectures or [None])[0]
    own = getattr(config, "auto_map", None) or {}
    reference = next((path for path in own.values() if str(path).rpartition(".")[2] == wanted), None)
    if reference is None or not trust().code:
        return own_class(name, config)
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    return get_class_from_dynamic_module(reference, location)


def own_class(name: str, config: Any) -> Any:
    """Return the class `config.architectures` names; without one that of masked LM, else the model without a head."""
    import transformers

    if not config.architectures:
        return _mapped(config, "AutoModelForMaskedLM") or task_class(name, config, "AutoModel")
    wanted = config.architectures[0]
    found = getattr(transformers, wanted, None)
    if found is None:
        raise SourceError(
            f"model {name!r} is a {wanted}, which transformers {transformers.__version__} does not have",
            remedy="give a model of a class that transformers itself holds, or choose a task",
        )
    return found


def task_class(name: str, config: Any, auto: str) -> Any:
    found = _mapped(config, auto)
    if found is None:
        raise SourceError(
            f"a model of type {config.model_type!r} cannot be loaded as {auto}",
            cause=f"asked for model {name!r}",
            remedy="leave the task out to load the model's own class",
        )
    return found


def _mapped(config: Any, auto: str) -> Any | None:
    """Return the class that the auto class called `auto` picks for `config`, if any."""
    import transformers

    mapping = getattr(transformers, auto)._model_mapping
    if type(config) not in mapping:
        return None
    found = mapping[type(config)]
    return found[0] if isinstance(found, tuple) else found


def auto_class(model_class: type, config: Any) -> str:
    """Return the auto class that loads `model_class`, or its own name where none does."""
    import transformers

    ranked = [*(["AutoModelForSeq2SeqLM"] if config.is_encoder_decoder else []), *TASKS.values()]
    others = sorted(key for key in dir(transformers) if key.startswith("AutoModelFor"))
    order = [auto for auto in dict.fromkeys([*ranked, *others]) if auto not in _LAST]
    return next((auto for auto in (*order, *_LAST) if _mapped(config, auto) is model_class), model_class.__name__)


def attention_of(model_class: Any) -> str:
    """Return which kind of attention to load a class with: fused, where it has it."""
    return "sdpa" if getattr(model_class, "_supports_sdpa", False) else "eager"
