"""What an output folder says of the model itself."""

from __future__ import annotations

import fxprune
from fxprune.deploy.description import describe


def test_inputs_have_names_of_free_sizes_and_frozen_groups_their_reason(slim_bert):
    slim, _ = slim_bert
    told = describe(slim)
    free = {"shape": ["batch", "length"], "dtype": "int64", "preprocessed": False}
    assert told["inputs"] == [{"name": "input_ids", **free}, {"name": "attention_mask", **free}]
    assert told["output_names"] == ["logits"]
    assert told["preprocessor"] is None
    rows = {row["name"]: row for row in told["frozen"]}
    words = next(row for name, row in rows.items() if "axis0" in name and row["size"] == 99)
    assert words["parameters"] > 0
    assert words["reason"]
    assert "hidden" not in rows
    assert [row["parameters"] for row in told["frozen"]] == sorted(
        (r["parameters"] for r in rows.values()), reverse=True
    )


def test_what_a_tokenizer_makes_is_marked(slim_bert):
    class Tokenizer:
        def encode(self) -> None: ...

        def __call__(self, words: str) -> dict[str, list[int]]:
            return {"input_ids": [1], "token_type_ids": [0]}

    told = describe(slim_bert[0], Tokenizer())
    assert [(row["name"], row["preprocessed"]) for row in told["inputs"]] == [
        ("input_ids", True),
        ("attention_mask", False),
    ]
    assert told["preprocessor"] == "Tokenizer"


def test_images_are_made_by_their_processor_and_other_sizes_stay(all_tiny):
    tiny = next(one for one in all_tiny if one.name.startswith("ViT"))
    slim = fxprune.prune(tiny.build(), tiny.inputs(), ratio=0.5)
    told = describe(slim, preprocessor=object())
    assert told["inputs"] == [
        {"name": "pixel_values", "shape": ["batch", 3, 24, 24], "dtype": "float32", "preprocessed": True}
    ]
    assert told["longest"] is None
