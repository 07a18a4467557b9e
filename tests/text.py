"""A tiny language with its tokenizer and a data set file, for tests of distillation."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

_WHO = ["the cat", "a dog", "the old king", "my friend", "nobody", "the graph", "a small student", "her teacher"]
_DOES = ["sees", "likes", "cuts", "follows", "reads about", "forgets", "draws", "waits for"]
_WHERE = ["in the garden", "at night", "near the river", "without a plan", "on the train", "every day", "here"]


def sentences(n: int, seed: int = 0) -> list[str]:
    """Return `n` rows of three short sentences."""
    draw = random.Random(seed)
    parts = (_WHO, _DOES, _WHO, _WHERE)
    return [" ".join(" ".join(map(draw.choice, parts)) + "." for _ in range(3)) for _ in range(n)]


def write_jsonl(folder: Path, n: int = 300) -> str:
    """Write a data set file with a column "text"; return its path."""
    path = folder / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": row}) for row in sentences(n)), encoding="utf-8")
    return str(path)


@cache
def tokenizer(*, mask: bool = True) -> Any:
    """Return a WordPiece tokenizer of all words of the language, with or without a mask token."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(["[MASK]"] if mask else [])]
    words = sorted({word for part in (*_WHO, *_DOES, *_WHERE) for word in part.split()})
    vocabulary = {word: i for i, word in enumerate([*special, ".", *words])}
    own = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    own.normalizer, own.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    own.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", special.index("[CLS]")), ("[SEP]", special.index("[SEP]"))]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=own, **names, **({"mask_token": "[MASK]"} if mask else {}))
