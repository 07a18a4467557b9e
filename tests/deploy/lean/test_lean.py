"""Every rewrite keeps what cut models compute, at three shapes with ragged masks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import fxprune
from fxprune.deploy import onnx as ladder
from fxprune.deploy.lean.flat import keep_axes
from fxprune.deploy.lean.heads import fold_heads
from fxprune.deploy.lean.masks import simplify_masks
from fxprune.deploy.lean.rotary import expand_caches
from fxprune.deploy.lean.sums import subtract_before_norms
from fxprune.deploy.lean.unpacking import unpack_products
from fxprune.deploy.ort import open_session, run
from fxprune.deploy.parity import worst_error
from fxprune.deploy.program import export_program

QUICK = ["BertForMaskedLM", "LlamaForCausalLM"]
LONG = ["ViTForImageClassification", "ModernBertForMaskedLM", "GPT2LMHeadModel", "T5ForConditionalGeneration"]
REWRITES = {
    "masks": [simplify_masks],
    "axes": [keep_axes],
    "parts": [keep_axes, unpack_products],
    "heads": [fold_heads],
    "sums": [subtract_before_norms],
}


@pytest.fixture(scope="module", params=[*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)])
def cut(request, all_tiny, folder):
    """A cut model, converted once; each rewrite gets a copy."""
    tiny = next(tiny for tiny in all_tiny if tiny.name == request.param)
    slim = fxprune.prune(tiny.build(), tiny.inputs(), ratio=0.5)
    exported = export_program(slim, tiny.inputs())
    runs = ladder._runs(exported)

    def error(session):
        return max(worst_error(run(session, kwargs), want) for kwargs, want in runs)

    file = folder / f"{tiny.name}.onnx"
    attempt = ladder._Attempt(exported, file, tuple(runs[0][1]), {}, error, 1e-5)
    plain = replace(ladder.LADDER[0], lean=False)
    return attempt, ladder._own(attempt.converted(plain), plain)


def ops_after(cut, rewrites, file: Path) -> Counter[str]:
    attempt, program = cut
    own = ladder._own(program, ladder.Rung(name="copy", opset=23, optimize=False))
    for rewrite in rewrites:
        rewrite(own.model.graph)
    ladder.tidy(own.model, attempt.exported.dims, {})
    ladder._save(own, file)
    assert attempt.error(open_session(file)) <= 1e-5
    return Counter(node.op_type for node in own.model.graph)


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_alone_changes_no_output(cut, name, tmp_path):
    ops_after(cut, [expand_caches, *REWRITES[name]], tmp_path / "model.onnx")


def test_all_of_them_leave_no_transposed_attention_and_few_ops(cut, tmp_path):
    attempt, program = cut
    export = attempt.export(ladder.LADDER[0])
    assert export.max_error <= 1e-5
    assert export.nodes < 0.75 * len(program.model.graph)
    assert export.fused["Attention"] >= 2
