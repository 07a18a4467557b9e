"""One step of homotopic distillation: teacher and student forward, losses, scores, update, and now and then a cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Generator, Tensor
from torch.optim import AdamW

from fxprune.axes import Axis, Factor, resolve, units_of
from fxprune.distillation.config import DistillConfig
from fxprune.distillation.losses import attention_loss, feature_loss, kl_loss, seen_by, similarity_loss, task_loss
from fxprune.distillation.maps import FeatureMap
from fxprune.distillation.objective import FEATURES, Batch, Objective
from fxprune.distillation.taps import AttentionTap, FeatureTap, Taps
from fxprune.errors import DistillError, UsageError
from fxprune.importance import Smoothed, UnitScorer, weight_score
from fxprune.passes import DropoutMode, ExposeTaps, PickPositions, run_passes
from fxprune.passes.pick_positions import POSITIONS, picks_positions
from fxprune.schedule import counts_at, cubic
from fxprune.student import Student
from fxprune.traced import Traced, tensor_of
from fxprune.widths import Counts

EMBEDDING = torch.ops.aten.embedding.default
Outputs = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]  # outputs of the model, values of the taps


class Distiller:
    """Holds everything that changes from step to step.

    Args:
        teacher: dense and frozen.
        student: a copy of it, to be cut.
        taps: of both.
        objective: of both.
        final: units each group has at the end.
        config: settings.
        accelerator: device and backward.
    """

    def __init__(
        self,
        teacher: Traced,
        student: Student,
        taps: Taps,
        objective: Objective,
        final: Counts,
        config: DistillConfig,
        accelerator: Accelerator,
    ) -> None:
        self.teacher, self.student, self.taps, self.objective = teacher, student, taps, objective
        self.final, self.config, self.accelerator = final, config, accelerator
        self.dense = {name: student.groups[name].size for name in final}
        names = taps.nodes
        expose = [ExposeTaps(names), *([] if objective.logits is None else [PickPositions(objective.logits)])]
        run_passes(teacher, [*expose, DropoutMode(train=False)])
        run_passes(student.traced, [*expose, DropoutMode(train=config.dropout)])
        self._place = {name: i for i, name in enumerate(names)}
        features = (*taps.embedding, *taps.hidden)
        self.maps = {tap.node: FeatureMap(tap, _width(student, tap.axis), accelerator.device) for tap in features}
        self.optimizer = _optimizer(student.traced, config)
        self.scorer, self.scores = UnitScorer(student.groups), Smoothed(config.smoothing)
        self.done = 0

    # ------------------------------------------------------------------ forward

    def run(self, model: Traced, batch: Batch) -> Outputs:
        """Run one model with its taps; where its head could be told apart, only the labelled positions pass it."""
        picked = {POSITIONS: batch.labelled} if picks_positions(model) else {}
        outputs: Outputs = model(**batch.inputs, **picked)
        return outputs

    def _predictions(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the logits of the labelled positions, (positions, vocabulary)."""
        assert self.objective.logits is not None
        logits = outputs[0][self.objective.logits]
        return logits if picks_positions(self.teacher) else logits.flatten(0, 1)[batch.labelled]

    def losses(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return every term that has a weight and a meaning for this model, unweighted."""
        weights, terms = self.config.loss, {}
        if self.objective.logits is not None and batch.labels is not None:
            got = self._predictions(student, batch)
            if weights.task:
                terms["task"] = task_loss(got, batch.labels.flatten()[batch.labelled])
            if weights.kl:
                terms["kl"] = kl_loss(got, self._predictions(teacher, batch))
        if weights.task and self.objective.name == FEATURES and any(tap.output for tap in self.taps.hidden):
            terms["task"] = self._returned(student, teacher, batch)
        if weights.hidden and self.taps.hidden:
            terms["hidden"] = self._features(self.taps.hidden, student, teacher)
        if weights.embedding and self.taps.embedding:
            terms["embedding"] = self._features(self.taps.embedding, student, teacher)
        if weights.attention and self.taps.attention:
            terms["attention"] = self._attention(student, teacher)
        if not terms:
            raise UsageError("no loss term is left for this model", remedy="give hidden or attention a weight")
        return terms

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum."""
        return torch.stack([getattr(self.config.loss, name) * value for name, value in terms.items()]).sum()

    def _features(self, taps: tuple[FeatureTap, ...], student: Outputs, teacher: Outputs) -> Tensor:
        terms = []
        for tap in taps:
            s, t = student[1][self._place[tap.node]], teacher[1][self._place[tap.node]]
            self.maps[tap.node].observe(s, t)
            terms.append(feature_loss(self.maps[tap.node](s), t))
        return torch.stack(terms).mean()

    def _returned(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the error of the features a headless model returns: token by token, and of what pooling makes of them.

        A vector for the whole sequence counts only if there is nothing else: encoders carry poolers nobody trained.
        """
        mask = batch.inputs.get("attention_mask", torch.ones_like(batch.inputs["input_ids"]))[..., None]
        returned = [tap for tap in self.taps.hidden if tap.output]
        terms = []
        for tap in [tap for tap in returned if tap.sequence] or returned:
            s, t = (outputs[1][self._place[tap.node]] for outputs in (student, teacher))
            error = feature_loss(self.maps[tap.node](s), t)
            s, t = (value if value.ndim < 3 else (value * mask).sum(1) / mask.sum(1) for value in (s, t))
            terms.append(error + similarity_loss(s, t))
        return torch.stack(terms).mean()

    def _attention(self, student: Outputs, teacher: Outputs) -> Tensor:
        terms = []
        for tap in self.taps.attention:
            s, t = self._pair(tap, student), self._pair(tap, teacher)
            mask = None if tap.mask is None else teacher[1][self._place[tap.mask]]
            heads = self._lineage(tap.heads).to(s[0].device)
            mask = mask if mask is None or mask.shape[-3:-2] in ((), (1,)) else mask[..., heads, :, :]
            terms.append(attention_loss(s, t, tap.scale, seen_by(mask, tap.causal, *t), heads))
        return torch.stack(terms).mean()

    def _pair(self, tap: AttentionTap, outputs: Outputs) -> tuple[Tensor, Tensor]:
        query, key = outputs[1][self._place[tap.query]], outputs[1][self._place[tap.key]]
        served = query.shape[-3] // key.shape[-3]  # query heads a key head serves
        return query, key if served == 1 else key.repeat_interleave(served, -3)

    def _lineage(self, axis: Axis) -> Tensor:
        """Return the dense position of each position of an axis that is a product of factors."""
        place = torch.zeros(1, dtype=torch.int64)
        for factor in resolve(axis):
            assert isinstance(factor, Factor)
            group = self.student.groups.by_factor.get(factor)
            units = torch.arange(units_of(factor)) if group is None else self.student.ledger.left(group.name)
            dense = len(units) if group is None else self.student.ledger.dense[group.name]
            place = (place[:, None] * dense + units).flatten()
        return place

    # ------------------------------------------------------------------ one step

    def step(self, batch: Batch) -> tuple[dict[str, float], bool, float]:
        """Train on one batch; cut if the schedule says so. Returns (losses, whether cut, what is left of the way)."""
        with torch.no_grad():
            teacher = self.run(self.teacher, batch)
        student = self.run(self.student.traced, batch)
        terms = self.losses(student, teacher, batch)
        total = self.total(terms)
        self._check(total, terms)
        left = self._left(self.done + 1)
        if self.objective.name == FEATURES and not self._was_cut():
            self.accelerator.backward(self._probe(student))  # the student still equals its teacher: no gradient yet
        else:
            self.accelerator.backward(total)
        if self._cuts_remain():
            self.scores.update(self.scorer(self.student.traced, weight_score(self.config.importance)))
        self._update()
        cut = self._due(self.done + 1) and self._cut(left)
        if self._was_cut() and (cut or self.done % self.config.schedule.interval == 0):
            for feature_map in self.maps.values():
                feature_map.refit()
        self.done += 1
        values = {name: float(value.detach()) for name, value in terms.items()}
        return {"total": float(total.detach()), **values}, cut, left

    def _probe(self, student: Outputs) -> Tensor:
        """A random projection of the features to keep: its squared gradients sum to the Gauss-Newton curvature there.

        Those are what the model returns, where it returns features, as their users see them: pooled over the sequence.
        """
        returned = [tap for tap in self.taps.hidden if tap.output] or self.taps.hidden
        sequences = [tap for tap in returned if tap.sequence] or returned
        terms = []
        for tap in returned:
            value = student[1][self._place[tap.node]]
            value = value if value.ndim < 3 else value.mean(1)
            # without any gradient the units of a pooler would be cut arbitrarily: a thousandth decides among them
            drawn = (value * torch.randn_like(value)).sum() if tap in sequences else 1e-3 * value.sum()
            terms.append(drawn / value.detach().norm().clamp_min(1e-12))
        return torch.stack(terms).sum()

    def _update(self) -> None:
        if self.objective.name != FEATURES or self._was_cut():
            self.accelerator.clip_grad_norm_(self.student.traced.parameters(), self.config.clip)
            rate = self._rate(self.done + 1)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _rate(self, step: int) -> float:
        """Linear warm-up, then linear decay to zero after the last step."""
        steps, warm = self.config.max_steps, max(1, round(self.config.warmup * self.config.max_steps))
        return self.config.learning_rate * min(step / warm, (steps + 1 - step) / max(steps + 1 - warm, 1))

    # ------------------------------------------------------------------ cuts

    def _cut(self, left: float) -> bool:
        counts = counts_at(left, self.dense, self.final)
        followers = [feature_map.cut for feature_map in self.maps.values()]
        masks = self.student.cut_to(counts, self.scores.value, (self.optimizer,), followers)
        self.scores.cut(masks, self.student.groups.ragged)
        return bool(masks)

    def _span(self) -> tuple[int, int]:
        """Return the first and the last step with a cut."""
        schedule, steps = self.config.schedule, self.config.max_steps
        start = min(max(1, round(schedule.start * steps)), steps)
        if schedule.kind == "one-shot":
            return start, start
        return start, max(start, min(round(schedule.end * steps), steps))

    def _left(self, step: int) -> float:
        start, end = self._span()
        return cubic(step, start, end) if start < end else float(step < start)

    def _due(self, step: int) -> bool:
        start, end = self._span()
        return step == end or (start <= step < end and (step - start) % self.config.schedule.interval == 0)

    def _cuts_remain(self) -> bool:
        return self.done < self._span()[1]

    def _was_cut(self) -> bool:
        return any(self.student.groups[name].size < size for name, size in self.dense.items())

    def _check(self, total: Tensor, terms: Mapping[str, Tensor]) -> None:
        if not bool(torch.isfinite(total)):
            bad = next((name for name, value in terms.items() if not bool(torch.isfinite(value))), "total")
            raise DistillError(
                f"the {bad} loss is {float(total.detach())} at step {self.done + 1}", remedy="lower --learning-rate"
            )

    # ------------------------------------------------------------------ evaluation

    @torch.no_grad()
    def evaluate(self, batches: list[Batch]) -> dict[str, dict[str, float]]:
        """Return the mean of every term on held-out batches, for the teacher and the student."""
        sums: dict[str, dict[str, float]] = {"teacher": {}, "student": {}}
        run_passes(self.student.traced, [DropoutMode(train=False)])
        rows = sum(len(batch.inputs["input_ids"]) for batch in batches)
        for batch in batches:
            share = len(batch.inputs["input_ids"]) / rows  # the last one may be smaller
            teacher, student = self.run(self.teacher, batch), self.run(self.student.traced, batch)
            for name, value in self.losses(student, teacher, batch).items():
                sums["student"][name] = sums["student"].get(name, 0.0) + float(value) * share
            if self.objective.logits is not None and batch.labels is not None:
                value = task_loss(self._predictions(teacher, batch), batch.labels.flatten()[batch.labelled])
                sums["teacher"]["task"] = sums["teacher"].get("task", 0.0) + float(value) * share
        run_passes(self.student.traced, [DropoutMode(train=self.config.dropout)])
        return sums


def _width(student: Student, axis: Axis) -> int:
    (factor,) = resolve(axis)
    return student.groups.by_factor[factor].size  # type: ignore[index]


def _optimizer(traced: Traced, config: DistillConfig) -> AdamW:
    """Adam as in the paper (0.9, 0.999, 1e-6); decay spares vectors, and looked-up tables learn more slowly.

    A row of a table has a gradient in the few steps that show its token, and Adam answers the first ones with steps of
    many times the learning rate: rare tokens would be moved far, by chance. A table that is also multiplied with (tied
    to a language-model head) has a gradient in every step.
    """
    trained = [parameter.requires_grad_(True) for parameter in traced.parameters() if parameter.is_floating_point()]
    tables = {id(tensor_of(traced, name)) for name in _looked_up(traced)}
    matrices = [p for p in trained if p.ndim > 1 and id(p) not in tables]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay, "scale": 1.0},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "scale": 1.0},
        {"params": [p for p in trained if id(p) in tables], "weight_decay": 0.0, "scale": config.table_rate},
    ]
    return AdamW([group for group in groups if group["params"]], lr=config.learning_rate, betas=(0.9, 0.999), eps=1e-6)


def _looked_up(traced: Traced) -> list[str]:
    """Return the parameters that are only ever picked from, row by row."""
    readers = [node for node in traced.graph.nodes if node.op == "get_attr"]
    return [
        str(node.target)
        for node in readers
        if node.users and all(user.target is EMBEDDING and user.args[0] is node for user in node.users)
    ]


def generator_for(seed: int) -> Generator:
    """Return the generator of masks: on the CPU, so that every device sees the same."""
    return torch.Generator().manual_seed(seed)
