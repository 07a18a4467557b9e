"""Times and shapes as people write them."""

from __future__ import annotations

import pytest

from fxprune.errors import UsageError
from fxprune.workload import Workload, parse_ms


@pytest.mark.parametrize(
    ("text", "ms"), [("4ms", 4.0), ("4 ms", 4.0), (2.5, 2.5), ("0.5s", 500.0), ("800us", 0.8), ("1.5MS", 1.5)]
)
def test_a_time_is_read(text: str | float, ms: float) -> None:
    assert parse_ms(text) == pytest.approx(ms)


@pytest.mark.parametrize("text", ["4 parsecs", "", "ms", "-4ms", "0ms", "1e3ms", "4ms4"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time a model could take"):
        parse_ms(text)


def test_a_shape_is_read_with_and_without_threads_and_precision() -> None:
    assert Workload.read("8x128") == Workload(batch=8, length=128, threads=1)
    assert Workload.read(" 1X32 , 2") == Workload(batch=1, length=32, threads=2)
    assert Workload.read("8 x 128, INT8") == Workload(batch=8, length=128, precision="int8")
    assert Workload.read("8x128,2,float32") == Workload(batch=8, length=128, threads=2)


@pytest.mark.parametrize("text", ["8x128", "1x32, 2 threads", "1x32, int8", "1x32, 2 threads, int8"])
def test_a_shape_is_written_as_it_is_read(text: str) -> None:
    assert str(Workload.read(text.replace(" threads", ""))) == text


@pytest.mark.parametrize("text", ["8", "0x128", "8x", "8x128,0", "8x128,2,3", "axb", "8x128,fp16", "8x128,int8,2"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no shape to time at"):
        Workload.read(text)
