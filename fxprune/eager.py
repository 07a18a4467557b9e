"""Some model code computes otherwise while it is exported, for targets that lack an op; a capture wants what runs."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

_EXPORTING, _COMPILING = "is_torchdynamo_exporting", "is_torchdynamo_compiling"  # of the transformers library


@contextmanager
def computed_as_called(model: nn.Module) -> Iterator[None]:
    """Tell the code of `model`, where it asks whether it is exported, that it is called as ever.

    The gated delta rule, for one, solves a triangular system in a single op, and in 63 unrolled steps for an export.
    """
    files = [sys.modules.get(name) for name in {type(part).__module__ for part in model.modules()}]
    with ExitStack() as stack:
        for file in files:
            if hasattr(file, _EXPORTING):
                for name in (_EXPORTING, _COMPILING):
                    stack.enter_context(patch.object(file, name, lambda: False, create=True))
        yield
