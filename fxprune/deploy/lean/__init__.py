"""Rewrites of an ONNX graph that ONNX Runtime then runs faster; every one is in ops of the standard domain.

They look at ops and shapes only, and each leaves alone what it cannot prove. What they make is checked by the ladder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def make_lean(model: ir.Model, *, stepping: bool = False) -> None:
    """Rewrite `model`, already optimised by the exporter, in place.

    Args:
        model: of one graph.
        stepping: whether it mostly computes one row at once, which is too little to part a product for.
    """
    import onnx_ir.passes.common as common

    from fxprune.deploy.lean.attention import fold_attention
    from fxprune.deploy.lean.flat import keep_axes
    from fxprune.deploy.lean.heads import fold_heads
    from fxprune.deploy.lean.masks import simplify_masks, spread_masks
    from fxprune.deploy.lean.rotary import expand_caches
    from fxprune.deploy.lean.sums import subtract_before_norms
    from fxprune.deploy.lean.unpacking import unpack_products

    parting = [] if stepping else [unpack_products]
    rest = [fold_attention, spread_masks, fold_heads, keep_axes, expand_caches, subtract_before_norms]
    for rewrite in [simplify_masks, keep_axes, *parting, *rest]:
        rewrite(model.graph)
        common.CommonSubexpressionEliminationPass()(model)
        common.RemoveUnusedNodesPass()(model)
