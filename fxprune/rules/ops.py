"""Op rules that need no code: pointwise ops, then one line an op."""

from __future__ import annotations

import torch

from fxprune.rules.table import first_only, overload, pin, pointwise, rule, rule_elsewhere
from fxprune.sizes import Size

aten = torch.ops.aten

_POINTWISE = """
    add.Tensor add.Scalar add_.Tensor add_.Scalar sub.Tensor sub.Scalar rsub.Scalar rsub.Tensor mul.Tensor
    mul.Scalar mul_.Tensor mul_.Scalar multiply.Tensor div.Tensor div.Scalar div_.Tensor div_.Scalar div.Tensor_mode
    true_divide.Tensor floor_divide remainder.Scalar fmod.Scalar pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar neg
    abs sign exp expm1 log log1p log2 sqrt rsqrt reciprocal square sin cos tan tanh sigmoid erf gelu relu relu_
    relu6 silu silu_ softplus elu celu selu leaky_relu hardtanh hardswish hardsigmoid mish log_sigmoid clamp
    clamp.Tensor clamp_min clamp_max minimum maximum min.other max.other floor ceil round trunc where.self
    where.ScalarOther where.ScalarSelf where.Scalar masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar
    eq.Tensor eq.Scalar ne.Tensor ne.Scalar lt.Tensor lt.Scalar le.Tensor le.Scalar gt.Tensor gt.Scalar ge.Tensor
    ge.Scalar logical_and logical_or logical_not logical_xor bitwise_not bitwise_and.Tensor bitwise_or.Tensor
    __and__.Tensor __and__.Scalar __or__.Tensor isnan isinf nan_to_num addcmul addcdiv lerp.Scalar lerp.Tensor
    to.dtype to.dtype_layout to.device contiguous clone alias detach detach_ lift_fresh_copy _to_copy dropout
    dropout_ zeros_like ones_like full_like empty_like rand_like randn_like fill.Scalar fill_.Scalar zero_ copy_
    real sub_.Tensor sub_.Scalar clamp_ clamp_min_ tanh_ sigmoid_ exp_ neg_ pow_.Scalar exp2 log10 erfc sinh cosh
    asin acos atan atan2 logaddexp isfinite bitwise_xor.Tensor div.Scalar_mode
"""

pointwise(*(op for name in _POINTWISE.split() if (op := overload(name)) is not None))
first_only(*(op for name in ("type_as", "to.other", "fill_.Tensor") if (op := overload(name)) is not None))

rule(aten.linear.default, "... i, o i, o? -> ... o")
rule(aten.mm.default, "i k, k j -> i j")
rule(aten.bmm.default, "b i k, b k j -> b i j", roles={"b": "heads", "k": "qk"})
rule(aten.dot.default, "k, k -> ")
rule(aten.mv.default, "i k, k -> i")
rule(aten.outer.default, "i, j -> i j")

rule(aten.embedding.default, "v! d, ... -> ... d", reason="rows are picked by data")

rule_elsewhere(  # rows sorted by expert, and where the rows of each end
    "transformers::grouped_mm_fallback", "t! i, e! i o, e! -> t! o", reason="rows go to experts by data"
)


def _inverse_root(size: Size) -> float:
    assert isinstance(size, int), "a head of symbolic width"
    return size**-0.5


pin(aten.scaled_dot_product_attention.default, scale=lambda call: _inverse_root(call.x[-1]))
