"""Rewrite passes over captured graphs, and the lists that say in which order they run."""

from fxprune.passes.base import Pass, PassResult, run_passes
from fxprune.passes.dead_code import DeadCode
from fxprune.passes.dropout_mode import DropoutMode
from fxprune.passes.explicit_sizes import ExplicitSizes
from fxprune.passes.expose_taps import ExposeTaps, HideTaps
from fxprune.passes.fold_numbers import FoldNumbers
from fxprune.passes.pick_positions import AllPositions, PickPositions
from fxprune.passes.pin_defaults import PinDefaults
from fxprune.passes.plain_views import PlainViews
from fxprune.passes.scalar_constants import ScalarConstants
from fxprune.passes.slice_units import SliceUnits

__all__ = [
    "CANONICAL",
    "AllPositions",
    "DeadCode",
    "DropoutMode",
    "ExplicitSizes",
    "ExposeTaps",
    "FoldNumbers",
    "HideTaps",
    "Pass",
    "PassResult",
    "PickPositions",
    "PinDefaults",
    "PlainViews",
    "ScalarConstants",
    "SliceUnits",
    "run_passes",
]

# after capture, before analysis
CANONICAL: list[Pass] = [PlainViews(), PinDefaults(), ExplicitSizes(), ScalarConstants(), DeadCode()]
