"""Other precisions of an exported model: int8 and float16 files beside the float32 one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from fxprune.cli.graphs import Opened
from fxprune.deploy.agreement import Agreement
from fxprune.deploy.fp16 import TOLERANCE, across, export_fp16
from fxprune.deploy.grids import comparison_inputs
from fxprune.deploy.int8 import STATIC, Int8Export, export_int8
from fxprune.deploy.onnx import export_onnx
from fxprune.deploy.onnx_facts import export_facts
from fxprune.distillation.calibration import calibration_inputs
from fxprune.errors import UsageError

Say = Callable[[str], None]
Written = tuple[Path, dict[str, Any], str]  # the file, facts about it, and a line to print


def export_plain(opened: Opened, output: Path, provider: str) -> Written:
    """Export to float32, checked against PyTorch on the processor; another provider is compared with that."""
    done = export_onnx(opened.traced, opened.examples, output)
    facts: dict[str, Any] = export_facts(done)
    line = f"{done.path}  opset {done.opset} ({done.rung}), largest error {done.max_error:.1e}"
    fused = ", ".join(f"{number} {name}" for name, number in done.fused.items()) or "none"
    line += f"\nONNX Runtime runs {done.nodes} operators; fused among them: {fused}"
    if provider != "cpu":
        found = across(done.path, comparison_inputs(opened.examples, opened.traced), provider)
        facts |= {"provider": provider, "provider_max_error": found.max_error}
        line += f"\n{provider} against cpu {found.max_error:.1e}"
    return done.path, facts, line


def export_int8_of(
    opened: Opened, output: Path, mode: str, dataset: str | None, batches: int, *, tables: bool, say: Say
) -> Written:
    """Export to float32 in a folder for the time being, and quantise that."""
    calibration = texts(opened, mode, dataset, batches)
    with tempfile.TemporaryDirectory() as folder:
        dense = export_onnx(opened.traced, opened.examples, Path(folder) / "float32.onnx")
        say("quantising")
        examples = comparison_inputs(opened.examples, opened.traced)
        done = export_int8(dense.path, output, examples, calibration=calibration, tables=tables)
    facts = {"opset": dense.opset, "rung": dense.rung, "float32_max_error": dense.max_error, **done.to_data()}
    return done.path, facts, int8_line(done)


def int8_line(done: Int8Export) -> str:
    """Say what an int8 file is."""
    found = done.agreement
    how = f", ranges by {done.calibrator}" if done.calibrator else ""
    return (
        f"{done.path}  int8 {done.mode}{how}, {done.bits}-bit weights, "
        f"{done.products} products of {done.products + done.left}, "
        f"{done.bytes_before / 1e6:.1f} -> {done.bytes / 1e6:.1f} MB, cosine {found.cosine:.5f}, "
        f"largest error {found.max_error:.1e}{_top1(found.top1)}"
    )


def int8_steps_line(found: Agreement) -> str:
    """Say how far int8 graphs, step by step, are from the model without a cache."""
    return f"step by step, cosine {found.cosine:.5f}, largest error {found.max_error:.1e}{_top1(found.top1)}"


def export_fp16_of(opened: Opened, output: Path, provider: str) -> Written:
    """The same in float16."""
    with tempfile.TemporaryDirectory() as folder:
        dense = export_onnx(opened.traced, opened.examples, Path(folder) / "float32.onnx")
        examples = comparison_inputs(opened.examples, opened.traced)
        done = export_fp16(dense.path, output, examples, provider=provider)
    found = done.agreement
    line = (
        f"{done.path}  float16, {done.bytes_before / 1e6:.1f} -> {done.bytes / 1e6:.1f} MB, cosine {found.cosine:.5f}, "
        f"largest error {found.max_error:.1e} ({TOLERANCE:.0e} is allowed){_top1(found.top1)}; checked on {provider}"
    )
    if provider == "cpu":
        line += "\nfloat16 is for GPUs: a processor converts it and is slower than with float32"
    facts = {"opset": dense.opset, "rung": dense.rung, "float32_max_error": dense.max_error, "provider": provider}
    facts |= {"bytes": done.bytes, "bytes_float32": done.bytes_before, "tolerance": TOLERANCE}
    return done.path, {**facts, "max_error": found.max_error, "cosine": found.cosine, "top1": found.top1}, line


def texts(opened: Opened, mode: str, dataset: str | None, batches: int) -> list[Mapping[str, torch.Tensor]]:
    """Return what a static int8 file is calibrated on; nothing for a dynamic one.

    Raises:
        UsageError: it needs text, and there is none.
    """
    if mode != STATIC:
        return []
    if dataset is None:
        raise UsageError("static int8 needs text to calibrate on", remedy="pass --dataset TEXT, or --int8 dynamic")
    return list(calibration_inputs(opened.traced, opened.tokenizer, dataset, batches))


def _top1(share: float | None) -> str:
    return "" if share is None else f", same largest logit {share:.1%}"
