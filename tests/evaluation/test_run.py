"""A model learns a task, is scored by its metrics, and the same seed gives the same scores."""

from __future__ import annotations

import pytest
import torch
import transformers
from evaluating import QUICK, tokenizer, write_model, write_task

import fxprune
from fxprune.errors import EvaluationError, UsageError
from fxprune.evaluation import EvaluationConfig, evaluate
from fxprune.evaluation.tasks import TASKS


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def data(tmp_path, task, **counts):
    write_task(tmp_path / task, task, **counts)
    return tmp_path


@pytest.mark.parametrize(
    ("task", "least", "metrics"),  # chance is 0; of accuracy, F1 and squad_v2 at most 2/3
    [
        ("cola", 0.9, {"matthews"}),
        ("mrpc", 0.9, {"f1", "accuracy"}),
        ("stsb", 0.8, {"pearson", "spearman"}),  # three levels, so the ranks hold many ties
        ("mnli", 0.8, {"accuracy_matched", "accuracy_mismatched"}),
        ("squad", 0.9, {"exact", "f1"}),
        ("squad_v2", 0.9, {"exact", "f1", "best_exact", "best_f1"}),
    ],
)
def test_a_tiny_model_learns_the_task(model, tmp_path, task, least, metrics):
    done = evaluate(model, task, data=data(tmp_path, task), **QUICK)
    scores = done.runs[0].scores
    assert set(scores) - {"best_f1_threshold"} == metrics
    assert min(scores[name] for name in metrics) > least, scores
    assert max(scores[name] for name in metrics) <= 1
    assert set(done.rows) == {"train", *TASKS[task].held_out}
    assert done.parameters == sum(p.numel() for p in transformers.AutoModel.from_pretrained(model).parameters())
    assert done.settings["steps"] == 100
    assert len(done.fresh) == 2  # weight and bias of the head


@pytest.mark.parametrize("task", ["stsb", "squad_v2"])
def test_bfloat16_learns_the_same(model, tmp_path, task):
    folder = data(tmp_path, task)
    done = [evaluate(model, task, data=folder, **QUICK, bf16=bf16) for bf16 in (False, True)]
    assert done[1].headline[0] > 0.8
    assert done[0].runs[0].loss != done[1].runs[0].loss  # other numbers, so it was used
    assert done[1].runs[0].loss == pytest.approx(done[0].runs[0].loss, abs=0.1)


def test_without_learning_the_scores_are_those_of_chance(model, tmp_path):
    done = evaluate(model, "mnli", data=data(tmp_path, "mnli"), **QUICK | {"learning_rate": 1e-9, "max_steps": 2})
    assert done.headline[0] < 0.6


def test_seeds_differ_and_each_is_repeatable(model, tmp_path):
    folder, short = data(tmp_path, "stsb"), QUICK | {"max_steps": 4}
    done = evaluate(model, "stsb", data=folder, **short | {"seeds": 3})
    again = evaluate(model, "stsb", data=folder, **short | {"seeds": 2})
    assert [run.seed for run in done.runs] == [0, 1, 2]
    assert [run.scores for run in done.runs[:2]] == [run.scores for run in again.runs]
    assert len({run.scores["pearson"] for run in done.runs}) == 3
    values = sorted(done.scores["pearson"])
    assert done.median["pearson"] == values[1]
    assert done.spread["pearson"] == (values[0], values[2])


def test_random_numbers_of_the_caller_are_left_alone(model, tmp_path):
    torch.manual_seed(7)
    want = torch.rand(3)
    torch.manual_seed(7)
    evaluate(model, "cola", data=data(tmp_path, "cola"), **QUICK | {"max_steps": 1})
    assert torch.equal(torch.rand(3), want)


def test_epochs_become_steps_and_rows_can_be_fewer(model, tmp_path):
    told = []
    done = evaluate(
        model,
        "sst2",
        data=data(tmp_path, "sst2"),
        seeds=1,
        epochs=1.5,
        batch_size=8,
        train_rows=30,
        validation_rows=9,
        on_step=lambda *progress: told.append(progress),
    )
    assert done.rows == {"train": 30, "validation": 9}
    assert done.settings["steps"] == 6  # 45 rows in eights
    assert [step for _, step, _, _ in told] == [1, 2, 3, 4, 5, 6]
    assert {(seed, steps) for seed, _, steps, _ in told} == {(0, 6)}


def test_zero_epochs_score_a_trained_head_as_it_is_and_refuse_a_random_one(model, tmp_path):
    folder = data(tmp_path, "sst2")
    with pytest.raises(UsageError, match="has no head for task 'sst2', and without fine-tuning a random one") as no:
        evaluate(model, "sst2", data=folder, epochs=0)
    assert "classifier.weight" in no.value.cause
    ready = write_model(tmp_path / "ready", "BertForSequenceClassification")
    (folder / "sst2" / "train.parquet").unlink()  # not needed
    done = evaluate(ready, "sst2", data=folder, max_steps=0)
    assert done.rows == {"validation": 60}
    assert (len(done.runs), done.runs[0].loss, done.settings["steps"]) == (1, None, 0)


def test_a_model_in_memory_is_evaluated_like_its_folder_and_not_changed(model, tmp_path):
    folder, short = data(tmp_path, "rte"), QUICK | {"max_steps": 3}
    loaded = transformers.BertModel.from_pretrained(model)
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    done = evaluate(loaded, "rte", data=folder, tokenizer=tokenizer(), **short)
    assert done.runs[0].scores == evaluate(model, "rte", data=folder, **short).runs[0].scores
    assert done.model == "BertModel"
    assert all(torch.equal(before[name], tensor) for name, tensor in loaded.state_dict().items())


def test_a_student_learns_from_memory_and_from_the_folder_fxprune_wrote(model, tmp_path):
    loaded = transformers.BertModel.from_pretrained(model)
    ids = {"input_ids": torch.randint(5, 40, (5, 13)), "attention_mask": torch.ones(5, 13, dtype=torch.int64)}
    student = fxprune.prune(loaded, ids, ratio=0.5, free_outputs=True)
    out = student.save(tmp_path / "out")
    tokenizer().save_pretrained(out)
    folder = data(tmp_path, "qnli")
    done = [evaluate(m, "qnli", data=folder, tokenizer=tokenizer(), **QUICK) for m in (student, out)]
    assert done[0].headline == done[1].headline
    assert done[0].headline[0] > 0.9
    assert done[0].parameters == student.num_parameters() < loaded.num_parameters()


def test_a_loss_that_explodes_is_told_with_its_step(model, tmp_path, monkeypatch):
    from fxprune.evaluation.sentences import SentenceTask

    monkeypatch.setattr(SentenceTask, "loss", lambda self, output, targets: output.logits.sum() * float("nan"))
    with pytest.raises(EvaluationError, match="the loss is nan at step 1 of fine-tuning with seed 0") as error:
        evaluate(model, "wnli", data=data(tmp_path, "wnli"), **QUICK)
    assert error.value.remedy == "lower the learning rate, which is 0.002"


def test_config_and_single_settings_exclude_each_other(model):
    with pytest.raises(UsageError, match="config or single settings, not both"):
        evaluate(model, "sst2", config=EvaluationConfig(), seeds=2)


def test_a_model_that_takes_too_few_tokens_for_a_window_is_refused(tmp_path):
    short = write_model(tmp_path / "short", max_position_embeddings=20)
    with pytest.raises(UsageError, match="length is 20, too short for question and context"):
        evaluate(short, "squad", data=data(tmp_path, "squad"), **QUICK)
