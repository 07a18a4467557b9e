"""The tasks, one entry each: columns, classes, metrics, splits, where the data is, and how long to fine-tune."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fxprune.errors import UsageError, unknown_name

Kind = Literal["text-classification", "question-answering", "similarity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Fine-tuning settings.

    Attributes:
        epochs: passes over the training rows.
        learning_rate: peak; linear warm-up over a tenth of the steps, then linearly to zero.
        batch_size: rows (of question answering: windows) a step.
        length: most tokens of a row; longer ones are cut, or slid over by a window in question answering.
    """

    epochs: float = 3.0
    learning_rate: float = 5e-5
    batch_size: int = 32
    length: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a task asks, and of what.

    Attributes:
        name: as on the command line.
        kind: the head it needs: one of `fxprune.classes.TASKS`, or "similarity", which needs none.
        texts: columns of the input: one sentence, or a pair.
        label: names the column of the answers may have.
        classes: number of labels; 1: the label is a real number.
        metrics: official ones, as `fxprune.evaluation.metrics` names them.
        headline: those of them whose mean is quoted as *the* score of the task; default: all.
        hub: data set and configuration on the hub.
        folders: names the folder with its files may have.
        held_out: splits that are scored; the test splits of these tasks have no public labels.
        recipe: default fine-tuning.
    """

    name: str
    kind: Kind = "text-classification"
    texts: tuple[str, ...]
    label: tuple[str, ...] = ("label",)
    classes: int = 2
    metrics: tuple[str, ...] = ("accuracy",)
    headline: tuple[str, ...] = ()
    hub: tuple[str, str | None]
    folders: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ("validation",)
    recipe: Recipe = Recipe()

    @property
    def columns(self) -> tuple[tuple[str, ...], ...]:
        """What a split must have: for each column the names it may have."""
        return (*((name,) for name in self.texts), self.label)

    @property
    def trains(self) -> bool:
        """Whether the task fine-tunes at all."""
        return self.kind != "similarity"


# GLUE (Wang et al. 2019, arXiv:1804.07461): 3 epochs, batch 32, a rate among 2e-5 ... 5e-5 and length 128 are those of
# Devlin et al. 2019 (arXiv:1810.04805); 10 epochs on the sets below 10,000 rows are those of Liu et al. 2019
# (arXiv:1907.11692), and Mosbach et al. 2021 (arXiv:2006.04884) show that fewer make the small sets a lottery.
_SMALL = Recipe(epochs=10.0)
# SQuAD 1.1: 3 epochs of batch 32 at 5e-5; SQuAD 2.0: 2 epochs of batch 48 at 5e-5 (Devlin et al. 2019), length 384
_SPANS, _SPANS_OR_NONE = Recipe(length=384), Recipe(epochs=2.0, batch_size=48, length=384)


def _glue(name: str, *texts: str, **fields: object) -> Task:
    return Task(name=name, texts=texts, hub=("nyu-mll/glue", name), folders=(name,), **fields)  # type: ignore[arg-type]


def _squad(name: str, recipe: Recipe, *metrics: str) -> Task:
    return Task(
        name=name,
        kind="question-answering",
        texts=("question", "context"),
        label=("answers",),
        metrics=metrics,
        headline=("f1",),
        hub=(f"rajpurkar/{name}", None),
        folders=(name,),
        recipe=recipe,
    )


_CORRELATIONS = ("pearson", "spearman")
_NUMBER = ("label", "score")
_ALL = (
    _glue("cola", "sentence", metrics=("matthews",), recipe=_SMALL),
    _glue("sst2", "sentence"),
    _glue("mrpc", "sentence1", "sentence2", metrics=("f1", "accuracy"), recipe=_SMALL),
    _glue("stsb", "sentence1", "sentence2", label=_NUMBER, classes=1, metrics=_CORRELATIONS, recipe=_SMALL),
    _glue("qqp", "question1", "question2", metrics=("f1", "accuracy")),
    _glue("mnli", "premise", "hypothesis", classes=3, held_out=("validation_matched", "validation_mismatched")),
    _glue("qnli", "question", "sentence"),
    _glue("rte", "sentence1", "sentence2", recipe=_SMALL),
    _glue("wnli", "sentence1", "sentence2", recipe=_SMALL),
    _squad("squad", _SPANS, "exact", "f1"),
    _squad("squad_v2", _SPANS_OR_NONE, "exact", "f1", "best_exact", "best_f1", "best_f1_threshold"),
    Task(
        name="text-similarity",
        kind="similarity",
        texts=("sentence1", "sentence2"),
        label=_NUMBER,
        classes=1,
        metrics=("spearman",),
        hub=("nyu-mll/glue", "stsb"),
        folders=("text-similarity", "stsb"),
    ),
)
TASKS = {task.name: task for task in _ALL}


def find_task(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        UsageError: there is none; the error lists those there are.
    """
    if name not in TASKS:
        raise UsageError(unknown_name("task", name, TASKS))
    return TASKS[name]
