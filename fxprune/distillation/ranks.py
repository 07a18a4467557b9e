"""The processes of one run: what each gets of a batch, and how they add up what they found.

Gradients are summed explicitly, after the last part of a batch. DistributedDataParallel hooks into parameters, and
every cut replaces them: it would have to be built anew each time, and its buckets with it. The price is that the sum
does not overlap with the backward pass.

All collectives are here. Those on objects go through a group of their own (gloo), whatever the device: they are
small, and the processes of a GPU run may exchange them without touching the GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor

from fxprune.distillation.batch import Batch
from fxprune.errors import DistillError

T = TypeVar("T")
BUCKET = 1 << 23  # numbers summed at a time: 32 MB, enough for full speed, little beside the gradients
LONG = timedelta(days=7)  # the first process writes and times results, and the others wait


class Ranks:
    """This process among all of a run; with one process, everything is the identity.

    Args:
        accelerator: knows the device, and has joined the processes.
        timeout: seconds to wait for another process.
    """

    def __init__(self, accelerator: Accelerator, timeout: float = 600.0) -> None:
        self.device = accelerator.device
        self.index, self.count = accelerator.process_index, accelerator.num_processes
        self._objects = self._end = None
        if self.count > 1:
            self._objects = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
            self._end = dist.new_group(backend="gloo", timeout=LONG)

    @classmethod
    def join(cls, device: torch.device, timeout: float = 600.0) -> Ranks:
        """Join the processes a launcher (``accelerate launch``, ``torchrun``) started, if it did."""
        _leave_other_device(device)
        kwargs = InitProcessGroupKwargs(timeout=timedelta(seconds=timeout))
        return cls(Accelerator(cpu=device.type == "cpu", kwargs_handlers=[kwargs]), timeout)

    @property
    def main(self) -> bool:
        """Whether this process writes and prints."""
        return self.index == 0

    # ------------------------------------------------------------------ shares

    def share(self, batch: Batch) -> Batch:
        """Return the rows of this process: runs of equal length, in order; there may be none."""
        if self.count == 1:
            return batch
        return batch.part(batch.rows * self.index // self.count, batch.rows * (self.index + 1) // self.count)

    def every(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items of this process, dealt out in turn."""
        return items[self.index :: self.count]

    # ------------------------------------------------------------------ sums

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Add up tensors of one device and dtype over all processes, in place, some at a time."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            group = self._objects if flat.device.type == "cpu" else None
            self._guarded(lambda flat=flat, group=group: dist.all_reduce(flat, group=group))
            for tensor, total in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over all processes."""
        self.add(tensors)
        for tensor in tensors if self.count > 1 else ():
            tensor.div_(self.count)

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up gradients; a parameter that has none in any process keeps none."""
        if self.count == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        has = torch.tensor([float(p.grad is not None) for p in trained], device=self.device)
        self.add([has])
        used = [p for p, n in zip(trained, has.tolist(), strict=True) if n]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.add(p.grad for p in used if p.grad is not None)

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Add up numbers by name; a process need not have all of them."""
        sums: dict[str, float] = {}
        for found in self.gather(dict(values)):
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums

    def place(self, rows: Iterable[Tensor], first: int, count: int) -> tuple[Tensor, ...]:
        """Put the rows of all processes together: (own rows, width), the first at `first`, to (count, width)."""
        placed = []
        for own in rows:
            full = own.new_zeros(count, own.shape[-1])
            full[first : first + len(own)] = own
            placed.append(full)
        self.add(placed)
        return tuple(placed)

    # ------------------------------------------------------------------ agreement

    def gather(self, value: T) -> list[T]:
        """Return what each process gave, in their order."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        self._guarded(lambda: dist.all_gather_object(found, value, group=self._objects))
        return found

    def any(self, flag: bool) -> bool:
        """Tell whether any process says so."""
        return any(self.gather(flag))

    def check_same(self, what: str, value: object, step: int) -> None:
        """Raise DistillError, in every process, unless all have the same."""
        found = self.gather(value)
        if any(other != found[0] for other in found):
            told = ", ".join(f"process {i} has {value}" for i, value in enumerate(found))
            raise DistillError(
                f"the processes disagree on {what} at step {step}",
                cause=told,
                remedy="start all of them with the same command, versions, data and kind of device",
            )

    def wait(self) -> None:
        """Wait until every process is here, for as long as it takes."""
        if self.count > 1:
            self._guarded(lambda: dist.barrier(group=self._end))

    def _guarded(self, collective: Any) -> None:
        try:
            collective()
        except RuntimeError as error:  # torch raises DistBackendError and plain RuntimeErrors
            raise DistillError(
                "another process of the run has stopped, or did not answer in time",
                cause=str(error).splitlines()[0],
                remedy="look for the first error among the processes; --timeout is how long they wait for one another",
            ) from error


def _buckets(tensors: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        bucket.append(tensor)
        size += tensor.numel()
        if size >= BUCKET:
            yield bucket
            bucket, size = [], 0
    if bucket:
        yield bucket


def _leave_other_device(device: torch.device) -> None:
    """Let a process without others compute on another device than its last run: accelerate keeps the first for good."""
    state = PartialState._shared_state
    if state and state["num_processes"] == 1 and state["device"].type != device.type:
        AcceleratorState._reset_state(reset_partial_state=True)
