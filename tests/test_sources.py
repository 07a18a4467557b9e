from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from fxprune import hub
from fxprune.errors import FxpruneError, SourceError, UsageError
from fxprune.sources import load_model, load_tokenizer

TEXT = {"vocab_size": 101, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT |= {"intermediate_size": 64, "max_position_embeddings": 64}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_answers", lambda host: False)


def build(class_name: str = "BertForMaskedLM", config: str = "BertConfig", **options: Any) -> Any:
    torch.manual_seed(0)
    return getattr(transformers, class_name)(getattr(transformers, config)(**(TEXT | options)))


def saved(folder: Path, class_name: str = "BertForMaskedLM", config: str = "BertConfig", **options: Any) -> Path:
    build(class_name, config, **options).save_pretrained(folder)
    return folder


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def add_tokenizer(folder: Path) -> None:
    core = Tokenizer(models.WordLevel({"[UNK]": 0, "[MASK]": 1, "a": 2}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]").save_pretrained(folder)


@pytest.mark.parametrize(
    ("class_name", "config", "auto_class"),
    [
        ("BertForMaskedLM", "BertConfig", "AutoModelForMaskedLM"),
        ("BertModel", "BertConfig", "AutoModel"),  # a sentence encoder
        ("BertForSequenceClassification", "BertConfig", "AutoModelForSequenceClassification"),
        ("BertForPreTraining", "BertConfig", "AutoModelForPreTraining"),
        ("LlamaForCausalLM", "LlamaConfig", "AutoModelForCausalLM"),
        ("BartForConditionalGeneration", "BartConfig", "AutoModelForSeq2SeqLM"),
        ("T5EncoderModel", "T5Config", "AutoModelForTextEncoding"),
        ("ViTForImageClassification", "ViTConfig", "AutoModelForImageClassification"),
    ],
)
def test_the_class_is_the_one_the_config_names(tmp_path: Path, class_name: str, config: str, auto_class: str) -> None:
    options = {"image_size": 32, "patch_size": 8} if "ViT" in class_name else {}
    options |= (
        {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "num_layers": 2} if "B" not in config[:3] else {}
    )
    source = load_model(str(saved(tmp_path, class_name, config, **options)))
    assert type(source.model).__name__ == class_name
    assert source.auto_class == auto_class
    if hasattr(transformers, auto_class):
        assert type(getattr(transformers, auto_class).from_pretrained(tmp_path)) is type(source.model)


def test_the_weights_are_those_of_the_folder_in_float32_and_evaluation_mode(tmp_path: Path) -> None:
    original = build()
    original.half().save_pretrained(tmp_path)
    source = load_model(str(tmp_path))
    assert not source.model.training
    assert {parameter.dtype for parameter in source.model.parameters()} == {torch.float32}
    for name, value in source.model.state_dict().items():
        assert torch.equal(value, original.state_dict()[name].float())


def test_attention_is_fused_where_the_class_has_it(tmp_path: Path) -> None:
    assert load_model(str(saved(tmp_path))).config._attn_implementation == "sdpa"
    eager = saved(tmp_path / "mpnet", "MPNetForMaskedLM", "MPNetConfig")
    assert load_model(str(eager)).config._attn_implementation == "eager"


def test_the_cache_is_off_on_both_sides_of_an_encoder_decoder(tmp_path: Path) -> None:
    sides = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.BertConfig(vocab_size=101, **sides),
        transformers.BertConfig(vocab_size=101, is_decoder=True, add_cross_attention=True, **sides),
    )
    transformers.EncoderDecoderModel(config).save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path)).config
    assert [part.use_cache for part in (loaded.encoder, loaded.decoder)] == [False, False]


def test_a_config_without_architectures_is_taken_for_a_masked_lm_or_a_bare_model(tmp_path: Path) -> None:
    edit_config(saved(tmp_path / "bert"), architectures=None)
    assert load_model(str(tmp_path / "bert")).auto_class == "AutoModelForMaskedLM"
    edit_config(saved(tmp_path / "llama", "LlamaModel", "LlamaConfig"), architectures=None)
    assert load_model(str(tmp_path / "llama")).auto_class == "AutoModel"


def test_a_task_overrides_the_class(tmp_path: Path) -> None:
    folder = str(saved(tmp_path, add_pooling_layer=False))
    with pytest.raises(SourceError, match="lack 2 tensors of BertModel"):  # a masked LM has no pooler
        load_model(folder, task="features")
    with pytest.raises(UsageError, match="did you mean 'masked-lm'"):
        load_model(folder, task="maskedlm")
    with pytest.raises(SourceError, match="'bert' cannot be loaded as AutoModelForImageClassification"):
        load_model(folder, task="image-classification")
    assert load_model(folder, task="masked-lm").auto_class == "AutoModelForMaskedLM"


def test_the_tokenizer_comes_with_the_model_and_may_be_absent(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    with pytest.raises(SourceError, match=r"has no tokenizer\n  remedy  put the tokenizer's files"):
        load_tokenizer(load_model(str(folder)))
    add_tokenizer(folder)
    assert load_tokenizer(load_model(str(folder)))("a")["input_ids"] == [2]


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    add_tokenizer(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(SourceError, match=r"the tokenizer of model '.*' cannot be read"):
        load_model(str(folder))


def refusal(name: str) -> str:
    with pytest.raises(SourceError) as caught:
        load_model(name)
    return str(caught.value)


def test_an_unknown_name_without_network_is_refused_at_once() -> None:
    text = refusal("owner/no-such-model")
    assert text.startswith("model 'owner/no-such-model' is neither a folder nor in the local cache, and there is no")
    assert "remedy  connect to the network" in text


def test_an_unknown_name_is_refused_with_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise OSError("owner/name is not a local folder and is not a valid model identifier listed on the hub")

    monkeypatch.setattr(hub, "_answers", lambda host: True)
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", missing)
    assert refusal("owner/name").startswith("there is no model 'owner/name' on the hub, and no such folder")


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(str(tmp_path / "absent")).startswith("there is no model folder")
    (tmp_path / "model.safetensors").touch()
    assert "is a file" in refusal(str(tmp_path / "model.safetensors"))


def test_an_incomplete_folder_is_refused(tmp_path: Path) -> None:
    assert "has no config.json" in refusal(str(tmp_path))
    transformers.BertConfig(**TEXT).save_pretrained(tmp_path)
    assert "has no weights" in refusal(str(tmp_path))
    (tmp_path / "pytorch_model.bin").touch()
    assert "pickled (pytorch_model.bin)" in refusal(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "content", "part"),
    [
        ("config.json", "{", "config"),
        ("config.json", "{}", "config"),
        ("config.json", '{"model_type": "no-such-type"}', "config"),
        ("model.safetensors", "not tensors at all", "weights"),
        ("model.safetensors", "", "weights"),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path: Path, file: str, content: str, part: str) -> None:
    folder = saved(tmp_path)
    (folder / file).write_text(content)
    text = refusal(str(folder))
    assert text.startswith(f"the {part} of model '{folder}' cannot be read\n  cause ")
    assert len(text.splitlines()) == 3


def test_weights_cut_short_are_refused(tmp_path: Path) -> None:
    weights = saved(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert refusal(str(tmp_path)).startswith("the weights of model")


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    edit_config(saved(tmp_path), hidden_size=48)
    assert refusal(str(tmp_path)).startswith("the weights of model")


def test_a_class_that_transformers_lacks_is_refused(tmp_path: Path) -> None:
    edit_config(saved(tmp_path), architectures=["MyOwnBert"])
    assert "is a MyOwnBert, which transformers" in refusal(str(tmp_path))


def test_the_demo_teacher_loads() -> None:
    source = load_model("demo")
    tokenizer = load_tokenizer(source)
    assert source.auto_class == "AutoModelForMaskedLM"
    assert 3e6 < sum(parameter.numel() for parameter in source.model.parameters()) < 6e6
    files = list(Path(source.location).iterdir())
    assert sum(file.stat().st_size for file in files) <= 12 << 20
    batch = tokenizer("Return the number of [MASK] in the list.", return_tensors="pt")
    with torch.no_grad():
        logits = source.model(**batch).logits
    position = batch["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    best = tokenizer.convert_ids_to_tokens(logits[0, position].topk(20).indices.tolist())
    assert {"elements", "items", "values", "dimensions", "arguments", "columns", "bytes"} & set(best)


def test_importing_sources_loads_no_heavy_package() -> None:
    code = "import sys, fxprune.sources; sys.exit('transformers' in sys.modules or 'datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_refusal_is_an_error_of_fxprune() -> None:
    assert issubclass(SourceError, FxpruneError)
