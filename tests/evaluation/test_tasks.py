"""The table of tasks: what GLUE and SQuAD say."""

from __future__ import annotations

import pytest

from fxprune.errors import UsageError
from fxprune.evaluation.config import EvaluationConfig
from fxprune.evaluation.metrics import METRICS
from fxprune.evaluation.tasks import TASKS, find_task

GLUE = {
    "cola": (("sentence",), 2, ("matthews",)),
    "sst2": (("sentence",), 2, ("accuracy",)),
    "mrpc": (("sentence1", "sentence2"), 2, ("f1", "accuracy")),
    "stsb": (("sentence1", "sentence2"), 1, ("pearson", "spearman")),
    "qqp": (("question1", "question2"), 2, ("f1", "accuracy")),
    "mnli": (("premise", "hypothesis"), 3, ("accuracy",)),
    "qnli": (("question", "sentence"), 2, ("accuracy",)),
    "rte": (("sentence1", "sentence2"), 2, ("accuracy",)),
    "wnli": (("sentence1", "sentence2"), 2, ("accuracy",)),
}


@pytest.mark.parametrize("name", GLUE)
def test_a_glue_task_has_its_columns_classes_and_official_metrics(name):
    task = TASKS[name]
    assert (task.texts, task.classes, task.metrics) == GLUE[name]
    assert task.hub == ("nyu-mll/glue", name)
    assert set(task.metrics) <= set(METRICS)
    assert (len(task.held_out) == 2) == (name == "mnli")


def test_all_other_tasks_are_squad_and_similarity():
    assert TASKS.keys() - GLUE.keys() == {"squad", "squad_v2", "text-similarity"}
    assert TASKS["squad"].hub == ("rajpurkar/squad", None)
    assert not TASKS["text-similarity"].trains


def test_small_sets_are_seen_more_often():
    epochs = {name: task.recipe.epochs for name, task in TASKS.items()}
    assert min(epochs[name] for name in ("cola", "mrpc", "stsb", "rte", "wnli")) > epochs["mnli"]


def test_an_unknown_task_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="unknown task 'sst-2'; did you mean 'sst2'") as error:
        find_task("sst-2")
    assert "squad_v2" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seeds": 0}, "seeds is 0"),
        ({"epochs": -1.0}, "epochs is -1.0"),
        ({"epochs": float("nan")}, "epochs is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"length": 4}, "length is 4"),
        ({"train_rows": 0}, "train_rows is 0"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"epochs": 1.0, "max_steps": 5}, "both epochs and max_steps"),
        ({"null_threshold": float("nan")}, "null_threshold is nan"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        EvaluationConfig(**settings)


def test_what_is_left_out_comes_from_the_task():
    recipe = EvaluationConfig(learning_rate=1e-3).recipe(TASKS["squad_v2"])
    assert (recipe.learning_rate, recipe.epochs, recipe.batch_size, recipe.length) == (1e-3, 2.0, 48, 384)
    assert EvaluationConfig().steps(recipe, 100) == 5  # 200 windows in batches of 48
    assert EvaluationConfig(max_steps=7).steps(recipe, 100) == 7


def test_a_window_needs_room_for_question_and_context():
    assert EvaluationConfig(length=8).recipe(TASKS["sst2"]).length == 8
    with pytest.raises(UsageError, match="length is 31, too short for question and context"):
        EvaluationConfig(length=31).recipe(TASKS["squad"])
