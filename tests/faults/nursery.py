"""A process that has imported and captured everything, and forks runs that are to be killed: each starts at once.

It reads one task a line on stdin, as JSON, and answers each with one line once its child has ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from models import _BERT, _hugging
from remembering import remembered
from safetensors.torch import save_file
from text import tokenizer
from torch import nn

from faults import points
from fxprune import tracing
from fxprune.distillation.checkpoints.keeper import Keeping
from fxprune.distillation.config import DistillConfig, ScheduleConfig
from fxprune.distillation.run import distill
from fxprune.errors import FxpruneError
from fxprune.sources import example_inputs, load_model

CONFIG = DistillConfig(
    target_params="40%",
    max_steps=30,
    batch_size=2,
    length=12,
    held_out_batches=2,
    eval_every=10,
    device="cpu",
    loadable=False,
    schedule=ScheduleConfig(interval=3, end=0.8),
)
RESULT = "result.safetensors"
OPTIONS = ("--target-params", "50%", "--max-steps", "10", "--batch-size", "2", "--length", "12", "--eval-every", "5")
OPTIONS = (*OPTIONS, "--interval", "2", "--checkpoint-every", "4", "--device", "cpu", "--no-latency", "--overwrite")


def dense() -> nn.Module:
    torch.manual_seed(0)
    return _hugging("BertForMaskedLM", **_BERT)().eval()


def warm_up(task: dict[str, Any]) -> None:
    """Capture here what every child would capture anew."""
    if task["kind"] == "distil":
        tracing.capture(dense(), example_inputs(dense(), tokenizer()))
    else:
        source = load_model(task["arguments"][0])
        tracing.capture(source.model, example_inputs(source.model, source.tokenizer))


def distil(folder: Path, dataset: str, *, resume: bool) -> None:
    """Run, and leave the weights of the student and what was measured."""
    keeping = Keeping(folder=folder, every=4, resume=resume)
    result = distill(dense(), tokenizer(), dataset, CONFIG, keeping=keeping)
    told = [float(value) for step in result.history for value in step.losses.values()]
    measured = [*result.held_out["student"].values(), *result.held_out["teacher"].values()]
    tensors = {name: tensor.clone() for name, tensor in result.student.state_dict().items()}
    numbers = {"told": torch.tensor(told), "measured": torch.tensor(measured)}
    save_file({**tensors, **numbers}, folder / RESULT)


def command(folder: Path, model: str, dataset: str, *, resume: bool) -> None:
    """Run ``fxprune distill``, new or resumed."""
    from fxprune.cli import main

    new = ("distill", model, "--dataset", dataset, "--output", str(folder), *OPTIONS)
    main(["distill", "--resume", str(folder)] if resume else list(new))


def serve() -> None:
    """Fork a child for each task."""
    torch.set_num_threads(1)
    warm = set[str]()
    with remembered():
        for line in sys.stdin:
            task = json.loads(line)
            if task["kind"] not in warm:
                warm_up(task)
                warm.add(task["kind"])
            print(json.dumps(_forked(task)), flush=True)


def _forked(task: dict[str, Any]) -> dict[str, Any]:
    """Return how a child ended (exit code, or minus the signal that ended it), and how often it came by each point."""
    folder = Path(task["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        _in_child(task, folder)
    _, status = os.waitpid(child, 0)
    passed = folder / points.PASSED
    counts = json.loads(passed.read_text()) if passed.exists() else {}
    passed.unlink(missing_ok=True)
    return {"ended": os.waitstatus_to_exitcode(status), "passed": counts}


def _in_child(task: dict[str, Any], folder: Path) -> None:
    said = os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    code = 1
    try:
        with points.installed(task.get("fault"), folder):
            if after := task.get("cpu_seconds"):
                signal.setitimer(signal.ITIMER_PROF, after)  # nobody handles SIGPROF: it ends the process at once
            kinds: dict[str, Callable[..., None]] = {"distil": distil, "command": command}
            kinds[task["kind"]](folder, *task["arguments"], resume=task["resume"])
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    except FxpruneError as error:
        print(f"{type(error).__name__}: {error}")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
