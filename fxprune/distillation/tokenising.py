"""Rows of text as tokens: each process encodes its share of them, and all get all, in the order of the data set.

So which sequences make up a step does not depend on how many processes there are. Sharding the rows themselves
(`datasets.distributed.split_dataset_by_node`) would give each number of processes an order of its own; what is shared
here is the expensive half, and tokens are a few megabytes a second even of a large run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fxprune.distillation.ranks import Ranks

ROWS = 256  # tokenised together, and shuffled together later: enough to mix, few enough to start at once
Encode = Callable[[list[str]], list[list[int]]]


def encoded(dataset: Any, encode: Encode, ranks: Ranks | None = None) -> Iterator[list[list[int]]]:
    """Yield what `encode` makes of each `ROWS` rows of one epoch.

    Args:
        dataset: `datasets.Dataset` or `IterableDataset` with a column "text", the same in all processes.
        encode: texts to token ids; a text may give several sequences, or none.
        ranks: the processes; None: this one alone.
    """
    chunks = ([text for text in rows["text"] if text] for rows in dataset.iter(batch_size=ROWS))
    count, index = (1, 0) if ranks is None else (ranks.count, ranks.index)
    while turn := list(islice(chunks, count)):
        own = encode(turn[index]) if index < len(turn) and turn[index] else []
        found = [own] if ranks is None else ranks.gather(own)
        yield from found[: len(turn)]
