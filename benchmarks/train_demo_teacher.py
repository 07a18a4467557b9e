"""Train the demo teacher from scratch: a small BERT with its own WordPiece vocabulary, on the demo corpus.

    python benchmarks/train_demo_teacher.py --minutes 45 --threads 1

The result is an ordinary Hugging Face folder (fp16 weights). The schedule follows the clock, so a slower machine makes
fewer steps and a worse model in the same time; `--steps` makes a run that depends on nothing but the seed.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # --threads is the promise

import click
import torch
import transformers
from datasets import Dataset
from demo_teacher import LENGTH, Recipe, build, train_tokenizer
from torch import Tensor, nn
from transformers import BertForMaskedLM, BertTokenizerFast

from fxprune.atomic import atomic_write
from fxprune.demo.corpus import demo_texts
from fxprune.distillation.data import fixed_batches, mask_tokens, packed_batches

EVAL_BATCHES, FINAL_BATCHES = 12, 48


def masked_loss(model: BertForMaskedLM, ids: Tensor, labels: Tensor) -> Tensor:
    """Return the mean masked-LM loss (nats); the vocabulary head runs on the masked positions alone."""
    with torch.autocast("cpu", torch.bfloat16, enabled=model.training):
        hidden = model.bert(ids)[0][labels >= 0]
        logits = model.cls(hidden)
    return nn.functional.cross_entropy(logits.float(), labels[labels >= 0])


@torch.no_grad()
def evaluate(model: BertForMaskedLM, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Return the held-out loss (nats per masked token), in float32."""
    model.eval()
    sums = [(masked_loss(model, ids, labels).item(), int((labels >= 0).sum())) for ids, labels in batches]
    model.train()
    return sum(loss * n for loss, n in sums) / sum(n for _, n in sums)


def rate_at(done: float, recipe: Recipe) -> float:
    """Return the learning rate after the share `done` of the run: linear warm-up, then a cosine to 0."""
    if done < recipe.warmup:
        return recipe.rate * done / recipe.warmup
    return recipe.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - recipe.warmup) / (1 - recipe.warmup))))


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), eps=1e-6, fused=True)


def save(model: BertForMaskedLM, tokenizer: BertTokenizerFast, folder: Path, record: dict[str, Any]) -> None:
    """Write the folder file by file, each whole at any moment: someone may be reading it."""
    draft = folder / ".draft"
    copy = BertForMaskedLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.half().save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    (draft / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    for file in draft.iterdir():
        atomic_write(folder / file.name, file.read_bytes())
        file.unlink()
    draft.rmdir()


class Run:
    """One training run: the model, what it is fed, and the clock."""

    def __init__(self, recipe: Recipe, minutes: float, steps: int | None) -> None:
        self.recipe, self.seconds, self.steps = recipe, 60 * minutes, steps
        texts = demo_texts("train")
        self.words = sum(len(text.split()) for text in texts)
        self.tokenizer = train_tokenizer(texts, recipe.vocab)
        torch.manual_seed(recipe.seed)
        self.model = build(recipe, len(self.tokenizer)).train()
        self.optimizer = optimizer_of(self.model, recipe)
        self.data = Dataset.from_dict({"text": texts})
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.held_out = self._held_out()
        self.started = time.monotonic()
        self.step = self.seen = 0
        self.curve: list[dict[str, float]] = []

    def _held_out(self) -> list[tuple[Tensor, Tensor]]:
        data = Dataset.from_dict({"text": demo_texts("held_out")})
        batches = fixed_batches(data, self.tokenizer, length=LENGTH, batch_size=32, n=FINAL_BATCHES)
        generator = torch.Generator().manual_seed(1)
        return [mask_tokens(batch["input_ids"], self.tokenizer, generator) for batch in batches]

    @property
    def done(self) -> float:
        """Share of the run that is behind us."""
        return self.step / self.steps if self.steps else (time.monotonic() - self.started) / self.seconds

    def blocks(self, length: int) -> Any:
        """Return endless batches of blocks of `length` tokens."""
        size = self.recipe.tokens // length
        return packed_batches(self.data, self.tokenizer, length=length, batch_size=size, seed=self.recipe.seed)

    def train_step(self, ids: Tensor) -> float:
        """Make one optimizer step and return its loss."""
        ids, labels = mask_tokens(ids, self.tokenizer, self.generator, self.recipe.masked)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.done, self.recipe)
        loss = masked_loss(self.model, ids, labels)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.seen += ids.numel()
        return loss.item()

    def record(self, loss: float) -> dict[str, Any]:
        """Return what `training.json` says."""
        return {
            "held_out_loss": round(loss, 4),
            "steps": self.step,
            "tokens": self.seen,
            "corpus_words": self.words,
            "minutes": round((time.monotonic() - self.started) / 60, 1),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "recipe": asdict(self.recipe),
            "curve": self.curve,
        }

    def checkpoint(self, folder: Path, train_loss: float) -> None:
        """Measure the held-out loss, say it, and write the folder."""
        loss = evaluate(self.model, self.held_out[: EVAL_BATCHES if self.done < 1 else FINAL_BATCHES])
        self.curve.append({"step": self.step, "train": round(train_loss, 4), "held_out": round(loss, 4)})
        save(self.model, self.tokenizer, folder, self.record(loss))
        minutes = (time.monotonic() - self.started) / 60
        click.echo(f"{minutes:5.1f} min  step {self.step}  train {train_loss:.3f}  held-out {loss:.3f}", err=True)


@click.command()
@click.option("--minutes", default=45.0, show_default=True, help="Length of the run; the rate ends at 0.")
@click.option("--steps", type=int, help="Length of the run in steps instead: reproducible to the bit on one machine.")
@click.option("--output", type=click.Path(path_type=Path), default=Path(__file__).parents[1] / "fxprune/demo/teacher")
@click.option("--threads", default=1, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--every", default=0.08, show_default=True, help="Share of the run between two checkpoints.")
def main(minutes: float, steps: int | None, output: Path, threads: int, seed: int, every: float) -> None:
    """Train the demo teacher and write it to OUTPUT."""
    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    run = Run(Recipe(seed=seed), minutes, steps)
    output.mkdir(parents=True, exist_ok=True)
    click.echo(f"{run.words} words, {sum(p.numel() for p in run.model.parameters())} parameters", err=True)
    blocks, short, mean, due = run.blocks(LENGTH // 2), True, 0.0, every
    while run.done < 1:
        if short and run.done > run.recipe.short:
            blocks, short = run.blocks(LENGTH), False
        loss = run.train_step(next(blocks)["input_ids"])
        mean = loss if not mean else 0.98 * mean + 0.02 * loss
        if run.done >= due:
            run.checkpoint(output, mean)
            due += every
    run.checkpoint(output, mean)


if __name__ == "__main__":
    main()
