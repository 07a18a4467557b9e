"""fxprune: a graph-rewriting structured-pruning compiler on torch.fx."""

from fxprune.api import analyse, capture, load, prune
from fxprune.errors import FxpruneError
from fxprune.groups import Group, Groups
from fxprune.plan import Plan

__all__ = ["FxpruneError", "Group", "Groups", "Plan", "analyse", "capture", "load", "prune"]
__version__ = "0.1.0"
