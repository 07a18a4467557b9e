"""What a distillation run is told, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from fxprune.distillation.nested import LossWeights, ScheduleConfig, ScheduleKind
from fxprune.errors import UsageError, check_one_of, unknown_name
from fxprune.goal import Allocation, Goal, Purpose
from fxprune.importance import SCORES

__all__ = ["DistillConfig", "LossWeights", "Packing", "Precision", "Repair", "ScheduleConfig", "ScheduleKind"]

Packing = Literal["auto", "blocks", "sentences"]
Precision = Literal["float32", "bf16"]
Repair = Literal["none", "least-squares"]
_TARGETS = ("target_params", "target_flops", "target_ratio", "target_latency")
ObjectiveName = Literal["auto", "masked-lm", "causal-lm", "seq2seq", "features", "classification"]

_LARGEST = 1 << 62  # of a whole number; a float does not hold all there are


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """All settings of a run.

    Attributes:
        target_params: ``"15M"``, 14500000 or ``"25%"``; or
        target_flops: the same of the FLOPs at batch 1 and `length` tokens; or
        target_ratio: fraction of every matrix axis that stays, in (0, 1], as the paper's models are given; or
        target_latency: ``"4ms"``: the largest widths whose ONNX file takes at most that on this machine.
        at: batch x length that is timed, as ``"8x128"``, ``"8x128,2"`` for two threads, or ``"8x128,int8"`` for the
            int8 file; 1x128 by default.
        optimise_for: ``"latency"`` takes the fastest of the widths that meet a target in parameters or FLOPs.
        snapshots: sizes on the way, as parameters or ``"50%"``, at which the student is handed out too.
        allocation: uniform (the same ratio in every matrix, as in the paper), or global: at each cut the units with the
            least score per saved parameter (or FLOP) go, so that the budget follows the schedule, not the widths.
        min_keep: of a global allocation, or where latency counts: fraction of every group that stays at least; None: a
            tenth.
        round_to: kept sizes are multiples of this where the dense size is one; heads stay whole numbers.
        max_steps: optimizer steps.
        repeat: whether the text is read again where it ends before the run.
        batch_size: sequences a step.
        micro_batch: sequences at a time, where not all of a step fit into memory; None: all.
        auto_batch: whether `micro_batch` follows the memory: grows as the student shrinks, and is halved, and the step
            repeated, where it does not fit. Results stay what they are.
        precision: of the matrix products, float32 or bf16; weights, moments, losses and maps are always float32.
        length: tokens a sequence; of sentences, the most.
        packing: blocks (documents joined and cut to `length`), sentences (one a row), or auto: sentences for a model
            without a language-model head, whose users give it one text at a time.
        learning_rate: of Adam, after a warm-up over `warmup` of the steps; decays linearly to 0.
        table_rate: learning rate of tables that are only looked up in, relative to the others.
        weight_decay: of AdamW.
        importance: name of the score.
        per_matrix: whether every matrix has the same say in the score of a unit.
        smoothing: beta of its moving average.
        mask_probability: of masked LM.
        held_out_batches: batches of held-out text the losses before and after are measured on.
        seed: of data order, masks and dropout.
        device: cpu, cuda or auto.
        objective: masked-lm, causal-lm, seq2seq, features or classification; auto: what the model's head is made for.
        timeout: seconds a process waits for the others of the run.
        eval_every: steps between measurements of the predictions on held-out text; 0: none; None: about 20 in a run.
        log_with: trackers, by the names accelerate gives them.
        loadable: widths must be expressible by a config of the model's class.
        dropout: whether the student trains with the dropout of its model.
        verify: prove the result.
        repair: none, or least-squares: after a cut the kept weights are fitted to what they computed before it, on
            batches that are held back from training.
        repair_batches: how many; one in four chooses how far the weights may move.
        repair_interval: cuts from one repair to the next; at snapshots and at the end of the schedule there is one.
    """

    target_params: int | str | None = None
    target_flops: int | str | None = None
    target_ratio: float | None = None
    target_latency: str | float | None = None
    at: str | None = None
    optimise_for: Purpose = "size"
    snapshots: tuple[int | str, ...] = ()
    allocation: Allocation = "uniform"
    min_keep: float | None = None
    round_to: int = 1
    max_steps: int = 200
    repeat: bool = True
    batch_size: int = 16
    micro_batch: int | None = None
    auto_batch: bool = False
    precision: Precision = "float32"
    length: int = 128
    packing: Packing = "auto"
    learning_rate: float = 1e-3
    table_rate: float = 0.1
    weight_decay: float = 0.0
    warmup: float = 0.05
    clip: float = 1.0
    importance: str = "sensitivity"
    per_matrix: bool = False
    smoothing: float = 0.85
    mask_probability: float = 0.15
    held_out_batches: int = 8
    seed: int = 0
    device: str = "auto"
    objective: ObjectiveName = "auto"
    timeout: float = 600.0
    eval_every: int | None = None
    log_with: tuple[str, ...] = ()
    loadable: bool = True
    dropout: bool = False
    verify: bool = False
    repair: Repair = "none"
    repair_batches: int = 16
    repair_interval: int = 4
    loss: LossWeights = field(default_factory=LossWeights)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, int) and abs(value) > _LARGEST:
                raise UsageError(f"{name} is a number of {len(str(abs(value)))} digits", remedy="use a smaller one")
        targets = {name: getattr(self, name) for name in _TARGETS}
        check_one_of(targets, 'target_params="25%"')
        _ = self.goal  # checks itself
        self.schedule.check_revival(self.max_steps)
        self._check_snapshots()
        for name in ("max_steps", "batch_size", "micro_batch", "length", "held_out_batches", "repair_interval"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", remedy="use at least 1")
        if self.length < 8:
            raise UsageError(f"a length of {self.length} tokens is too short", remedy="use at least 8")
        if not 0.0 < self.mask_probability < 1.0:
            raise UsageError(f"the mask probability {self.mask_probability} is not between 0 and 1", remedy="use 0.15")
        if not self.learning_rate > 0.0:
            raise UsageError(f"the learning rate {self.learning_rate} is not positive", remedy="use 1e-3")
        if self.eval_every is not None and self.eval_every < 0:
            raise UsageError(f"eval_every is {self.eval_every}", remedy="use a number of steps, or 0 for none")
        if self.log_with:
            from fxprune.distillation.tracking import check_trackers

            check_trackers(self.log_with)
        if not self.timeout > 0.0:
            raise UsageError(f"timeout is {self.timeout}", remedy="use 600: seconds to wait for another process")
        if not self.clip > 0.0:
            raise UsageError(f"clip is {self.clip}", remedy="use 1.0: the largest norm of a gradient")
        for name in ("table_rate", "weight_decay"):
            if not getattr(self, name) >= 0.0:
                raise UsageError(f"{name} is {getattr(self, name)}", remedy="use a number that is not negative")
        for name in ("warmup", "smoothing"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"{name} is {getattr(self, name)}", remedy="use a number from 0 to below 1")
        if self.precision not in get_args(Precision):
            raise UsageError(unknown_name("precision", self.precision, get_args(Precision)))
        if self.objective not in get_args(ObjectiveName):
            raise UsageError(unknown_name("objective", self.objective, get_args(ObjectiveName)))
        if self.packing not in get_args(Packing):
            raise UsageError(unknown_name("packing", self.packing, get_args(Packing)))
        self._check_repair()
        if self.importance not in SCORES:
            raise UsageError(unknown_name("score", self.importance, SCORES))

    @property
    def rest(self) -> int:
        """Steps a student is trained at each snapshot before it goes on: at least what lies between two cuts."""
        return max(self.schedule.interval, round(self.schedule.rest * self.max_steps))

    def _check_snapshots(self) -> None:
        if self.snapshots and not self.schedule.rewrites:
            raise UsageError(
                "a student that is only rewritten after the last step has no snapshots on the way",
                remedy="leave out rewrite_every 0, or the snapshots",
            )
        way = round(self.schedule.end * self.max_steps) if self.schedule.kind != "one-shot" else self.schedule.interval
        if self.snapshots and way + len(self.snapshots) * (self.rest + 1) > self.max_steps:
            raise UsageError(
                f"{len(self.snapshots)} snapshots do not fit into {self.max_steps} steps",
                cause=f"the schedule takes {way}, and each snapshot rests for {self.rest}",
                remedy="use more steps, an earlier end or a shorter rest",
            )

    def _check_repair(self) -> None:
        if self.repair not in get_args(Repair):
            raise UsageError(unknown_name("repair", self.repair, get_args(Repair)))
        if self.repair_batches < 2:
            raise UsageError(f"repair_batches is {self.repair_batches}", remedy="use at least 2: one is held out")
        if self.repair != "none" and self.schedule.rewrites != 1:
            raise UsageError(
                f"a repair follows a cut, and with rewrite_every {self.schedule.rewrites} units are zeroed before it",
                remedy="leave out repair, or rewrite_every and revive",
            )

    @property
    def goal(self) -> Goal:
        """How small the student shall be, and how that is spread."""
        return Goal(
            ratio=self.target_ratio,
            target_params=self.target_params,
            target_flops=self.target_flops,
            target_latency=self.target_latency,
            at=self.at,
            optimise_for=self.optimise_for,
            length=self.length,
            allocation=self.allocation,
            min_keep=self.min_keep,
            round_to=self.round_to,
        )

    @property
    def calibration_batches(self) -> int:
        """How many batches are held back from training."""
        return 0 if self.repair == "none" else self.repair_batches

    @property
    def evaluation_interval(self) -> int:
        """Steps between measurements on held-out text; 0: none."""
        return max(1, self.max_steps // 20) if self.eval_every is None else self.eval_every
