"""Language models layer by layer: by hooks, under the mask, whatever the padding.

The oracle runs one text at a time, without padding, in float64, and reads the blocks by hooks of
its own.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isomorph.extraction import FeatureExtractor, Model, extract_features
from isomorph.stimuli import from_texts
from isomorph.zoo.huggingface.models import forward_of, keep_encoder, prepare_config, quiet_library

transformers = pytest.importorskip("transformers", minversion="5")

TEXTS = [
    "one two three four five six seven",
    "two",
    "six five four",
    "one seven two two one",
    "three three",
    "seven six five four three two one one",
]
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 20,
}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 20}
T5 = {"d_model": 16, "d_ff": 24, "num_layers": 2, "num_heads": 2, "d_kv": 8, "vocab_size": 20}
MAMBA = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 20}
BART = {
    **{"d_model": 16, "encoder_layers": 2, "encoder_ffn_dim": 24, "encoder_attention_heads": 2},
    **{"decoder_layers": 1, "decoder_ffn_dim": 24, "decoder_attention_heads": 2, "vocab_size": 20},
}
XLNET = {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24, "vocab_size": 20}
NEOX = {**SMALL, "max_position_embeddings": 64}
CLIP = {
    "text_config": {**SMALL, "eos_token_id": 10, "bos_token_id": 0, "max_position_embeddings": 16},
    "vision_config": {**SMALL, "image_size": 32, "patch_size": 16},
    "projection_dim": 8,
}
# model type: its options, where its blocks are, whether a token sees those before it alone.
KINDS = {
    "bert": (SMALL, "encoder.layer", False),
    "roberta": ({**SMALL, "pad_token_id": 1}, "encoder.layer", False),
    "distilbert": ({"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "vocab_size": 20},
                   "transformer.layer", False),
    "gpt2": (GPT2, "h", True),
    "llama": ({**SMALL, "num_key_value_heads": 1}, "layers", True),
    "gpt_neox": (NEOX, "layers", True),
    "opt": ({"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24,
             "word_embed_proj_dim": 16, "vocab_size": 20}, "decoder.layers", True),
    "bloom": ({"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 20}, "h", True),
    "mamba": (MAMBA, "layers", True),
    "t5": (T5, "encoder.block", False),
    "bart": (BART, "encoder.layers", False),
    "xlnet": (XLNET, "layer", False),
    "modernbert": ({**SMALL, "num_hidden_layers": 2, "pad_token_id": 1}, "layers", False),
    "deberta-v2": ({**SMALL, "relative_attention": True, "position_buckets": 8,
                    "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
                    "type_vocab_size": 0, "max_relative_positions": -1,
                    "norm_rel_ebd": "layer_norm", "share_att_key": True}, "encoder.layer", False),
    "mpnet": (SMALL, "encoder.layer", False),
    "electra": ({**SMALL, "embedding_size": 8}, "encoder.layer", False),
    "gpt_neo": ({"hidden_size": 16, "num_layers": 2, "num_heads": 2, "vocab_size": 20,
                 "attention_types": [[["global", "local"], 1]]}, "h", True),
    "gptj": ({"n_embd": 16, "n_layer": 2, "n_head": 2, "rotary_dim": 4, "vocab_size": 20},
             "h", True),
    "qwen3": ({**SMALL, "num_key_value_heads": 1, "head_dim": 8}, "layers", True),
    "gemma2": ({**SMALL, "num_key_value_heads": 1, "head_dim": 8}, "layers", True),
    "phi": (SMALL, "layers", True),
    "m2m_100": ({**BART, "decoder_layers": 1, "max_position_embeddings": 64},
                "encoder.layers", False),
    "clip": (CLIP, "text_model.encoder.layers", True),
}  # fmt: skip

# They count positions from the left edge, whatever the mask; padding stands behind.
LEFT_EDGE = ("bert", "distilbert", "bart", "clip", "electra")


def tokenizer(side="right", pad=True, end=False):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    # Number 1 is padding where RoBERTa expects it; every word is above it.
    words = ["<s>", "<pad>", "<unk>", "one", "two", "three", "four", "five", "six", "seven", "</s>"]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if end:
        inner.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", 10)]
        )
    options = {"pad_token": "<pad>"} if pad else {}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", padding_side=side,
        model_input_names=["input_ids", "attention_mask"], **options,
    )  # fmt: skip


def network(kind):
    options, _, _ = KINDS[kind]
    with torch.random.fork_rng(devices=[]), quiet_library():
        torch.manual_seed(0)
        config = prepare_config(transformers.AutoConfig.for_model(kind, **options))
        module = keep_encoder(transformers.AutoModel.from_config(config), "text").eval()
    for weight in module.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    return module, forward_of(config, "text")


def blocks_of_one_text(module, forward, blocks, ids):
    """The oracle: a list of (n_tokens, n_channels), one for each block."""
    found = []

    def keep(_module, _args, output):
        found.append((output[0] if isinstance(output, tuple) else output).detach().clone())

    hooks = [block.register_forward_hook(keep) for block in module.get_submodule(blocks)]
    try:
        with torch.no_grad():
            forward(module, {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]})
    finally:
        for hook in hooks:
            hook.remove()
    # Some put the tokens before the texts.
    return [(rows[:, 0] if rows.shape[0] == len(ids) != 1 else rows[0]).numpy() for rows in found]


HOW = {
    "mean": lambda rows: rows.mean(axis=0),
    "last": lambda rows: rows[-1],
    "cls": lambda rows: rows[0],
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_blocks_equal_those_of_one_text_at_a_time(kind, side):
    blocks, causal = KINDS[kind][1:]
    if side == "left" and kind in LEFT_EDGE:
        pytest.skip("counts positions from the left edge whatever the mask")
    module, forward = network(kind)
    words = tokenizer(side, pad=kind != "gpt2")
    model = Model(module, words, forward)
    names = [f"{blocks}.{number}" for number in range(2)]
    double = network(kind)[0].double()
    expected = [
        blocks_of_one_text(double, forward, blocks, torch.tensor(words(text)["input_ids"]))
        for text in TEXTS
    ]
    plan = FeatureExtractor(model, from_texts(TEXTS), progress=False).plan
    originals = {layer.name: layer.duplicate_of or layer.name for layer in plan.layers}
    for how, of_rows in HOW.items():
        found = extract_features(
            model, from_texts(TEXTS), tokens=how, batch_size=4, progress=False, output="numpy"
        )
        for number, name in enumerate(names):
            exact = np.stack([of_rows(rows[number]) for rows in expected])
            key = next(key for key in (name, f"{name}[0]") if key in originals)
            np.testing.assert_allclose(found[originals[key]], exact, rtol=2e-4, atol=2e-5)
    assert causal or not np.allclose(exact[0], exact[3])


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_block_is_in_the_plan_and_nothing_but_maps(kind):
    module, forward = network(kind)
    plan = FeatureExtractor(
        Model(module, tokenizer(), forward), from_texts(TEXTS), progress=False
    ).plan
    paths = {layer.path for layer in plan.layers if not layer.left_out}
    assert {f"{KINDS[kind][1]}.0", f"{KINDS[kind][1]}.1"} <= paths
    assert all(layer.dtype.is_floating_point for layer in plan.distinct)
    assert len(plan.distinct) > 10


def test_the_last_layer_is_the_librarys_own_output():
    module, forward = network("llama")
    words = tokenizer()
    model = Model(module, words, forward)
    found = extract_features(
        model, from_texts(TEXTS), "norm", tokens="last", progress=False, output="numpy"
    )["norm"]
    for row, text in enumerate(TEXTS):
        with torch.no_grad():
            own = module(**words(text, return_tensors="pt")).last_hidden_state[0, -1]
        np.testing.assert_allclose(found[row], own.numpy(), rtol=1e-4, atol=1e-5)


def test_clips_text_tower_embeds_the_end_of_each_text():
    module, forward = network("clip")
    words = tokenizer(end=True)
    model = Model(module, words, forward)
    found = extract_features(
        model, from_texts(TEXTS), "text_projection", progress=False, output="numpy"
    )["text_projection"]
    last = extract_features(
        model, from_texts(TEXTS), "text_model.final_layer_norm", tokens="last", progress=False
    )["text_model.final_layer_norm"]
    with torch.no_grad():
        projected = module.text_projection(last).numpy()
        for row, text in enumerate(TEXTS):
            own = module.get_text_features(**words(text, return_tensors="pt")).pooler_output[0]
            np.testing.assert_allclose(found[row], own.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, projected, rtol=1e-4, atol=1e-5)
