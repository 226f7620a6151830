"""Builders of real architectures with random weights, small, for the tests of extraction."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.video.mvit import MSBlockConfig, MViT

Batch = torch.Tensor | dict[str, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A network and what it is shown.

    Parameters
    ----------
    name : str
        Library and architecture, ``timm/resnet10t``.
    build : callable
        Gives the module; skips where its library is not installed.
    stimuli : callable
        ``stimuli(n)``: n inputs, the first ones the same whatever n.
    slow : bool
        Left out of the quick loop.
    """

    name: str
    build: Callable[[], nn.Module]
    stimuli: Callable[[int], Batch]
    slow: bool = True

    def __str__(self) -> str:
        return self.name


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what the libraries say of deprecations, initialisation and missing kernels."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def built(make: Callable[[], nn.Module]) -> nn.Module:
    """Build with a fixed seed, and let no weight be constant: zeroed branches hide mistakes."""
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        module = make().eval()
        for weight in module.parameters():
            flat = weight.data.view(-1)
            if weight.is_floating_point() and len(flat) and bool((flat == flat[0]).all()):
                flat += 0.1 * torch.randn(len(flat))
    return module


def one_by_one(draw: Callable[[torch.Generator], torch.Tensor], n: int) -> torch.Tensor:
    return torch.stack([draw(torch.Generator().manual_seed(100 + i)) for i in range(n)])


def real(*shape: int) -> Callable[[int], torch.Tensor]:
    return lambda n: one_by_one(lambda generator: torch.randn(shape, generator=generator), n)


def tokens(length: int = 7, below: int = 50) -> Callable[[int], torch.Tensor]:
    def draw(generator: torch.Generator) -> torch.Tensor:
        # From 3 on, since the first numbers may mean padding or the end.
        return torch.randint(3, below, (length,), generator=generator)

    return lambda n: one_by_one(draw, n)


def padded(**more: Callable[[int], torch.Tensor]) -> Callable[[int], dict[str, torch.Tensor]]:
    """Token ids with a mask that hides the end of every second text, and further inputs."""

    def stimuli(n: int) -> dict[str, torch.Tensor]:
        mask = torch.ones(n, 7, dtype=torch.long)
        mask[1::2, 4:] = 0
        return {
            "input_ids": tokens()(n),
            "attention_mask": mask,
            **{name: draw(n) for name, draw in more.items()},
        }

    return stimuli


# --------------------------------------------------------------------------- torchvision

# The smallest member of every family. (name, shape of one input, options, quick)
TORCHVISION: list[tuple[str, tuple[int, ...], dict[str, Any], bool]] = [
    ("alexnet", (3, 64, 64), {"num_classes": 10}, False),
    ("convnext_tiny", (3, 32, 32), {}, False),
    ("densenet121", (3, 32, 32), {}, True),
    ("efficientnet_b0", (3, 32, 32), {}, True),
    ("efficientnet_v2_s", (3, 32, 32), {}, False),
    ("googlenet", (3, 32, 32), {}, True),
    ("inception_v3", (3, 75, 75), {}, False),
    ("mnasnet0_5", (3, 32, 32), {}, False),
    ("mobilenet_v2", (3, 32, 32), {}, False),
    ("mobilenet_v3_small", (3, 32, 32), {}, True),
    ("regnet_x_400mf", (3, 32, 32), {}, False),
    ("regnet_y_400mf", (3, 32, 32), {}, False),
    ("resnet18", (3, 32, 32), {}, True),
    ("resnext50_32x4d", (3, 32, 32), {}, False),
    ("wide_resnet50_2", (3, 32, 32), {}, False),
    ("shufflenet_v2_x0_5", (3, 32, 32), {}, True),
    ("squeezenet1_1", (3, 32, 32), {}, True),
    ("swin_t", (3, 64, 64), {}, False),
    ("swin_v2_t", (3, 64, 64), {}, False),
    ("vgg11", (3, 32, 32), {"num_classes": 10, "init_weights": False}, False),
    ("vgg11_bn", (3, 32, 32), {"num_classes": 10, "init_weights": False}, False),
    ("vit_b_16", (3, 32, 32), {"image_size": 32}, False),
    ("lraspp_mobilenet_v3_large", (3, 64, 64), {"weights_backbone": None}, False),
    ("deeplabv3_mobilenet_v3_large", (3, 64, 64), {"weights_backbone": None}, False),
    ("fcn_resnet50", (3, 32, 32), {"weights_backbone": None}, False),
    ("r3d_18", (3, 4, 32, 32), {}, False),
    ("r2plus1d_18", (3, 4, 32, 32), {}, False),
    ("mc3_18", (3, 4, 32, 32), {}, False),
    ("swin3d_t", (3, 4, 64, 64), {}, False),
]


def torchvision_case(name: str, shape: tuple[int, ...], options: dict[str, Any], quick: bool):
    make = functools.partial(models.get_model, name, weights=None, **options)
    return Case(f"torchvision/{name}", functools.partial(built, make), real(*shape), not quick)


def maxvit() -> nn.Module:
    # The smallest that torchvision has a name for takes 224 pixels.
    sizes = {"stem_channels": 16, "block_channels": [16, 32], "block_layers": [1, 2], "head_dim": 8}
    return models.MaxVit((64, 64), partition_size=4, stochastic_depth_prob=0.2, **sizes)


def mvit(*, second: bool) -> nn.Module:
    """Two blocks of MViT, of its first or second version: the named ones take 16 × 224 × 224."""
    first, wide = ([1, 1, 1], 16) if second else ([], 32)
    setting = [
        MSBlockConfig(1, 16, wide, [3, 3, 3] if second else [], [3, 3, 3], first, [1, 4, 4]),
        MSBlockConfig(2, wide, 32, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 2, 2]),
    ]
    return MViT(
        (32, 32),
        4,
        setting,
        residual_pool=second,
        residual_with_cls_embed=not second,
        rel_pos_embed=second,
        proj_after_attn=second,
    )


def s3d() -> nn.Module:
    # Its classifier takes 224 pixels.
    return models.get_model("s3d", weights=None).get_submodule("features")


TORCHVISION_PARTS: list[tuple[str, tuple[int, ...], Callable[[], nn.Module]]] = [
    ("maxvit", (3, 64, 64), maxvit),
    ("mvit_v1", (3, 4, 32, 32), functools.partial(mvit, second=False)),
    ("mvit_v2", (3, 4, 32, 32), functools.partial(mvit, second=True)),
    ("s3d", (3, 16, 32, 32), s3d),
]


# --------------------------------------------------------------------------- timm

ONE_EACH = {"depths": (1, 1, 1, 1)}
SMALL = {"img_size": 32}
SHALLOW = {"img_size": 32, "depth": 2}
MIDDLE = {"img_size": 64}

# (side of the image, options, names)
TIMM: list[tuple[int, dict[str, Any], str]] = [
    (32, {}, "resnet10t seresnet18 ecaresnet26t resnetv2_18 skresnet18 gernet_s repvgg_a0"),
    (32, {}, "mobileone_s0 densenetblur121d dpn48b darknet17 regnetx_002 regnety_002 regnetz_005"),
    (32, {}, "regnetv_040 rexnet_100 ghostnet_050 repghostnet_050 tinynet_e mobilenetv2_050"),
    (32, {}, "mobilenetv3_small_050 mobilenetv4_conv_small_050 lcnet_035 efficientnet_b0 mixnet_s"),
    (
        32,
        {},
        "mnasnet_small hardcorenas_a fbnetc_100 hgnetv2_b0 ese_vovnet19b_slim_dw nf_regnet_b0",
    ),
    (32, {}, "nfnet_l0 convnext_atto convnextv2_atto starnet_s050 fasternet_t0 mambaout_femto"),
    (32, {}, "poolformer_s12 poolformerv2_s12 repvit_m0_9 rdnet_tiny"),
    (32, {"layers": (1, 1, 1, 1)}, "res2net50_14w_8s res2next50"),
    (64, {}, "resnest14d legacy_seresnet18 dla46_c cs3darknet_focus_s cspnext_tiny"),
    (
        64,
        {},
        "hrnet_w18_small ghostnetv2_100 ghostnetv3_050 tresnet_m inception_next_atto shvit_s1",
    ),
    (64, {}, "edgenext_xx_small efficientvit_b0 efficientvim_m1 mobilevit_xxs mobilevitv2_050"),
    (64, {}, "swiftformer_xs fastvit_t8 iformer_t cpubone_nano csatv2 pvt_v2_b0"),
    (64, {}, "xception41 caformer_s18 focalnet_tiny_srf tiny_vit_5m_224"),
    (
        64,
        MIDDLE,
        "botnet26t_256 lambda_resnet26t efficientformerv2_s0 visformer_tiny coat_lite_tiny",
    ),
    (64, MIDDLE, "pit_ti_224 nest_tiny swinv2_cr_tiny_224 swin_s3_tiny_224 gcvit_xxtiny"),
    (64, MIDDLE, "hiera_tiny_224 mvitv2_tiny coatnet_pico_rw_224 maxvit_pico_rw_256 volo_d1_224"),
    (64, MIDDLE, "efficientvit_m0 levit_128s levit_conv_128s"),
    (75, {}, "inception_v4"),
    (224, {"depths": (1, 1, 1, 2)}, "efficientformer_l1"),
    (120, {"img_size": 120}, "crossvit_9_240"),
    (32, SMALL, "convit_tiny gmixer_12_224 resmlp_12_224 gmlp_ti16_224 mixer_s32_224"),
    (32, SHALLOW, "vit_relpos_small_patch16_224 deit_tiny_distilled_patch16_224"),
    (32, SHALLOW, "deit3_small_patch16_224 cait_xxs24_224 xcit_nano_12_p16_224 tnt_s_patch16_224"),
    (32, SHALLOW, "vit_tiny_patch16_224 beit_base_patch16_224"),
    (28, {"img_size": 28, "depth": 2}, "eva02_tiny_patch14_224"),
    (64, {**MIDDLE, "depth": 2}, "vit_tiny_r_s16_p8_224 samvit_base_patch16_224"),
    (64, ONE_EACH, "davit_tiny"),
    (64, {**MIDDLE, **ONE_EACH}, "twins_pcpvt_small twins_svt_small"),
    (64, {**MIDDLE, "layers": (1, 1, 1, 1)}, "sequencer2d_s"),
    (56, {"img_size": 56, "depths": (2, 2)}, "swin_tiny_patch4_window7_224"),
    (64, {**MIDDLE, "depths": (2, 2), "num_heads": (3, 6)}, "swinv2_tiny_window8_256"),
    (32, {"depth": 2}, "naflexvit_base_patch16_gap"),
]
TIMM_QUICK = {
    "resnet10t",
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "xcit_nano_12_p16_224",
}


def timm_module(name: str, options: dict[str, Any]) -> nn.Module:
    with quiet():
        timm = pytest.importorskip("timm")
    return built(lambda: timm.create_model(name, pretrained=False, **options))


def halo_attention() -> nn.Module:
    with quiet():
        layers = pytest.importorskip("timm.layers.halo_attn")
    # As in halonet26t, which takes 256 pixels: windows that overlap.
    attention = functools.partial(layers.HaloAttn, dim_head=8, block_size=4, halo_size=1)
    return built(lambda: nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), attention(16), nn.ReLU(True)))


def timm_cases() -> list[Case]:
    return [
        Case("timm/halo_attention", halo_attention, real(3, 16, 16)),
    ] + [
        Case(
            f"timm/{name}",
            functools.partial(timm_module, name, options),
            real(3, side, side),
            slow=name not in TIMM_QUICK,
        )
        for side, options, names in TIMM
        for name in names.split()
    ]


# --------------------------------------------------------------------------- transformers

DEEP = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16}
TEXT = {**DEEP, "vocab_size": 50, "intermediate_size": 32}
GROUPED = {**TEXT, "num_key_value_heads": 1}
IMAGE = {**DEEP, "image_size": 32, "patch_size": 8, "intermediate_size": 32}
PYRAMID = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
WINDOWS = {
    "image_size": 32,
    "embed_dim": 8,
    "depths": [2, 2],
    "num_heads": [2, 2],
    "window_size": 4,
}
NAMED = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 1)
SOUND = {
    **DEEP,
    "intermediate_size": 32,
    "conv_dim": [8, 8],
    "conv_stride": [5, 2],
    "conv_kernel": [10, 3],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
T5 = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
BART = {"vocab_size": 50, "d_model": 16} | {
    f"{side}_{part}": size
    for side in ("encoder", "decoder")
    for part, size in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))
}
SPARSE = {"num_sparse_encoder_layers": 1, "num_experts": 4}
HEARD = {"num_mel_bins": 8, "max_source_positions": 8}
ALL_STATES = {"output_hidden_states": True, "output_attentions": True}
PIXELS, IDS, CLIP, WAVE = real(3, 32, 32), tokens(), real(4, 3, 32, 32), real(400)

Table = list[tuple[Callable[[int], Batch], dict[str, Any], str]]
V = {"vocab_size": 50}
SHORT = {**V, "n_layer": 2, "n_head": 2}
PAIR = {**V, "num_layers": 2, "num_heads": 2}

# (what the model takes, options, names); "ViT:ViTForX" is ViTConfig and ViTForX, "Bert" BertModel
TRANSFORMERS: Table = [
    (IDS, TEXT, "Bert MPNet FNet MobileBert Phi Data2VecText CLIPText"),
    (IDS, {**TEXT, **ALL_STATES, "attn_implementation": "eager"}, "Bert:BertForMaskedLM"),
    (IDS, {**TEXT, "return_dict": False}, "Roberta"),
    (IDS, {**TEXT, "embedding_size": 8}, "Electra Albert"),
    (IDS, {**TEXT, "relative_attention": True, "pos_att_type": ["c2p"]}, "Deberta DebertaV2"),
    (IDS, {**TEXT, **NAMED}, "ModernBert"),
    (IDS, {**V, "dim": 16, "n_layers": 2, "n_heads": 2}, "DistilBert"),
    (IDS, {**SHORT, "d_model": 16}, "XLNet"),
    (IDS, {**V, "block_sizes": [1, 1], "d_model": 16}, "Funnel"),
    (IDS, {**SHORT, "n_embd": 16}, "GPT2"),
    (IDS, {**SHORT, "hidden_size": 16}, "Bloom"),
    (IDS, {**TEXT, **PAIR, "attention_types": [[["global", "local"], 1]]}, "GPTNeo"),
    (IDS, {**TEXT, "use_parallel_residual": False}, "GPTNeoX"),
    (IDS, {**TEXT, "ffn_dim": 32, "word_embed_proj_dim": 16}, "OPT"),
    (IDS, GROUPED, "Llama:LlamaForCausalLM"),
    (IDS, {**GROUPED, "sliding_window": 4}, "Mistral"),
    (IDS, {**GROUPED, "num_local_experts": 4}, "Mixtral"),
    (IDS, {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2}, "Qwen2Moe"),
    (IDS, {**GROUPED, "head_dim": 8}, "Gemma2"),
    (IDS, {**DEEP, **V}, "Falcon"),
    (IDS, {**TEXT, "state_size": 4}, "Mamba"),
    (IDS, {**TEXT, "attention_hidden_size": 16}, "Rwkv"),
    (IDS, {**TEXT, "num_hidden_layers": 3, "lru_width": 16}, "RecurrentGemma"),
    (IDS, T5, "T5:T5EncoderModel"),
    (IDS, {**T5, **SPARSE}, "SwitchTransformers:SwitchTransformersEncoderModel"),
    (IDS, BART, "Bart"),
    (PIXELS, IMAGE, "CLIPVision SiglipVision ViT:ViTForImageClassification ViTMAE Beit DeiT"),
    (PIXELS, IMAGE, "Data2VecVision Dinov2 Dinov2WithRegisters"),
    (PIXELS, WINDOWS, "Swin Swinv2"),
    (PIXELS, PYRAMID, "ConvNext PoolFormer"),
    (PIXELS, {**PYRAMID, "num_attention_heads": [1, 1, 2, 2]}, "Segformer"),
    (PIXELS, {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8}, "ResNet"),
    (real(3, 64, 64), {"hidden_sizes": [16] * 3, "neck_hidden_sizes": [8] * 7}, "MobileViT"),
    (CLIP, {**IMAGE, "num_frames": 4}, "VideoMAE Timesformer"),
    (CLIP, {**IMAGE, "num_frames": 4, "tubelet_size": [2, 8, 8]}, "Vivit"),
    (real(8, 16), {**BART, **NAMED, **HEARD}, "Whisper:WhisperModel.encoder"),
    (WAVE, SOUND, "Wav2Vec2 WavLM"),
]
# Inputs by name, as tokenizers and processors give them.
BY_NAME: Table = [
    (padded(), TEXT, "Bert"),
    (padded(), {**TEXT, "attn_implementation": "eager"}, "Roberta"),
    (padded(), {**SHORT, "n_embd": 16}, "GPT2"),
    (padded(), GROUPED, "Llama"),
    (padded(decoder_input_ids=tokens(5)), T5, "T5"),
    (padded(pixel_values=PIXELS), {"text_config": TEXT, "vision_config": IMAGE}, "CLIP"),
]
TRANSFORMERS_QUICK = {"BertModel", "GPT2Model", "MixtralModel", "SwinModel", "AlbertModel"}


def transformers_module(config: str, model: str, options: dict[str, Any]) -> nn.Module:
    with quiet():
        transformers = pytest.importorskip("transformers")

        def make() -> nn.Module:
            kind, _, part = model.partition(".")
            settings = getattr(transformers, f"{config}Config")(**options)
            return getattr(transformers, kind)(settings).get_submodule(part)

        return built(make)


def transformers_cases(table: Table, word: str = "") -> Iterator[Case]:
    for stimuli, options, names in table:
        for name in names.split():
            config, _, model = name.partition(":")
            model = model or f"{config}Model"
            build = functools.partial(transformers_module, config, model, options)
            slow = model not in TRANSFORMERS_QUICK
            yield Case(f"transformers/{model}{word}", build, stimuli, slow)


CASES = [
    *(torchvision_case(*row) for row in TORCHVISION),
    *(
        Case(f"torchvision/{name}", functools.partial(built, make), real(*shape))
        for name, shape, make in TORCHVISION_PARTS
    ),
    *timm_cases(),
    *transformers_cases(TRANSFORMERS),
]
CASES_BY_NAME = list(transformers_cases(BY_NAME, " by name"))
