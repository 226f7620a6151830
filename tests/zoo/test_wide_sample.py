"""A wide sample of every source: the survey finds its layers, and it answers as its library."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from isomorph.extraction import FeatureExtractor, Model, fresh_on, ready
from isomorph.extraction.inputs import Inputs
from isomorph.zoo import load_model, model_sources
from isomorph.zoo.load import seeded

os.environ.setdefault("KERAS_BACKEND", "torch")

SAMPLE: dict[str, tuple[str, ...]] = {
    "torchvision": (
        *("alexnet", "vgg11", "resnet18", "densenet121", "squeezenet1_1", "mobilenet_v2"),
        *("mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0"),
        *("regnet_y_400mf", "convnext_tiny", "swin_t", "swin_v2_t", "googlenet", "inception_v3"),
        *("lraspp_mobilenet_v3_large", "r3d_18", "vit_b_32"),
    ),
    "timm": (
        *("resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mobilevit_xxs", "levit_128s"),
        *("poolformer_s12", "xcit_nano_12_p16_224", "pit_ti_224", "edgenext_xx_small"),
        *("mixer_b16_224", "ghostnet_100", "lcnet_050", "regnetx_002", "repvgg_a0", "tinynet_e"),
        *("efficientvit_m0", "crossvit_tiny_240", "fastvit_t8", "test_vit3", "resnest14d"),
        *("sequencer2d_s", "deit_tiny_distilled_patch16_224", "coat_lite_tiny", "dla46x_c"),
    ),
    "keras": ("MobileNetV3Small", "EfficientNetB0", "DenseNet121", "ResNet50V2"),
    "open_clip": ("RN50", "ViTamin-S", "PE-Core-T-16-384", "RN50/text"),
    "clip": ("RN50", "RN50/text"),
    "transformers": (
        *("facebook/deit-tiny-patch16-224", "nvidia/mit-b0", "facebook/convnextv2-atto-1k-224"),
        *("microsoft/resnet-18", "facebook/dinov2-small", "google/electra-small-discriminator"),
        *("albert/albert-base-v2", "EleutherAI/pythia-70m", "google-t5/t5-small"),
    ),
    "sentence_transformers": ("paraphrase-MiniLM-L3-v2", "paraphrase-albert-small-v2"),
    "hub": ("dino_vits16", "barlowtwins_resnet50", "dino_xcit_small_12_p16"),
    "ipcl": ("alexnet_gn",),
    "cornet": ("cornet_z", "cornet_rt", "cornet_s"),
    "taskonomy": ("autoencoding",),
    "robust": ("resnet18",),
    "ecological": ("alexnet_ecoset",),
    "dreamsim": ("dino_vitb16",),
}
N = 3
ALL = [(source, name) for source, names in SAMPLE.items() for name in names]


def direct(source: str, name: str) -> Callable[[Any], torch.Tensor] | None:
    """The same network, seeded in the same way, from the library itself; None for our own writing.

    What is given takes a batch and gives the network's answer.
    """
    with seeded(0):
        if source == "torchvision":
            import torchvision

            if name in ("googlenet", "inception_v3"):
                build = torchvision.models.get_model_builder(name)
                # As the published ones are: they scale their input, and googlenet's aids are gone.
                aids = name == "inception_v3"
                return build(init_weights=True, aux_logits=aids, transform_input=True).eval()
            options = {"weights_backbone": None} if name.startswith("lraspp") else {}
            module = torchvision.models.get_model(name, weights=None, **options).eval()
            if name.startswith("lraspp"):
                return lambda batch: module(batch)["out"]
            return module
        if source == "timm":
            import timm

            return timm.create_model(name).eval()
        if source == "open_clip":
            import open_clip

            module = open_clip.create_model(name.removesuffix("/text"), device="cpu").eval()
            if name.endswith("/text"):
                return lambda batch: module.encode_text(batch["text"])
            return module.encode_image
    return None


def test_the_sample_is_wide():
    assert set(SAMPLE) == set(model_sources()) - {"own"}
    assert len(ALL) >= 60


def stimuli_of(model: Model) -> Any:
    source = model.uid.partition("/")[0]
    modality = {row.name: row.modality for row in _rows(model)}[_name(model)]
    rng = np.random.default_rng(0)
    if modality == "language" and source in ("transformers", "sentence_transformers"):
        # Their tokenizers lie on the hub.
        tokens = torch.from_numpy(rng.integers(5, 900, (N, 9)))
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if modality == "language":
        return {"a": "a cat", "b": "two dogs bark", "c": "a red car " * 3}
    if modality == "video":
        return torch.from_numpy(rng.standard_normal((N, 3, 8, 64, 64), np.float32))
    pixels = rng.integers(0, 255, (N, 12, 12, 3), np.uint8)
    return [Image.fromarray(one).resize((300, 260)) for one in pixels]


def _name(model: Model) -> str:
    return model.uid.partition("/")[2].rpartition("@")[0]


def _rows(model: Model) -> Any:
    return model_sources()[model.uid.partition("/")[0]].rows()


@pytest.mark.parametrize(("source", "name"), ALL, ids=[f"{s}/{n}" for s, n in ALL])
def test_a_network_of_every_kind(source, name):
    if not model_sources()[source].installed:
        pytest.skip(f"{source} is not installed")
    model = load_model(f"{source}/{name}", weights=None, seed=0)
    assert model.uid == f"{source}/{name}@random-0"
    stimuli = stimuli_of(model)
    extractor = FeatureExtractor(model, stimuli, batch_size=2, progress=False)
    plan = extractor.plan
    assert len(plan.distinct) > 5
    readable = [layer for layer in plan.layers if not layer.left_out]
    # Tables of relative positions, which do not scale with the batch, are rightly left out.
    assert len(readable) > 0.7 * len(plan.layers), plan.summary()
    (step,) = Inputs(model, stimuli, batch_size=8).steps()
    batch = fresh_on(step.inputs, torch.device("cpu"))
    with torch.no_grad(), ready(model, torch.device("cpu")):
        answer = _tensor(model(batch))
        theirs = direct(source, name)
        if theirs is not None:
            assert torch.equal(answer, _tensor(theirs(batch)))
    assert torch.isfinite(answer).all()
    assert answer.shape[0] == N


def _tensor(answer: Any) -> torch.Tensor:
    if isinstance(answer, torch.Tensor):
        return answer
    values = list(answer.values() if hasattr(answer, "values") else answer)
    return next(value for value in values if isinstance(value, torch.Tensor))
