"""A user's mistake is told in one sentence with its remedy, exit code 2, and nothing on disk is changed."""

from __future__ import annotations

import json

import pytest
import torch

import fxprune

PRUNE = ("prune", "--no-latency", "--model")
DISTILL = ("distill", "--no-latency", "--max-steps", 2, "--batch-size", 2, "--length", 8, "--model")


def test_an_unknown_model_name(refused):
    said = refused(*PRUNE, "nobody/nothing", "--ratio", 0.5)
    assert said.startswith("loading nobody/nothing\nSourceError: ")
    assert "'nobody/nothing' is neither a folder nor in the local cache, and there is no network" in said
    assert "remedy  connect to the network" in said


def test_a_model_folder_that_is_not_there(refused):
    said = refused(*PRUNE, "./none", "--ratio", 0.5)
    assert "there is no model folder './none'" in said
    assert "remedy" in said


def test_a_folder_without_weights(refused, own_bert):
    (own_bert / "model.safetensors").unlink()
    said = refused(*PRUNE, own_bert, "--ratio", 0.5)
    assert "has no weights" in said
    assert "remedy  put model.safetensors beside config.json" in said


def test_a_folder_without_a_tokenizer(refused, own_bert, text):
    (own_bert / "tokenizer.json").unlink()
    (own_bert / "tokenizer_config.json").unlink()
    said = refused(*DISTILL, own_bert, "--dataset", text, "--target-params", "50%")
    assert "has no tokenizer" in said
    assert "remedy  put the tokenizer's files" in said


def test_no_network_for_the_default_data_set(refused, bert):
    said = refused(*DISTILL, bert, "--target-params", "50%")
    assert "needs a network, and there is none" in said
    assert "--dataset demo" in said


def test_a_data_set_of_the_hub_without_a_network(refused, bert):
    said = refused(*DISTILL, bert, "--dataset", "nobody/texts", "--target-params", "50%")
    assert "'nobody/texts' is neither a file nor a folder, and there is no network" in said
    assert "--dataset demo" in said


def test_a_target_larger_than_the_model(refused, bert):
    said = refused(*PRUNE, bert, "--target-params", "150%")
    assert "is larger than the model" in said
    assert "cause   it has 1" in said
    assert "remedy  choose a target below 1" in said


def test_a_target_smaller_than_the_smallest_reachable_size(refused, bert, text):
    said = refused(*PRUNE, bert, "--target-params", "10")
    assert "the target of 10 parameters is out of reach" in said
    assert "the smallest reachable size is " in said
    assert "remedy  choose a target of at least " in said
    assert "out of reach" in refused(*DISTILL, bert, "--dataset", text, "--target-params", "10")


@pytest.mark.parametrize("target", ["15X", "many", "-5", ""])
def test_a_target_that_is_no_number(refused, bert, target):
    said = refused(*PRUNE, bert, f"--target-params={target}")
    assert f"cannot read the target '{target}'; write it as 15M, 14500000 or 25%" in said


def test_a_data_set_without_a_text_column(refused, bert, here):
    (here / "numbers.jsonl").write_text("".join(json.dumps({"n": i}) + "\n" for i in range(5)))
    said = refused(*DISTILL, bert, "--dataset", "numbers.jsonl", "--target-params", "50%")
    assert "'numbers.jsonl' has no text column" in said
    assert "its columns are n" in said
    assert "remedy" in said


def test_a_text_column_that_is_not_there(refused, bert, here):
    (here / "rows.jsonl").write_text(json.dumps({"title": "w1 w2", "body": "w3"}) + "\n")
    said = refused(*DISTILL, bert, "--dataset", "rows.jsonl", "--text-column", "bodi", "--target-params", "50%")
    assert "did you mean 'body'?" in said


@pytest.mark.parametrize(
    ("content", "complaint"), [("", "is empty"), (" \n\n", "is empty"), ("{not json", "cannot be read")]
)
def test_a_data_set_that_is_empty_or_unreadable(refused, bert, here, content, complaint):
    (here / "bad.jsonl").write_text(content)
    said = refused(*DISTILL, bert, "--dataset", "bad.jsonl", "--target-params", "50%")
    assert complaint in said
    assert "remedy" in said


@pytest.mark.parametrize("command", [PRUNE, DISTILL])
def test_an_output_folder_that_is_not_empty(refused, here, command):
    (here / "out").mkdir()
    (here / "out" / "notes.txt").write_text("mine")
    said = refused(*command, "a-model-that-is-never-looked-for", "--target-params", "50%")
    assert said.startswith("UsageError: output folder 'out' is not empty")
    assert "pass --overwrite" in said


def test_the_output_folder_may_not_be_the_model(refused, own_bert):
    said = refused(*PRUNE, own_bert, "--ratio", 0.5, "--output", own_bert, "--overwrite")
    assert "is the folder of the model itself" in said


def test_a_model_that_cannot_be_captured(refused, bert, monkeypatch):
    from transformers.models.bert.modeling_bert import BertEncoder

    forward = BertEncoder.forward

    def choosy(self, hidden_states, *args, **kwargs):
        if hidden_states.sum() > 0:  # decides by the data
            return forward(self, hidden_states, *args, **kwargs)
        return forward(self, -hidden_states, *args, **kwargs)

    monkeypatch.setattr(BertEncoder, "forward", choosy)
    said = refused(*PRUNE, bert, "--ratio", 0.5)
    assert "BertForMaskedLM cannot be captured as one graph" in said
    assert "test_bad_input.py" in said
    assert "if hidden_states.sum() > 0:" in said
    assert "module  bert.encoder" in said
    assert len(said.splitlines()) < 9  # not a page of graph


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
def test_cuda_without_a_device(refused):
    said = refused(*DISTILL, "never-loaded", "--dataset", "demo", "--target-params", "50%", "--device", "cuda")
    assert said.startswith("UsageError: there is no CUDA device")
    assert "remedy  use --device cpu" in said
    said = refused(*DISTILL, "never-loaded", "--dataset", "demo", "--target-params", "50%", "--device", "toaster")
    assert said.startswith("UsageError: unknown device 'toaster'")


def test_a_plan_of_another_model(refused, bert, here):
    fxprune.Plan(model="0123456789abcdef", groups={}, tensors={"vit.weight": ("1",)}).save(here / "plan.json")
    said = refused(*PRUNE, bert, "--plan", "plan.json")
    assert "the plan belongs to another model" in said
    assert "remedy  apply a plan to the dense model it was made from" in said


@pytest.mark.parametrize("content", [None, "nonsense", "{}", "[]"])
def test_a_plan_file_that_is_none(refused, here, content):
    if content is not None:
        (here / "plan.json").write_text(content)
    said = refused(*PRUNE, "never-loaded", "--plan", "plan.json")
    assert said.startswith("PlanError: ")
    assert "remedy" in said


def test_an_image_model_cannot_be_distilled_on_text(refused, models, text):
    said = refused(*DISTILL, models / "vit", "--dataset", text, "--target-params", "50%")
    assert "'text.txt' has no image column" in said


@pytest.mark.parametrize("arguments", [(), ("--ratio", 0.5, "--target-params", "50%")])
def test_prune_needs_one_target(refused, arguments):
    said = refused(*PRUNE, "never-loaded", *arguments)
    assert said.startswith("UsageError: give one of --target-params, --target-flops, --target-latency, --ratio, --plan")


def test_distill_needs_a_target(refused):
    assert refused(*DISTILL, "never-loaded").startswith(
        "UsageError: give one of --target-params, --target-flops, --target-ratio"
    )


@pytest.mark.parametrize("option", [("--ratio", 0), ("--ratio", 1.5), ("--grid", "4"), ("--threads", 0)])
def test_values_out_of_range(refused, option):
    said = refused(*PRUNE, "never-loaded", *option)
    assert f"Invalid value for '{option[0]}'" in said


def test_an_unknown_score(refused, text):
    said = refused(*DISTILL, "x", "--dataset", text, "--target-params", "50%", "--importance", "sensitivty")
    assert "unknown score 'sensitivty'; did you mean 'sensitivity'?" in said


def test_an_unknown_command(refused):
    assert "No such command 'distil'. Did you mean 'distill'?" in refused("distil")


@pytest.mark.parametrize("command", [("export", "--output"), ("inspect", "--graph")])
def test_files_are_not_overwritten_unasked(refused, here, command):
    (here / "mine").write_text("mine")
    said = refused(command[0], "--model", "never-loaded", command[1], "mine")
    assert "'mine' exists" in said
    assert "--overwrite" in said


def test_bench_refuses_what_it_cannot_compare(refused, bert, models, here):
    assert "there is no ONNX file 'none.onnx'" in refused("bench", "none.onnx", bert)
    assert "the same model stands twice" in refused("bench", bert, bert)
    (here / "bad.onnx").write_text("nonsense")
    assert "'bad.onnx' is no ONNX file" in refused("bench", "bad.onnx")


def test_errors_are_json_too(run, here):
    result = run(*PRUNE, "./none", "--ratio", 0.5, "--json")
    assert result.exit_code == 2
    told = json.loads(result.stdout)
    assert told["error"] == "SourceError"
    assert told["message"] == "there is no model folder './none'"
    assert told["remedy"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--repair", "least-squares"), "there is nothing to calibrate on"),
        (("--dataset", "demo"), "--dataset is the text of a repair, and none is asked for"),
        (("--repair", "least-squares", "--dataset", "none.txt"), "there is no file 'none.txt'"),
        (("--repair", "least-squares", "--repair-batches", 1), "1 is not in the range x>=2"),
        (("--repair", "ridge"), "'ridge' is not one of 'none', 'least-squares'"),
    ],
)
def test_a_repair_without_its_text(refused, bert, options, said):
    assert said in refused(*PRUNE, bert, "--ratio", 0.5, *options)


def test_a_repair_of_a_model_without_a_tokenizer(refused, own_bert):
    for file in own_bert.glob("tokenizer*"):
        file.unlink()
    said = refused(*PRUNE, own_bert, "--ratio", 0.5, "--repair", "least-squares", "--dataset", "demo")
    assert "text to calibrate on needs a tokenizer, and the model comes without one" in said
    assert "remedy  calibrate in Python" in said


def test_a_repair_of_units_that_were_zeroed_before(refused, bert, text):
    said = refused(
        *DISTILL, bert, "--dataset", text, "--target-params", "50%", "--repair", "least-squares", "--rewrite-every", 2
    )
    assert "a repair follows a cut, and with rewrite_every 2 units are zeroed before it" in said
