"""int8 graphs that generate: near the model, a fraction of the bytes, and found by the loop."""

from __future__ import annotations

import shutil

import onnx
import pytest
from generating import PROMPTS, build

from fxprune.deploy.generation import quantising
from fxprune.deploy.generation.generator import OnnxGenerator
from fxprune.deploy.generation.quantising import quantise
from fxprune.deploy.generation.stage import generation_facts
from fxprune.deploy.generation.writing import export_generation
from fxprune.errors import DeployError, SourceError

pytestmark = pytest.mark.captures
GRAPH, INT8 = "decoder_with_past.onnx", "decoder_with_past.int8.onnx"


@pytest.fixture(scope="module")
def both(llama, tmp_path_factory):
    """A folder with graphs in both precisions, and what was said of them."""
    folder = tmp_path_factory.mktemp("both") / "onnx"
    shutil.copytree(llama[1] / "onnx", folder)
    return folder, quantise(llama[2], folder)


def test_a_graph_is_quantised_beside_its_original(both, llama):
    folder, written = both
    assert sorted(file.name for file in folder.iterdir()) == [INT8, GRAPH, "generation.json"]
    assert (written.graphs, written.files) == (llama[2].graphs, llama[2].files)
    made = written.int8[INT8]
    assert made.path == folder / INT8
    assert (made.products, made.left) == (15, 0)
    assert made.bytes < made.bytes_before / 2
    assert made.agreement.cosine > 0.99
    assert 0.99 < written.int8_agreement.cosine < 1.0
    assert written.int8_agreement.top1 > 0.8
    ops = {node.op_type for node in onnx.load(made.path).graph.node}
    assert "MatMulInteger" in ops
    assert "MatMul" not in ops


def test_facts_tell_of_both(both):
    facts = generation_facts(both[1])
    assert facts["int8"][INT8]["mode"] == "dynamic"
    assert facts["int8_agreement"]["top1"] == both[1].int8_agreement.top1


def test_the_loop_takes_float32_unless_told(both, llama):
    folder = both[0].parent
    dense, small = OnnxGenerator(folder, 1), OnnxGenerator(folder, 1, int8=True)
    inputs = {generator: generator.stepper.session.get_inputs() for generator in (dense, small)}
    assert [value.name for value in inputs[dense]] == [value.name for value in inputs[small]]
    want, got = dense.generate(PROMPTS, 6), small.generate(PROMPTS, 6)
    assert want == OnnxGenerator(llama[1], 1).generate(PROMPTS, 6)
    assert [len(row) for row in got] == [6] * len(PROMPTS)
    same = [a == b for one, two in zip(want, got, strict=True) for a, b in zip(one[:1], two[:1], strict=True)]
    assert sum(same) >= len(same) - 1


def test_a_folder_of_int8_alone_generates(both, tmp_path):
    for name in (INT8, "generation.json"):
        shutil.copy(both[0] / name, tmp_path)
    assert OnnxGenerator(tmp_path, 1).generate(PROMPTS, 3) == OnnxGenerator(both[0], 1, int8=True).generate(PROMPTS, 3)


def test_int8_is_not_made_up(llama):
    with pytest.raises(SourceError, match="holds no int8 ONNX files that generate") as caught:
        OnnxGenerator(llama[1], int8=True)
    assert "--with-past --int8 --output" in str(caught.value)
    assert f"there is no {INT8}" in str(caught.value)


@pytest.mark.slow
def test_nothing_is_left_of_a_pair_half_quantised(tmp_path, monkeypatch):
    folder = tmp_path / "onnx"
    written = export_generation(build("t5"), folder)
    there = sorted(folder.iterdir())
    real = quantising.export_int8

    def fail_second(source, path, examples, **options):
        if source.name == "decoder.onnx":
            raise DeployError("the model cannot be quantised")
        return real(source, path, examples, **options)

    monkeypatch.setattr(quantising, "export_int8", fail_second)
    with pytest.raises(DeployError):
        quantise(written, folder)
    assert sorted(folder.iterdir()) == there
    monkeypatch.setattr(quantising, "export_int8", real)
    made = quantise(written, folder)
    assert set(made.int8) == {"encoder.int8.onnx", "decoder.int8.onnx"}
    assert made.int8_agreement.cosine > 0.99
    want, got = (OnnxGenerator(tmp_path, 1, int8=int8).generate(PROMPTS, 3) for int8 in (False, True))
    assert [len(row) for row in want] == [len(row) for row in got]
