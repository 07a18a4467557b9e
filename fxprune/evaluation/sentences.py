"""Tasks on a sentence or a pair: classes, or a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from fxprune.evaluation.examples import Examples, HeldOut
from fxprune.evaluation.metrics import scores_of
from fxprune.evaluation.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


class SentenceTask:
    """Encodes, trains and scores one task of sentences.

    Numbers are learned as differences from their mean in units of their spread: correlations do not see either, and
    a fresh head starts at 0.
    """

    def __init__(self, task: Task, tokenizer: Any, length: int) -> None:
        self.task, self.tokenizer, self.length = task, tokenizer, length
        self.mean, self.deviation = 0.0, 1.0

    def training(self, rows: pa.Table) -> Examples:
        """Return the examples to train on."""
        examples = self._encoded(rows)
        if self.task.classes == 1:
            self.mean = examples.targets.mean().item()
            self.deviation = max(examples.targets.std(correction=0).item(), 1e-6)
        return examples

    def held_out(self, rows: pa.Table) -> HeldOut:
        """Return the examples to score."""
        examples = self._encoded(rows)

        def scores(said: Sequence[Tensor]) -> dict[str, float]:
            logits = torch.stack(list(said))
            predicted = logits[:, 0] if self.task.classes == 1 else logits.argmax(-1)
            return scores_of(self.task.metrics, examples.targets.numpy(), predicted.numpy())

        return HeldOut(examples=examples, scores=scores)

    def loss(self, output: Any, targets: Tensor) -> Tensor:
        """Cross-entropy of the classes, or squared error of the number."""
        logits = output.logits.float()
        if self.task.classes == 1:
            return functional.mse_loss(logits[:, 0], (targets - self.mean) / self.deviation)
        return functional.cross_entropy(logits, targets)

    def answer(self, output: Any) -> Tensor:
        """Return (batch, classes)."""
        return output.logits

    def _encoded(self, rows: pa.Table) -> Examples:
        """Of a pair that is too long the longer text is cut."""
        texts = [rows[name].to_pylist() for name in self.task.texts]
        encoded = self.tokenizer(*texts, truncation=True, max_length=self.length)
        inputs = [{name: values[i] for name, values in encoded.items()} for i in range(rows.num_rows)]
        kind = torch.float32 if self.task.classes == 1 else torch.int64
        return Examples(inputs=inputs, targets=torch.tensor(rows["label"].to_pylist(), dtype=kind))
