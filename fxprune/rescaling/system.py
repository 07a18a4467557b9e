"""Linear equations between logarithms: most say that two unknowns are equal, so those are merged first."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch

_NOTHING = "fixed"  # the unknown that is zero
TOLERANCE = 1e-9  # of an equation, in logarithms


class ScaleSystem:
    """Unknowns ``x[key]`` and what is known of them.

    >>> system = ScaleSystem()
    >>> system.add({"query": 1.0, "key": 1.0}, 2.0)
    >>> system.same("query", "weight")
    >>> system.solve()
    True
    >>> round(system["weight"], 6), round(system["key"], 6)
    (1.0, 1.0)
    """

    def __init__(self) -> None:
        self._parent: dict[Hashable, tuple[Hashable, float]] = {}
        self._equations: list[tuple[dict[Hashable, float], float]] = []
        self._found: dict[Hashable, float] = {}

    def fix(self, key: Hashable) -> None:
        """Say that ``x[key] = 0``."""
        self.same(key, _NOTHING)

    def same(self, key: Hashable, other: Hashable, offset: float = 0.0) -> None:
        """Say that ``x[key] = x[other] + offset``."""
        (left, before), (right, behind) = self._root(key), self._root(other)
        if left == right:
            self._equations.append(({}, behind + offset - before))
        elif left == _NOTHING:
            self._parent[right] = (left, before - behind - offset)
        else:
            self._parent[left] = (right, behind + offset - before)

    def add(self, terms: Mapping[Hashable, float], total: float = 0.0) -> None:
        """Say that the sum of ``coefficient * x[key]`` is `total`."""
        self._equations.append((dict(terms), total))

    def solve(self) -> bool:
        """Find the smallest unknowns that satisfy all equations; return whether there are any."""
        rows = self._merged()
        if rows is None:
            return False
        place = {key: i for i, key in enumerate(dict.fromkeys(key for row, _ in rows for key in row))}
        matrix = torch.zeros(len(rows), len(place), dtype=torch.float64)
        for i, (row, _) in enumerate(rows):
            for key, coefficient in row.items():
                matrix[i, place[key]] = coefficient
        totals = torch.tensor([total for _, total in rows], dtype=torch.float64)
        found = torch.linalg.pinv(matrix) @ totals
        self._found = dict(zip(place, found.tolist(), strict=True))
        return not rows or float((matrix @ found - totals).abs().max()) < TOLERANCE

    def _merged(self) -> list[tuple[dict[Hashable, float], float]] | None:
        """Merge all that equations of one or two unknowns say; return the others, None if one cannot hold."""
        while True:
            rows, merged = [], False
            for terms, total in self._equations:
                row, rest = self._reduced(terms, total)
                if not row:
                    if abs(rest) > TOLERANCE:
                        return None
                elif len(row) == 1:
                    ((key, coefficient),) = row.items()
                    self.same(key, _NOTHING, rest / coefficient)
                    merged = True
                elif len(row) == 2 and sum(row.values()) == 0.0:
                    (key, coefficient), (other, _) = row.items()
                    self.same(key, other, rest / coefficient)
                    merged = True
                else:
                    rows.append((row, rest))
            self._equations = rows
            if not merged:
                return rows

    def _reduced(self, terms: Mapping[Hashable, float], total: float) -> tuple[dict[Hashable, float], float]:
        row: dict[Hashable, float] = {}
        for key, coefficient in terms.items():
            root, offset = self._root(key)
            total -= coefficient * offset
            if root != _NOTHING:
                row[root] = row.get(root, 0.0) + coefficient
        return {key: coefficient for key, coefficient in row.items() if coefficient}, total

    def __getitem__(self, key: Hashable) -> float:
        """Return ``x[key]`` as `solve` found it; 0 where nothing is said of it."""
        root, offset = self._root(key)
        return (0.0 if root == _NOTHING else self._found.get(root, 0.0)) + offset

    def _root(self, key: Hashable) -> tuple[Hashable, float]:
        """Return the unknown that `key` was merged into, and how much larger `key` is."""
        path, total = [], 0.0
        while key in self._parent:
            path.append(key)
            key = self._parent[key][0]
        for step in reversed(path):
            total += self._parent[step][1]
            self._parent[step] = (key, total)
        return key, total
