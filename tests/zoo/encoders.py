"""Text encoders with the head they are trained with."""

from __future__ import annotations

from zoo.entry import BERT, HEADS, INNER, LAYERS, VOCABULARY, WIDTH, Entry, hugging, page, plain_text, text

_SPECIAL = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}

ENCODERS: dict[str, Entry] = {
    "bert": Entry(hugging("BertForMaskedLM", **BERT), text),
    "roberta": Entry(hugging("RobertaForMaskedLM", **BERT, pad_token_id=1), text),
    "distilbert": Entry(
        hugging(
            "DistilBertForMaskedLM",
            vocab_size=VOCABULARY,
            dim=WIDTH,
            n_layers=LAYERS,
            n_heads=HEADS,
            hidden_dim=INNER,
            max_position_embeddings=128,
        ),
        text,
    ),
    "electra": Entry(hugging("ElectraForMaskedLM", **BERT, embedding_size=48), text),
    "albert": Entry(hugging("AlbertForMaskedLM", **BERT, embedding_size=48), text),
    "deberta": Entry(
        hugging(
            "DebertaForMaskedLM",
            **BERT,
            relative_attention=True,
            pos_att_type="c2p|p2c",
            max_relative_positions=32,
            position_biased_input=False,
        ),
        text,
    ),
    "deberta-v2": Entry(
        hugging(
            "DebertaV2ForMaskedLM",
            **BERT,
            relative_attention=True,
            pos_att_type="c2p|p2c",
            max_relative_positions=32,
            position_buckets=16,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            position_biased_input=False,
        ),
        text,
    ),
    "mpnet": Entry(hugging("MPNetForMaskedLM", **BERT), text),
    "xlm-roberta": Entry(hugging("XLMRobertaForMaskedLM", **BERT, pad_token_id=1), text),
    "modernbert": Entry(
        hugging("ModernBertForMaskedLM", **BERT, **_SPECIAL, global_attn_every_n_layers=2, local_attention=8), text
    ),
    "mobilebert": Entry(
        hugging(
            "MobileBertForMaskedLM", **BERT, embedding_size=32, intra_bottleneck_size=32, num_feedforward_networks=2
        ),
        text,
    ),
    "squeezebert": Entry(
        hugging(
            "SqueezeBertForMaskedLM",
            **BERT,
            embedding_size=WIDTH,
            q_groups=2,
            k_groups=2,
            v_groups=2,
            post_attention_groups=1,
            intermediate_groups=2,
            output_groups=2,
        ),
        text,
    ),
    "convbert": Entry(hugging("ConvBertForMaskedLM", **BERT, embedding_size=WIDTH, head_ratio=2, num_groups=1), text),
    "roformer": Entry(hugging("RoFormerForMaskedLM", **BERT, embedding_size=WIDTH, rotary_value=False), text),
    "nystromformer": Entry(
        hugging("NystromformerForMaskedLM", **BERT, segment_means_seq_len=13, num_landmarks=13, conv_kernel_size=5),
        plain_text,
    ),
    "fnet": Entry(
        hugging(
            "FNetForMaskedLM",
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            intermediate_size=INNER,
            max_position_embeddings=128,
        ),
        plain_text,
    ),
    "layoutlm": Entry(hugging("LayoutLMForMaskedLM", **BERT, max_2d_position_embeddings=64), page),
    "ernie": Entry(hugging("ErnieForMaskedLM", **BERT), text),
    "megatron-bert": Entry(hugging("MegatronBertForMaskedLM", **BERT), text),
    "esm": Entry(
        hugging("EsmForMaskedLM", **BERT, pad_token_id=1, mask_token_id=2, position_embedding_type="rotary"), text
    ),
    "longformer": Entry(hugging("LongformerForMaskedLM", **BERT, attention_window=4), text),
    "big_bird": Entry(hugging("BigBirdForMaskedLM", **BERT, attention_type="original_full"), text),
    "xlnet": Entry(
        hugging("XLNetLMHeadModel", vocab_size=VOCABULARY, d_model=WIDTH, n_layer=LAYERS, n_head=HEADS, d_inner=INNER),
        text,
    ),
    "eurobert": Entry(
        hugging("EuroBertForMaskedLM", **BERT, **_SPECIAL, mask_token_id=3, num_key_value_heads=2, head_dim=16), text
    ),
}
