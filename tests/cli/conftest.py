"""A tiny model with its tokenizer and text, and the command line run in this process without a network."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from fxprune import hub
from fxprune.cli import main

WORDS = [f"w{i}" for i in range(60)]
CONFIG = {
    "vocab_size": 66,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 72,
    "max_position_embeddings": 64,
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_answers", lambda host: False)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bert`` and ``vit``: folders as `save_pretrained` writes them. Tests do not change them."""
    import transformers

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    transformers.BertForMaskedLM(transformers.BertConfig(**CONFIG)).save_pretrained(folder / "bert")
    tokenizer().save_pretrained(folder / "bert")
    rest = {name: value for name, value in CONFIG.items() if name not in ("vocab_size", "max_position_embeddings")}
    image = transformers.ViTConfig(**rest, image_size=24, patch_size=8, num_labels=5)
    transformers.ViTForImageClassification(image).save_pretrained(folder / "vit")
    return folder


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of ``classes``, ``translation`` and ``images``, as `save_pretrained` writes them."""
    import transformers
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    folder = tmp_path_factory.mktemp("heads")
    torch.manual_seed(0)
    names = {0: "bad", 1: "good"}
    classes = transformers.BertConfig(**CONFIG, id2label=names, label2id={name: i for i, name in names.items()})
    transformers.BertForSequenceClassification(classes).save_pretrained(folder / "classes")
    sizes = {"vocab_size": 66, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
    translation = transformers.T5Config(**sizes, decoder_start_token_id=0)
    transformers.T5ForConditionalGeneration(translation).save_pretrained(folder / "translation")
    for name in ("classes", "translation"):
        tokenizer().save_pretrained(folder / name)
    rest = {name: value for name, value in CONFIG.items() if name not in ("vocab_size", "max_position_embeddings")}
    images = transformers.ViTConfig(**rest, image_size=24, patch_size=8, num_labels=2)
    transformers.ViTForImageClassification(images).save_pretrained(folder / "images")
    ViTImageProcessorPil(size={"height": 24, "width": 24}).save_pretrained(folder / "images")
    return folder


@pytest.fixture
def bert(models: Path) -> str:
    return str(models / "bert")


@pytest.fixture
def own_bert(models: Path, here: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(models / "bert", here / "model"))


@pytest.fixture
def text(here: Path) -> str:
    """A file of sentences of known words."""
    (here / "text.txt").write_text(sentences())
    return "text.txt"


@pytest.fixture(scope="session")
def words() -> Any:
    """The tokenizer of all text models here."""
    return tokenizer()


@pytest.fixture(scope="session")
def sentences_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in a place of its own, for runs that several tests look at."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(sentences())
    return path


def sentences() -> str:
    return "\n".join(" ".join(WORDS[(i * 7 + j * j) % len(WORDS)] for j in range(30)) for i in range(120))


def tokenizer() -> Any:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {f"{name[1:-1].lower()}_token": name for name in names[:5]}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, **special)


@pytest.fixture
def run() -> Callable[..., Result]:
    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], terminal_width=100)

    return invoke


def _snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def refused(run, here):
    """Run a command that must be refused; return what it says."""

    def check(*arguments, code=2):
        before = _snapshot(here)
        result = run(*arguments)
        crash = "".join(traceback.format_exception(result.exception)) if result.exception else ""
        assert result.exit_code == code, crash + result.output
        assert isinstance(result.exception, SystemExit), crash
        assert "Traceback" not in result.stderr
        assert result.stdout == ""
        assert _snapshot(here) == before
        return result.stderr

    return check
