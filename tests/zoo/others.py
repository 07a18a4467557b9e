"""Encoder-decoders, vision and audio."""

from __future__ import annotations

from typing import Any

from zoo.entry import (
    BERT,
    HEADS,
    IMAGE,
    INNER,
    LAYERS,
    PICTURE_LABELS,
    VOCABULARY,
    WIDTH,
    Entry,
    captions,
    hugging,
    images,
    pairs,
    sound,
    speech,
)

_BART: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": WIDTH,
    "encoder_layers": LAYERS,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": INNER,
    "decoder_ffn_dim": INNER,
    "decoder_start_token_id": 2,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_LONG = {"max_position_embeddings": 128}

ENCODER_DECODERS: dict[str, Entry] = {
    "t5": Entry(
        hugging(
            "T5ForConditionalGeneration",
            vocab_size=VOCABULARY,
            d_model=WIDTH,
            d_kv=16,
            d_ff=INNER,
            num_layers=LAYERS,
            num_heads=HEADS,
            decoder_start_token_id=0,
        ),
        pairs,
    ),
    "bart": Entry(hugging("BartForConditionalGeneration", **_BART, **_LONG), pairs),
    "mbart": Entry(hugging("MBartForConditionalGeneration", **_BART, **_LONG), pairs),
    "marian": Entry(hugging("MarianMTModel", **_BART, **_LONG), pairs),
    "pegasus": Entry(hugging("PegasusForConditionalGeneration", **_BART, **_LONG), pairs),
    "whisper": Entry(
        hugging(
            "WhisperForConditionalGeneration",
            **_BART,
            num_mel_bins=16,
            max_source_positions=17,
            max_target_positions=64,
            begin_suppress_tokens=None,
        ),
        speech,
    ),
}

_VIT: dict[str, Any] = {
    **{name: value for name, value in BERT.items() if name not in ("vocab_size", "max_position_embeddings")},
    "image_size": IMAGE,
    "patch_size": 8,
    "num_labels": PICTURE_LABELS,
}
_TEXT_TOWER = {**BERT, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "projection_dim": 48}
_IMAGE_TOWER = {**_VIT, "projection_dim": 48}

VISION: dict[str, Entry] = {
    "vit": Entry(hugging("ViTForImageClassification", **_VIT), images),
    "deit": Entry(hugging("DeiTForImageClassificationWithTeacher", **_VIT), images),
    "beit": Entry(
        hugging("BeitForImageClassification", **_VIT, use_relative_position_bias=True, layer_scale_init_value=0.1),
        images,
    ),
    "dinov2": Entry(
        hugging(
            "Dinov2ForImageClassification",
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            mlp_ratio=2,
            image_size=IMAGE,
            patch_size=8,
            num_labels=PICTURE_LABELS,
        ),
        images,
    ),
    "swin": Entry(
        hugging(
            "SwinForImageClassification",
            image_size=IMAGE,
            patch_size=2,
            embed_dim=32,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=4,
            num_labels=PICTURE_LABELS,
        ),
        images,
    ),
    "convnext": Entry(
        hugging(
            "ConvNextForImageClassification",
            depths=[2, 2],
            hidden_sizes=[32, WIDTH],
            num_stages=2,
            image_size=IMAGE,
            num_labels=PICTURE_LABELS,
        ),
        images,
    ),
    "clip": Entry(
        hugging("CLIPModel", text_config=_TEXT_TOWER, vision_config=_IMAGE_TOWER, projection_dim=48), captions
    ),
    "siglip": Entry(hugging("SiglipModel", text_config=_TEXT_TOWER, vision_config=_IMAGE_TOWER), captions),
    "segformer": Entry(
        hugging(
            "SegformerForSemanticSegmentation",
            num_encoder_blocks=2,
            depths=[2, 2],
            sr_ratios=[4, 2],
            hidden_sizes=[32, WIDTH],
            num_attention_heads=[2, 4],
            patch_sizes=[7, 3],
            strides=[4, 2],
            mlp_ratios=[2, 2],
            decoder_hidden_size=48,
            num_labels=PICTURE_LABELS,
        ),
        images,
    ),
}

_SOUND: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "conv_dim": [32, 32, 32],
    "conv_kernel": [10, 3, 3],
    "conv_stride": [5, 4, 2],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}

AUDIO: dict[str, Entry] = {
    "wav2vec2": Entry(hugging("Wav2Vec2ForCTC", **_SOUND), sound),
    "hubert": Entry(hugging("HubertForCTC", **_SOUND), sound),
}
