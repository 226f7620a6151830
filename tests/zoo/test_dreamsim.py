"""DreamSim: networks with what was learnt from people added in."""

from __future__ import annotations

import importlib
import io
import json
import re
import zipfile

import pytest
import safetensors.torch
import torch
from PIL import Image
from torchvision import transforms

from isomorph.extraction import FeatureExtractor
from isomorph.zoo import list_models, load_model

pytest.importorskip("timm", reason="needs timm: pip install 'isomorph[zoo]'")
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
RANK, ALPHA = 4, 6


def vit(patch, *, before):
    """Random weights of a ViT-B with two blocks' worth of life, by the names of DINO's code."""
    torch.manual_seed(0)
    n_places = (224 // patch) ** 2 + 1
    state = {
        "cls_token": torch.randn(1, 1, 768),
        "pos_embed": torch.randn(1, n_places, 768),
        "patch_embed.proj.weight": 0.02 * torch.randn(768, 3, patch, patch),
        "patch_embed.proj.bias": torch.randn(768),
    }
    sizes = {"attn.qkv": (2304, 768), "attn.proj": (768, 768)}
    sizes |= {"mlp.fc1": (3072, 768), "mlp.fc2": (768, 3072)}
    for block in range(12):
        for name, shape in sizes.items():
            state[f"blocks.{block}.{name}.weight"] = 0.02 * torch.randn(shape)
            state[f"blocks.{block}.{name}.bias"] = 0.1 * torch.randn(shape[0])
    norms = [f"blocks.{block}.norm{i}" for block in range(12) for i in (1, 2)] + ["norm"]
    for name in [*norms, *(["pos_drop"] if before else [])]:
        state[f"{name}.weight"] = 1 + 0.1 * torch.randn(768)
        state[f"{name}.bias"] = 0.1 * torch.randn(768)
    return state


def additions():
    """LoRA pairs for the queries, keys and values of every block, by the names of peft."""
    torch.manual_seed(3)
    found = {}
    for block in range(12):
        path = f"base_model.model.extractor_list.0.model.blocks.{block}.attn.qkv"
        found[f"{path}.lora_A.weight"] = 0.1 * torch.randn(RANK, 768)
        found[f"{path}.lora_B.weight"] = 0.1 * torch.randn(2304, RANK)
    return found


def archive(parts, tag, learnt, *, as_bin=False):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in parts.items():
            inside = io.BytesIO()
            torch.save(content, inside)
            file.writestr(name, inside.getvalue())
        settings = {"r": RANK, "lora_alpha": ALPHA, "target_modules": ["qkv"]}
        file.writestr(f"{tag}_lora/adapter_config.json", json.dumps(settings))
        if as_bin:
            inside = io.BytesIO()
            torch.save(learnt, inside)
            file.writestr(f"{tag}_lora/adapter_model.bin", inside.getvalue())
        else:
            file.writestr(f"{tag}_lora/adapter_model.safetensors", safetensors.torch.save(learnt))
    return stream.getvalue()


def with_learnt(state, learnt):
    """The weights with B A added, in float64."""
    state = {name: value.double() for name, value in state.items()}
    for block in range(12):
        path = f"base_model.model.extractor_list.0.model.blocks.{block}.attn.qkv"
        a, b = learnt[f"{path}.lora_A.weight"], learnt[f"{path}.lora_B.weight"]
        state[f"blocks.{block}.attn.qkv.weight"] += ALPHA / RANK * b.double() @ a.double()
    return state


def embedded(rows):
    rows = rows - rows.mean(1, keepdim=True)
    return rows / rows.norm(dim=1, keepdim=True)


def normalised(images, mean, std):
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@pytest.mark.parametrize(
    "name", ["clip_vitb32", pytest.param("open_clip_vitb32", marks=pytest.mark.slow)]
)
def test_clips_with_what_was_learnt_from_people(name, keep_checkpoint, plain_vit):
    state, learnt = vit(32, before=True), additions()
    proj = 0.05 * torch.randn(768, 512)
    parts = {f"{name}_pretrain.pth.tar": {"state_dict": {**state, "proj": proj}}}
    keep_checkpoint("dreamsim", name, "nights", archive(parts, f"{name}_single", learnt))
    model = load_model(f"dreamsim/{name}", progress=False)
    assert model.uid == f"dreamsim/{name}@nights"
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        found = model(images).double()
    options = {"before": "pos_drop", "eps": 1e-5}
    if name == "clip_vitb32":
        options["gelu"] = lambda rows: rows * (1.702 * rows).sigmoid()
    shown = normalised(images, *CLIP)
    rows = plain_vit(with_learnt(state, learnt), shown, 32, 12, **options)[:, 0] @ proj.double()
    torch.testing.assert_close(found, embedded(rows), rtol=1e-3, atol=1e-5)
    # What was learnt matters: without it, the answer is another one.
    rows = plain_vit(state, shown, 32, 12, **options)[:, 0] @ proj.double()
    assert not torch.allclose(found, embedded(rows), atol=1e-3)


@pytest.mark.slow
def test_dino_comes_from_its_own_authors_and_ends_before_the_last_norm(
    keep_checkpoint, weights_folder, plain_vit
):
    state, learnt = vit(16, before=False), additions()
    content = archive({}, "dino_vitb16_single", learnt, as_bin=True)
    keep_checkpoint("dreamsim", "dino_vitb16", "nights", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("urllib.request.urlopen", no_network)
        with pytest.raises(FileNotFoundError, match="dino_vitbase16_pretrain.pth"):
            load_model("dreamsim/dino_vitb16", progress=False)
    torch.save(state, weights_folder / "dino_vitbase16_pretrain.pth")
    model = load_model("dreamsim/dino_vitb16", progress=False)
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        found = model(images).double()
    shown = normalised(images, *IMAGENET)
    rows = plain_vit(with_learnt(state, learnt), shown, 16, 12, last_norm=False)[:, 0]
    torch.testing.assert_close(found, embedded(rows), rtol=1e-3, atol=1e-5)


def no_network(*_args, **_options):
    raise ConnectionError("no network")


def test_archives_that_are_none_or_another_models(keep_checkpoint):
    keep_checkpoint("dreamsim", "synclr_vitb16", "nights", b"not a zip archive")
    with pytest.raises(ValueError, match="expected a zip archive at"):
        load_model("dreamsim/synclr_vitb16", progress=False)
    content = archive({}, "clip_vitb32_single", additions())
    keep_checkpoint("dreamsim", "synclr_vitb16", "nights", content)
    with pytest.raises(ValueError, match="expected one file synclr_vit_b_16.pth inside, got 0"):
        load_model("dreamsim/synclr_vitb16", progress=False)


def test_additions_to_weights_that_are_not_there(keep_checkpoint):
    names = [f"module.visual.blocks.{block}.attn.qkv.weight" for block in range(12)]
    state = dict.fromkeys(names, torch.zeros(2304, 768))
    learnt = {
        re.sub(r"blocks\.11\.", "blocks.12.", name): value for name, value in additions().items()
    }
    parts = {"synclr_vit_b_16.pth": {"model": state}}
    content = archive(parts, "synclr_vitb16_single", learnt)
    keep_checkpoint("dreamsim", "synclr_vitb16", "nights", content)
    with pytest.raises(ValueError, match=r"got \['branches.0.network.blocks.12.attn.qkv.weight'\]"):
        load_model("dreamsim/synclr_vitb16", progress=False)


def test_the_ensemble_puts_three_networks_side_by_side():
    build = importlib.import_module("isomorph.zoo.sources.dreamsim").build
    with torch.device("meta"):
        module = build("ensemble").module
    sides = [branch.network.patch_embed.proj.kernel_size for branch in module.branches]
    assert sides == [(16, 16)] * 3
    with torch.inference_mode():
        assert module(torch.zeros(2, 3, 224, 224, device="meta")).shape == (2, 768 + 512 + 512)
    frame = list_models(source="dreamsim")
    assert set(frame["task"]) == {"perceptual similarity"}


def test_pictures_are_squeezed_and_not_normalised_before(pictures, data_folder):
    size, bicubic = (224, 224), transforms.InterpolationMode.BICUBIC
    theirs = transforms.Compose([transforms.Resize(size, bicubic), transforms.ToTensor()])
    ours = load_model("dreamsim/clip_vitb32", weights=None).preprocess
    for picture in pictures:
        assert torch.equal(ours(picture), theirs(picture))
    with Image.open(data_folder / "photos" / "cat.bmp") as picture:
        assert torch.equal(ours(picture), theirs(picture.convert("RGB")))


@pytest.mark.slow
def test_the_survey_finds_every_layer():
    model = load_model("dreamsim/clip_vitb32", weights=None)
    images = torch.rand(6, 3, 224, 224)
    extractor = FeatureExtractor(model, images, progress=False)
    assert len(extractor.plan.distinct) > 100
    assert extractor.plan.distinct[-1].name == "embedding"
