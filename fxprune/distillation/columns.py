"""Which columns of a data set a model reads, and which say what is right: found by their types, then by their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fxprune.distillation.column_types import (
    is_id,
    is_image,
    is_label,
    is_list,
    is_text,
    item_of,
    languages_of,
    names_of,
)
from fxprune.distillation.data import DEMO
from fxprune.distillation.files import find_files
from fxprune.distillation.objective import TOKENS, Objective
from fxprune.distillation.reading import check_reachable
from fxprune.distillation.tables import features_of
from fxprune.errors import DataError, unknown_name

if TYPE_CHECKING:
    from datasets import Features

_LABELS = ("label", "labels", "class", "target", "score", "category", "intent", "sentiment", "similarity_score")
_TAGS = ("tags", "ner_tags", "labels", "label", "pos_tags", "upos", "chunk_tags")
_TEXTS = ("text", "sentence", "content")
_PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question1", "question2"),
    ("question", "context"),
    ("text_a", "text_b"),
    ("text", "text_pair"),
)
_TRANSLATIONS = (
    ("document", "summary"),
    ("article", "highlights"),
    ("text", "summary"),
    ("dialogue", "summary"),
    ("question", "answer"),
    ("source", "target"),
    ("src", "tgt"),
    ("input", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("text", "target"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What is read.

    Attributes:
        content: one or two texts, tokens, or an image.
        target: labels, tags or the text to write; None: there is none.
        names: of the classes, where the data set has them.
    """

    content: tuple[str, ...]
    target: str | None
    names: tuple[str, ...] = ()


def find_columns(
    spec: str, features: Features, objective: Objective, content: str | None, target: str | None
) -> Columns:
    """Find the columns that fit an objective with labels or targets.

    Args:
        spec: name of the data set, for messages.
        features: its columns.
        objective: any; of text without labels only `content` is found.
        content: the column to read, or two with a comma between; default: by type and name.
        target: the column of labels, tags or targets; likewise.
    Raises:
        DataError: a column is missing, or which is meant is not clear.
    """
    table = _Table(spec, dict(features), objective)
    check_names(spec, features, content, target)
    given = tuple(name.strip() for name in content.split(",")) if content else ()
    if objective.pixels is not None:
        return table.labelled(given or table.image(), target)
    if objective.start is not None:
        return table.pair(given, target)
    if objective.name == TOKENS and (tokens := given or table.tokens()):
        return table.tagged(tokens, target)
    return table.texts(given, target)


def check_dataset(spec: str, text_column: str | None, target_column: str | None) -> None:
    """Raise what is wrong with local data whatever the model is, from their first rows.

    Raises:
        DataError: there is no such data, it cannot be read, or it has neither texts nor images, or not these columns.
    """
    if spec != DEMO and find_files(spec) is None:
        check_reachable(spec)
        return
    features = features_of(spec)
    check_names(spec, features, text_column, target_column)
    if not any(is_text(f) or is_list(f, is_text) or is_image(f) or languages_of(f) for f in features.values()):
        raise DataError(
            f"data set {spec!r} has no text column",
            cause=f"its columns are {', '.join(features)}",
            remedy="give a data set with text or images",
        )


def check_names(spec: str, features: Features, content: str | None, target: str | None) -> None:
    """Raise DataError for a column, or a language of translations, that is not there."""
    known = [*features, *(language for feature in features.values() for language in languages_of(feature))]
    for kind, name in [*(("text column", name) for name in (content or "").split(",")), ("target column", target)]:
        if name and name.strip() not in known:
            raise DataError(f"data set {spec!r}: {unknown_name(kind, name.strip(), known)}")


def has_pairs(features: Features) -> bool:
    """Tell whether a data set has two columns of text that are read as one pair."""
    strings = {name for name, feature in features.items() if is_text(feature)}
    return any(strings.issuperset(pair) for pair in _PAIRS)


@dataclass(frozen=True)
class _Table:
    spec: str
    features: dict[str, Any]
    objective: Objective

    def labelled(self, content: tuple[str, ...], target: str | None) -> Columns:
        """Add the column of labels."""
        target = target or self._label(content)
        return Columns(content=content, target=target, names=names_of(self.features.get(target or "")))

    def texts(self, given: tuple[str, ...], target: str | None) -> Columns:
        """Find one text or a pair of them, and the label."""
        target = target or self._label(given)
        strings = [name for name, feature in self.features.items() if is_text(feature) and name != target]
        return self.labelled(given or self._texts(strings), target)

    def _label(self, content: tuple[str, ...]) -> str | None:
        """Find the column of labels: numbers, or words under a usual name."""
        if self.objective.classes is None:
            return None
        words = [name for name in _LABELS if is_text(self.features.get(name)) and name not in content]
        return self._one(_LABELS, is_label, "label", "target_column", content) or next(iter(words), None)

    def _texts(self, strings: list[str]) -> tuple[str, ...]:
        for pair in _PAIRS:
            if self.objective.classes is not None and set(pair) <= set(strings):
                return pair
        likely = [name for name in _TEXTS if name in strings]
        if likely or len(strings) == 1:
            return ((likely or strings)[0],)
        raise self._missing("text column", "text_column", strings)

    def tokens(self) -> tuple[str, ...]:
        """Find the column of words, if there is one."""
        lists = [name for name, feature in self.features.items() if is_list(feature, is_text) and name not in _TAGS]
        return tuple([name for name in ("tokens", "words") if name in lists] or lists)[:1]

    def tagged(self, content: tuple[str, ...], target: str | None) -> Columns:
        """Add the column of tags: of several, the one with as many classes as the model."""

        def fits(feature: Any) -> bool:
            return is_list(feature, lambda item: is_label(item) or is_text(item))

        if target is None:
            target = self._one(_TAGS, fits, "tag", "target_column", content)
        return Columns(content=content, target=target, names=names_of(item_of(self.features.get(target or ""))))

    def image(self) -> tuple[str, ...]:
        """Find the column of images."""
        found = [name for name, feature in self.features.items() if is_image(feature)]
        likely = [name for name in ("image", "img", "pixel_values") if name in found]
        if likely or len(found) == 1:
            return ((likely or found)[0],)
        raise self._missing("image column", "text_column", found)

    def pair(self, given: tuple[str, ...], target: str | None) -> Columns:
        """Find source and target; a column of translations is both. Without a target, plain text is enough."""
        strings = [name for name, feature in self.features.items() if is_text(feature)]
        both = [name for name, feature in self.features.items() if len(languages_of(feature)) == 2]
        known = languages_of(self.features[both[0]]) if both else ()
        if both and {*given, *([target] if target else [])} <= {*known}:
            backwards = given == known[1:] or target == known[0]
            return Columns(content=(both[0],), target=both[0], names=known[::-1] if backwards else known)
        if target is None:
            target = next(
                (two for one, two in _TRANSLATIONS if {one, two} <= set(strings) and given in ((), (one,))), None
            )
            sources = next((one for one, two in _TRANSLATIONS if {one, two} <= set(strings)), None)
            given = given or ((sources,) if sources else ())
        left = [name for name in strings if name != target]
        if not given and target is None and len(left) > 1 and not set(_TEXTS) & set(left):
            raise self._missing(
                "columns of source and target that are clear", "text_column, another target_column", left
            )
        given = given or self._texts(left)
        return Columns(content=given, target=target)

    def _one(
        self, names: tuple[str, ...], fits: Callable[[Any], bool], what: str, option: str, taken: tuple[str, ...]
    ) -> str | None:
        """Return the one column that fits, None if there is none."""
        found = [
            name for name, feature in self.features.items() if fits(feature) and name not in taken and not is_id(name)
        ]
        same = [name for name in found if len(names_of(item_of(self.features[name]))) == self.objective.classes]
        likely = [name for name in names if name in found]
        choice = same if len(same) == 1 else likely or found
        if len(choice) > 1 and choice is not likely:
            raise self._missing(f"{what} column that is clear", option, choice)
        return choice[0] if choice else None

    def _missing(self, what: str, option: str, found: list[str]) -> DataError:
        return DataError(
            f"data set {self.spec!r} has no {what}",
            cause=f"its columns are {', '.join(self.features)}",
            remedy=f"call one of them {option}: {', '.join(found)}" if found else "give a data set with one",
        )
