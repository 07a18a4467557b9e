"""Text that is read once must last for the run: told before the first step, or where a stream ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from models import ALL
from text import tokenizer, write_jsonl

from fxprune.distillation.config import DistillConfig
from fxprune.distillation.feeding import OutOfTextError, enough
from fxprune.distillation.rescue import UnfinishedError
from fxprune.distillation.run import distill, prepare
from fxprune.errors import FxpruneError

FAST = {"target_params": "40%", "batch_size": 4, "length": 16, "held_out_batches": 1, "device": "cpu"}


def config(steps: int, **options: object) -> DistillConfig:
    return DistillConfig(max_steps=steps, **FAST | options)  # type: ignore[arg-type]


def numbers(*, epochs: int | None) -> Iterator[int]:
    epoch = 0
    while epochs is None or epoch < epochs:
        yield from range(10 * epoch, 10 * epoch + 5)
        epoch += 1


def test_text_is_read_again_unless_it_is_not_to_be() -> None:
    endless = enough(numbers, config(7), sized=True)
    assert [next(endless) for _ in range(7)] == [0, 1, 2, 3, 4, 10, 11]
    assert [*zip(range(5), enough(numbers, config(5, repeat=False), sized=True), strict=False)][-1] == (4, 4)


@pytest.mark.parametrize("packing", ["blocks", "sentences"])
def test_too_little_text_is_refused_before_the_first_step(packing: str, tmp_path: Path) -> None:
    short = config(5000, repeat=False, packing=packing)
    with pytest.raises(
        OutOfTextError, match=r"the text ends after \d+ batches, and the run takes 5000[\s\S]*fewer steps"
    ):
        prepare(ALL["bert"].build().float().eval(), tokenizer(), write_jsonl(tmp_path), short)


def test_text_that_lasts_is_enough(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path)
    result = distill(ALL["bert"].build().float().eval(), tokenizer(), data, config(3, repeat=False))
    assert len(result.history) == 3


def test_a_stream_tells_where_it_ends() -> None:
    stream = enough(numbers, config(9, repeat=False), sized=False)
    assert [next(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OutOfTextError, match="ends after 5 batches, and the run takes 9"):
        next(stream)


def test_a_run_whose_stream_ends_keeps_its_student(tmp_path: Path) -> None:
    run = prepare(ALL["bert"].build().float().eval(), tokenizer(), write_jsonl(tmp_path), config(9))
    batches = [next(run.batches) for _ in range(4)]

    def ending(*, epochs: int | None) -> Iterator[object]:
        return iter(batches)

    run.batches = enough(ending, config(9, repeat=False), sized=False)  # type: ignore[assignment]
    with pytest.raises(FxpruneError, match="the text ends after 4 batches") as raised:
        list(run.steps())
    assert isinstance(raised.value, UnfinishedError)
    assert raised.value.weights_of == 4
    assert raised.value.result.student.num_parameters() < raised.value.result.teacher_params
