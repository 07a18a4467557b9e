"""The terms of the loss for one model: which it has, from the outputs and taps of teacher and student."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from fxprune.axes import Axis, resolve
from fxprune.distillation.attending import Values, scores_at, seen_at
from fxprune.distillation.config import LossWeights, Precision
from fxprune.distillation.heads import head_source
from fxprune.distillation.likeness import Peers, Vectors, likeness, pooled, projection, returned_taps
from fxprune.distillation.lineage import lineage
from fxprune.distillation.losses import attention_loss, centred_scores, feature_loss, looked_at
from fxprune.distillation.maps import FeatureMap
from fxprune.distillation.objective import FEATURES, Batch, Objective
from fxprune.distillation.predicting import Outputs, PredictionTerms
from fxprune.distillation.preflight import check_terms
from fxprune.distillation.scales import Scales, ScaleSums
from fxprune.distillation.taps import FeatureTap, Taps
from fxprune.passes import ExposeTaps, PickPositions, run_passes
from fxprune.passes.pick_positions import POSITIONS, picks_positions
from fxprune.student import Student
from fxprune.traced import Traced


class Terms:
    """Runs teacher and student with their taps, and compares what they give.

    Every term adds up: over the parts of a batch it sums to the term of the whole.

    Args:
        teacher: dense; gets its taps exposed, like the student.
        student: a copy of it, to be cut.
        taps: of both.
        objective: of both.
        weights: terms of weight 0 are left out.
        device: of the maps.
        precision: of the models; losses, maps and weights are in float32 whatever it is.
    """

    def __init__(
        self,
        teacher: Traced,
        student: Student,
        taps: Taps,
        objective: Objective,
        weights: LossWeights,
        device: torch.device,
        *,
        precision: Precision = "float32",
    ) -> None:
        self.teacher, self.student, self.taps = teacher, student, taps
        self.objective, self.weights, self._device = objective, weights, device
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        self._source = head_source(teacher, objective, taps)
        names = tuple(dict.fromkeys([*taps.nodes, *([] if self._source is None else [self._source])]))
        expose = [ExposeTaps(names), *([] if objective.logits is None else [PickPositions(objective.logits)])]
        for graph in (teacher, student.traced):
            run_passes(graph, expose)
        self._picks = picks_positions(teacher)
        assert self._picks == (self._source is not None)
        self._place = {name: i for i, name in enumerate(names)}
        check_terms(objective, taps, weights)
        source = None if self._source is None else self._place[self._source]
        self._predicting = None if objective.logits is None else PredictionTerms(objective, weights, source)
        features = (*taps.embedding, *taps.hidden)
        self.scales: Scales | None = None  # by default, what is compared is relative to its own batch
        self.maps = {tap.node: FeatureMap(tap, _width(student, tap.axis), device) for tap in features}

    def run(self, model: Traced, batch: Batch) -> Outputs:
        """Run one model with its taps; a head that could be told apart is left out: `heads` runs it in chunks."""
        picked = {POSITIONS: next(iter(batch.inputs.values())).new_empty(0, dtype=torch.int64)} if self._picks else {}
        with self._autocast:
            outputs: Outputs = model(**batch.inputs, **picked)
        return tree_map_only(Tensor, _single, outputs)

    def measure(self, teacher: Traced, batches: Iterable[Batch]) -> None:
        """Measure how large the teacher's features and scores are: from then on terms are relative to that."""
        sums = ScaleSums()
        for batch in batches:
            batch = batch.to(self._device)
            with torch.no_grad():
                outputs = self.run(teacher, batch)
            for tap in (*self.taps.embedding, *self.taps.hidden):
                sums.add_features(tap.node, self._real(tap, outputs, batch))
            for attention in self.taps.attention:
                scores = scores_at(attention, self._at(outputs))
                seen = seen_at(attention, self._at(outputs), scores)
                seen = looked_at(seen, batch.real.get(attention.positions or ""))
                sums.add_scores(attention.sources[0], centred_scores(scores, seen), seen)
        self.scales = sums.result()

    def __call__(
        self, student: Outputs, teacher: Outputs, batch: Batch, peers: Peers | None = None, *, observe: bool = False
    ) -> dict[str, Tensor]:
        """Return every term that has a weight and a meaning for this model, unweighted.

        Args:
            student: what it gave for the batch.
            teacher: likewise.
            batch: or a part of one.
            peers: of the whole batch, where sequences are compared with one another; by default with those given.
            observe: whether the maps learn from it.
        """
        weights, terms = self.weights, dict[str, Tensor]()
        if self._predicting is not None:
            with self._autocast:
                terms |= self._predicting((self.student.traced, student), (self.teacher, teacher), batch)
        if weights.task and self.compares:
            terms["task"] = self._returned(student, teacher, batch, peers)
        if observe:
            self._observe(student, teacher, batch)
        if weights.hidden and self.taps.hidden:
            terms["hidden"] = self._features(self.taps.hidden, student, teacher, batch)
        if weights.embedding and self.taps.embedding:
            terms["embedding"] = self._features(self.taps.embedding, student, teacher, batch)
        if weights.attention and self.taps.attention:
            terms["attention"] = self._attention(student, teacher, batch) * batch.share
        return terms

    @property
    def compares(self) -> bool:
        """Whether sequences are compared with one another: of a model without a head, whose features are used so."""
        return self.objective.name == FEATURES and any(tap.output for tap in self.taps.hidden)

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum."""
        return torch.stack([getattr(self.weights, name) * value for name, value in terms.items()]).sum()

    @property
    def starts_at_zero(self) -> bool:
        """Whether all terms are zero while the student is still its teacher: only a task is never at zero."""
        objective = self.objective
        return objective.logits is None or not objective.labelled or not self.weights.task

    def probe(self, student: Outputs, batch: Batch, seed: int) -> Tensor:
        """Return a random projection of what is to keep: a loss for scores while all others are at zero."""
        if self._predicting is not None and self.weights.kl:
            with self._autocast:
                return self._predicting.probe(self.student.traced, student, batch, seed)
        taps = [tap for tap in self.taps.hidden if tap.output] or self.taps.hidden
        return projection(self._values(taps, student), taps, batch, seed)

    def vectors(self, outputs: Outputs, batch: Batch) -> Vectors:
        """Return what pooling makes of the features the model returns."""
        taps = returned_taps(self.taps.hidden)
        return pooled(self._values(taps, outputs), taps, batch)

    def measures(self, model: Traced, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return what one model reaches without the other: task loss and accuracy, if it makes predictions."""
        if self._predicting is None:
            return {}
        with self._autocast:
            return self._predicting.measures(model, outputs, batch)

    def essence(self, outputs: Outputs) -> Outputs:
        """Return what `discrepancy` needs of the teacher's outputs, the rest left empty: to be kept."""
        names = {tap.node for tap in self._told} if self._predicting is None else {self._source}
        places = {self._place[name] for name in names if name is not None}
        return outputs[0], tuple(v if i in places else v.new_empty(0) for i, v in enumerate(outputs[1]))

    def discrepancy(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return how far predictions are from the teacher's: the KL, or the error of the features without a head."""
        if self._predicting is not None:
            with self._autocast:
                return self._predicting.kl((self.student.traced, student), (self.teacher, teacher), batch)
        return self._features(self._told, student, teacher, batch) if self._told else torch.zeros(())

    @property
    def _told(self) -> tuple[FeatureTap, ...]:
        """Features that speak for the model: those it returns, or else those of the last block."""
        return returned_taps(self.taps.hidden) or self.taps.hidden[-1:]

    def _values(self, taps: Iterable[FeatureTap], outputs: Outputs) -> list[Tensor]:
        return [outputs[1][self._place[tap.node]] for tap in taps]

    def _real(self, tap: FeatureTap, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the features of a tap, without those of padding."""
        value, real = outputs[1][self._place[tap.node]], batch.real.get(tap.positions or "")
        return value if real is None else value[real]

    def _features(self, taps: Sequence[FeatureTap], student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        scales, terms = self.scales or Scales(), []
        for tap in taps:
            s, t = self._real(tap, student, batch), self._real(tap, teacher, batch)
            error = feature_loss(self.maps[tap.node](s), t, scales.variances.get(tap.node))
            terms.append(error * batch.share_of(tap.positions))
        return torch.stack(terms).mean()

    def _returned(self, student: Outputs, teacher: Outputs, batch: Batch, peers: Peers | None) -> Tensor:
        """Return the error of the features a headless model returns, token by token, and of how they are compared."""
        alike = likeness(self.vectors(student, batch), self.vectors(teacher, batch), batch, peers)
        return self._features(returned_taps(self.taps.hidden), student, teacher, batch) + alike

    def _observe(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Let the maps that are in use learn."""
        task = self.compares and self.weights.task
        hidden = [tap for tap in self.taps.hidden if self.weights.hidden or (task and tap.output)]
        for tap in (*hidden, *(self.taps.embedding if self.weights.embedding else ())):
            self.maps[tap.node].observe(self._real(tap, student, batch), self._real(tap, teacher, batch))

    def _attention(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        terms, scales = [], self.scales or Scales()
        for tap in self.taps.attention:
            got = scores_at(tap, self._at(student))
            heads = self._lineage(tap.heads).to(got.device)
            wanted = scores_at(tap, self._at(teacher), heads)
            seen = seen_at(tap, self._at(teacher), wanted, heads)
            seen = looked_at(seen, batch.real.get(tap.positions or ""))
            powers = scales.powers.get(tap.sources[0])
            terms.append(attention_loss(got, wanted, seen, None if powers is None else powers[heads]))
        return torch.stack(terms).mean()

    def _at(self, outputs: Outputs) -> Values:
        return lambda node: outputs[1][self._place[node]]

    def _lineage(self, axis: Axis) -> Tensor:
        return lineage(self.student, axis)


def _single(value: Tensor) -> Tensor:
    return value.float() if value.dtype == torch.bfloat16 else value


def _width(student: Student, axis: Axis) -> int:
    (factor,) = resolve(axis)
    return student.groups.by_factor[factor].size  # type: ignore[index]
