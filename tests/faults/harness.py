"""Runs that are killed again and again, resumed each time, and compared with one that never was."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from models import _BERT, _hugging
from text import tokenizer, write_jsonl

NURSERY = Path(__file__).with_name("nursery.py")
SIGKILL, SIGPROF = -9, -27
INSIDE = (
    "weights of a checkpoint",
    "checksums of a checkpoint",
    "a checkpoint",
    "deleting a checkpoint",
    "the journal",
    "a rename",
    "a sync",
    "a rewrite",
    "an update",
)
AFTERWARDS = ("a metrics line", "the plan", "the Hugging Face model", "the graph", "the ONNX file", "the manifest")


@dataclass
class Nursery:
    """The forking process, and what it is asked to do."""

    process: subprocess.Popen[str]
    kills: int = 0

    def ask(self, **task: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.kills += answer["ended"] in (SIGKILL, SIGPROF)
        return answer


@contextmanager
def nursery() -> Iterator[Nursery]:
    process = subprocess.Popen([sys.executable, str(NURSERY)], stdin=-1, stdout=-1, text=True)
    try:
        yield Nursery(process)
    finally:
        process.communicate()


@dataclass
class Trial:
    """One kind of run, its uninterrupted result, and those that were killed.

    Attributes:
        nursery: starts the processes.
        folder: of all runs.
        kind: "distil" (in Python) or "command" (``fxprune distill``).
        arguments: of it, behind the folder.
        result: the file that must be the same.
        seed: of when runs are killed.
    """

    nursery: Nursery
    folder: Path
    kind: str
    arguments: list[str]
    result: str
    seed: int = 0
    passed: dict[str, int] = field(default_factory=dict)
    wanted: str = ""
    started: int = 0

    @classmethod
    def in_python(cls, nursery: Nursery, folder: Path) -> Trial:
        """Runs of `distill`, without any output besides the weights."""
        trial = cls(nursery, folder, "distil", [write_jsonl(folder)], "result.safetensors")
        trial.undisturbed()
        return trial

    @classmethod
    def of_a_command(cls, nursery: Nursery, folder: Path) -> Trial:
        """Runs of ``fxprune distill``, with all they write."""
        torch.manual_seed(0)
        _hugging("BertForMaskedLM", **_BERT | {"num_hidden_layers": 1})().save_pretrained(folder / "model")
        tokenizer().save_pretrained(folder / "model")
        trial = cls(nursery, folder, "command", [str(folder / "model"), write_jsonl(folder)], "model.safetensors")
        trial.undisturbed()
        return trial

    def undisturbed(self) -> None:
        """Run without a fault; count what it comes by."""
        answer = self.run("undisturbed", resume=False)
        assert answer["ended"] == 0, self.said("undisturbed")
        self.passed, self.wanted = answer["passed"], self.digest("undisturbed")
        self.draw = random.Random(self.seed)

    def one(self, faults: list[dict[str, Any]]) -> None:
        """Run in a new folder with one fault after the other, then to the end; compare."""
        self.started += 1
        name = f"{self.kind}-{self.started}"
        for fault in faults:
            answer = self.run(name, resume=(self.folder / name / "checkpoints" / "run.json").exists(), **fault)
            if answer["ended"] not in (SIGKILL, SIGPROF):
                assert answer["ended"] == 0, (fault, self.said(name))
                break  # it came to its end before it came by the point
        else:
            answer = self.run(name, resume=(self.folder / name / "checkpoints" / "run.json").exists())
            assert answer["ended"] == 0, (faults, self.said(name))
        assert self.digest(name) == self.wanted, faults

    def named(self, point: str) -> dict[str, Any]:
        """Return a fault at a point, at any of the calls a run makes there."""
        nth, when = self.draw.randint(1, max(self.passed[point], 1)), self.draw.choice(["before", "within", "after"])
        return {"fault": {"point": point, "nth": nth, "when": when, "what": "kill"}}

    def random(self, seconds: float) -> dict[str, Any]:
        """Return a kill at any moment of the first `seconds` of CPU time."""
        return {"cpu_seconds": self.draw.uniform(0.01, seconds)}

    def run(self, name: str, *, resume: bool, **fault: Any) -> dict[str, Any]:
        task = {"kind": self.kind, "folder": str(self.folder / name), "arguments": self.arguments, "resume": resume}
        return self.nursery.ask(**task, log=str(self._log(name)), **fault)

    def said(self, name: str) -> str:
        """Return what a run printed."""
        return self._log(name).read_text()

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.log"

    def digest(self, name: str) -> str:
        return hashlib.sha256((self.folder / name / self.result).read_bytes()).hexdigest()
