"""Tasks a tiny model learns in seconds, as folders of parquet, and folders of such models."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import torch

FILL = [f"w{i}" for i in range(20)]  # words that mean nothing
MARKS = ["bad", "fair", "good"]  # words that give the label away
NAMES = ["Ann", "Bob", "Cid", "Dan"]  # the only words that answer a question
CONFIG = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
QUICK = {"seeds": 1, "learning_rate": 2e-3, "batch_size": 16, "max_steps": 100}  # enough for all of them


@cache
def tokenizer() -> Any:
    """Return a tokenizer of all the words, with class and separator tokens around sentences and pairs."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = [*special, ".", "who", *FILL, *MARKS, *NAMES]
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, **{f"{name[1:-1].lower()}_token": name for name in special}, model_max_length=64
    )


def write_model(folder: Path, model_class: str = "BertModel", **fields: Any) -> Path:
    """Write a tiny random model with its tokenizer."""
    import transformers

    cls = getattr(transformers, model_class)
    torch.manual_seed(0)
    cls(cls.config_class(**(CONFIG | fields))).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write_split(folder: Path, split: str, rows: list[dict[str, Any]]) -> None:
    """Write one parquet file."""
    folder.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")


def write_task(folder: Path, task: str, *, train: int = 160, held_out: int = 60) -> Path:
    """Write a task that can be learned; return the folder its files are in."""
    from fxprune.evaluation.tasks import TASKS

    splits = {"train": train} | dict.fromkeys(TASKS[task].held_out, held_out)
    for seed, (split, count) in enumerate(splits.items()):
        draw = random.Random(seed)
        make = question_row if TASKS[task].kind == "question-answering" else sentence_row
        write_split(folder, split, [make(draw, task, i) for i in range(count)])
    return folder


def filler(draw: random.Random, least: int = 2, most: int = 8) -> list[str]:
    """Return some words that mean nothing."""
    return [draw.choice(FILL) for _ in range(draw.randint(least, most))]


def sentence_row(draw: random.Random, task: str, i: int) -> dict[str, Any]:
    """One word of the last text tells the label."""
    from fxprune.evaluation.tasks import TASKS

    found = TASKS[task]
    place = i % 3 if found.classes != 2 else 2 * (i % 2)
    texts = [filler(draw) for _ in found.texts]
    texts[-1].insert(draw.randint(0, len(texts[-1])), MARKS[place])
    label = 2.5 * place if found.classes == 1 else i % found.classes
    return {name: " ".join(words) for name, words in zip(found.texts, texts, strict=True)} | {"label": label}


def question_row(draw: random.Random, task: str, i: int) -> dict[str, Any]:
    """The answer is the one name in the context; in squad_v2 half of them have none."""
    words, name = filler(draw, 4, 12), draw.choice(NAMES)
    answered = task == "squad" or i % 2 == 0
    place = draw.randint(0, len(words))
    context = " ".join([*words[:place], *([name] if answered else []), *words[place:]])
    answers = {"text": [name], "answer_start": [context.index(name)]} if answered else {"text": [], "answer_start": []}
    return {"id": str(i), "title": "t", "question": "who ?", "context": context, "answers": answers}
