"""From what a data set calls its classes to the numbers of the model's classes."""

from __future__ import annotations

import math
from typing import Any

from fxprune.distillation.objective import REGRESSION, Objective
from fxprune.errors import DataError

MISSING = -1  # how data sets number a label that is kept secret


class Labels:
    """Reads labels.

    Args:
        spec: name of the data set, for messages.
        objective: says how many classes the model has, and their names.
        names: of the classes in the data set, by number, where it has names: they go before numbers.
    """

    def __init__(self, spec: str, objective: Objective, names: tuple[str, ...] = ()) -> None:
        assert objective.classes is not None
        self.spec, self.classes = spec, objective.classes
        self.numbers = objective.name == REGRESSION
        self.known = {name.lower(): i for i, name in enumerate(objective.class_names)}
        lower = [name.lower() for name in names]
        self.places = [self.known[name] for name in lower] if lower and set(lower) <= set(self.known) else None
        if not self.known:
            self.known = {name: i for i, name in enumerate(lower)}

    def __call__(self, value: Any) -> int | float | None:
        """Return the class of one label, a number for a regression, None where there is no label.

        Raises:
            DataError: the model has no such class.
        """
        if value is None or (isinstance(value, float) and math.isnan(value)) or value == "":
            return None
        if self.numbers:
            return self._number(value)
        if isinstance(value, str) and not value.lstrip("-").isdigit():
            return self._named(value)
        number = int(value)
        if number == MISSING:
            return None
        if self.places is not None and 0 <= number < len(self.places):
            return self.places[number]
        if float(value) != number or not 0 <= number < self.classes:
            raise DataError(
                f"data set {self.spec!r} has the label {value!r}, and the model has {self.classes} classes",
                remedy=f"give labels from 0 to {self.classes - 1}, or the model that was fine-tuned on these",
            )
        return number

    def _number(self, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"data set {self.spec!r} has the label {value!r}, and the model predicts a number",
                remedy="name the column of numbers with target_column",
            ) from error

    def _named(self, value: str) -> int:
        if value.lower() not in self.known:
            raise DataError(
                f"data set {self.spec!r} has the label {value!r}, which is no class of the model",
                cause=f"its classes are {', '.join(self.known) or 'numbers'}",
                remedy="give labels that are numbers, or name the classes in the model's config (id2label)",
            )
        return self.known[value.lower()]
