"""Self-supervised networks as their authors publish them, and the table of published files."""

from __future__ import annotations

import argparse
import importlib
import re

import pytest
import torch
from torch.nn import functional
from torchvision import models, transforms

from isomorph.extraction import FeatureExtractor
from isomorph.zoo import list_models, load_model
from isomorph.zoo.source import FAMILIES, TASKS
from isomorph.zoo.tables import published as table

pytest.importorskip("timm", reason="needs timm: pip install 'isomorph[zoo]'")
SOURCES = ("hub", "ipcl", "cornet", "taskonomy", "robust", "ecological", "dreamsim")


def resnet50(seed=1):
    """torchvision's, without its classifier."""
    torch.manual_seed(seed)
    module = models.resnet50(weights=None).eval()
    module.fc = torch.nn.Identity()
    return module


# ------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("source", SOURCES)
def test_every_line_of_the_table_is_whole(source):
    entries = table.published(source)
    assert entries
    for entry in entries.values():
        row = entry.row
        assert row.family in FAMILIES
        assert row.task in TASKS or row.task.partition(" (")[0] in TASKS
        assert row.architecture
        assert row.train_data
        assert row.url.startswith("https://")
        assert entry.seen_in
        assert entry.file_name == entry.file_name.strip()
        assert "/" not in entry.file_name
        assert re.fullmatch(r"[0-9a-f]{0,64}", entry.sha256)
        assert len(entry.sha256) in (0, 8, 10, 64)
        assert re.fullmatch(r"([0-9a-f]{8})?", entry.md5)
        assert not (entry.md5 and entry.sha256)
        # The publisher's file names hold the hash: what they say and what the table says agree.
        assert entry.sha256 in entry.file_name
    names = {row.name for row in table.rows_of(source)}
    defaults = [row.name for row in table.rows_of(source) if row.default]
    assert sorted(defaults) == sorted(names)


def test_no_two_files_have_one_name_in_the_cache():
    files = [entry.file_name for source in SOURCES for entry in table.published(source).values()]
    assert len(files) == len(set(files)) > 200


@pytest.mark.parametrize("source", SOURCES)
def test_parameters_in_the_table_are_those_of_the_architectures(source):
    build = importlib.import_module(f"isomorph.zoo.sources.{source}").build
    counted: dict[tuple[str, str], tuple[int, int]] = {}
    for row in table.rows_of(source):
        # Networks of one architecture differ in their heads alone.
        kind = (row.architecture, row.task if source in ("hub", "ipcl") else row.name)
        if kind not in counted:
            with torch.device("meta"):
                module = build(row.name).module
            n_params = sum(p.numel() for p in module.parameters())
            n_bytes = sum(t.numel() * t.element_size() for t in module.state_dict().values())
            counted[kind] = (n_params, n_bytes)
        assert (row.n_params, row.weights_bytes) == counted[kind]


# ------------------------------------------------------------------------------- ResNets


def as_swav(state):
    more = {"projection_head.0.weight": torch.ones(2), "prototypes.weight": torch.ones(2)}
    return {f"module.{name}": value for name, value in (state | more).items()}


def as_moco_v2(state):
    encoders = {
        f"module.{encoder}.{name}": value + (encoder == "encoder_k")
        for encoder in ("encoder_k", "encoder_q")
        for name, value in (state | {"fc.0.weight": torch.ones(2)}).items()
    }
    queue = {"module.queue": torch.ones(128, 4), "module.queue_ptr": torch.zeros(1)}
    # Settings of the training lie beside: words and numbers, which may be read.
    settings = argparse.Namespace(lr=0.03, schedule=[120, 160])
    return {"args": settings, "arch": "resnet50", "state_dict": encoders | queue}


def as_moco_v3(state):
    parts = {f"module.base_encoder.{name}": value for name, value in state.items()}
    parts |= {f"module.momentum_encoder.{name}": value + 1 for name, value in state.items()}
    parts |= {"module.base_encoder.fc.0.weight": torch.ones(2)}
    return {"state_dict": parts | {"module.predictor.0.weight": torch.ones(2)}}


def as_vissl(state):
    trunk = {f"_feature_blocks.{name}": value for name, value in state.items()}
    heads = {"0.clf.weight": torch.ones(2)}
    inside = {"model": {"trunk": trunk, "heads": heads}, "meters": {}}
    return {"phase_idx": 99, "loss": {}, "classy_state_dict": {"base_model": inside}}


def with_classifier(state):
    return state | {"fc.weight": torch.ones(10, 2048), "fc.bias": torch.ones(10)}


@pytest.mark.parametrize(
    ("name", "weights", "wrap"),
    [
        ("dino_resnet50", "imagenet1k", dict),
        ("swav_resnet50", "200ep_bs256", as_swav),
        ("vicreg_resnet50", "imagenet1k", dict),
        ("barlowtwins_resnet50", "1000ep", with_classifier),
        ("mocov2_resnet50", "800ep", as_moco_v2),
        ("mocov3_resnet50", "300ep", as_moco_v3),
        ("simclr_resnet50", "100ep", as_vissl),
    ],
)
def test_resnets_are_read_as_their_authors_wrap_them(name, weights, wrap, keep_checkpoint):
    theirs = resnet50()
    keep_checkpoint("hub", name, weights, wrap(theirs.state_dict()))
    model = load_model(f"hub/{name}@{weights}", progress=False)
    assert model.uid == f"hub/{name}@{weights}"
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        found = model(images)
        assert torch.equal(found, theirs(images))
    assert found.shape == (2, 2048)


def test_another_file_than_the_publishers_is_refused(weights_folder):
    (weights_folder / "moco_v2_800ep_pretrain.pth.tar").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"whose MD5 begins with a04e12f8"):
        load_model("hub/mocov2_resnet50@800ep", progress=False)


def test_weights_that_nobody_knows_are_refused(keep_checkpoint):
    state = resnet50().state_dict() | {"attention.weight": torch.ones(2)}
    keep_checkpoint("hub", "vicreg_resnet50", "imagenet1k", state)
    with pytest.raises(ValueError, match=r"1 unknown \(attention.weight\)"):
        load_model("hub/vicreg_resnet50", progress=False)


def test_missing_weights_are_refused(keep_checkpoint):
    state = resnet50().state_dict()
    del state["layer3.2.conv1.weight"]
    keep_checkpoint("hub", "vicreg_resnet50", "imagenet1k", state)
    with pytest.raises(ValueError, match=r"1 missing \(layer3.2.conv1.weight\)"):
        load_model("hub/vicreg_resnet50", progress=False)


def test_widened_resnets_are_wide_everywhere():
    from isomorph.zoo.architectures.resnet_widened import WidenedResNet

    torch.manual_seed(0)
    narrow = WidenedResNet((3, 4, 6, 3), 1)
    assert {name: value.shape for name, value in narrow.state_dict().items()} == {
        name: value.shape for name, value in resnet50().state_dict().items()
    }
    with torch.device("meta"):
        wide = WidenedResNet((3, 4, 6, 3), 2)
    for name, value in narrow.state_dict().items():
        expected = [2 * n for n in value.shape[:2]] + list(value.shape[2:])
        if name == "conv1.weight":
            expected[1] = 3
        assert list(wide.state_dict()[name].shape) == expected


# ------------------------------------------------------------------------------- transformers


def lively(state):
    """Weights of a random twin, none of them constant."""
    torch.manual_seed(1)
    for value in state.values():
        if value.is_floating_point() and (value.ndim < 2 or not value.any()):
            value += 0.1 * torch.randn(value.shape)
    return state


def as_ibot(state):
    return {"state_dict": {f"backbone.{name}": value for name, value in state.items()}}


@pytest.mark.parametrize(
    ("name", "weights", "patch", "heads", "wrap"),
    [
        ("dino_vits16", "imagenet1k", 16, 6, dict),
        pytest.param("ibot_vits16", "imagenet1k", 16, 6, as_ibot, marks=pytest.mark.slow),
        ("mocov3_vits16", "300ep", 16, 12, as_moco_v3),
    ],
)
def test_transformers_give_what_their_published_weights_mean(
    name, weights, patch, heads, wrap, keep_checkpoint, plain_vit
):
    state = lively(load_model(f"hub/{name}", weights=None, seed=2).module.state_dict())
    keep_checkpoint("hub", name, weights, wrap(state))
    model = load_model(f"hub/{name}@{weights}", progress=False)
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        found = model(images).double()
    expected = plain_vit(state, images, patch, heads)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2_takes_places_for_518_pixels_to_224(registers, keep_checkpoint, plain_vit):
    name = "dinov2_vits14_reg" if registers else "dinov2_vits14"
    state = load_model(f"hub/{name}", weights=None).module.state_dict()
    state = {key: value for key, value in state.items() if key != "reg_token"}
    # As published: places for 37 x 37 patches and the class token, which timm keeps apart.
    state |= {"pos_embed": torch.zeros(1, 1370, 384), "mask_token": torch.zeros(1, 384)}
    state = lively(state)
    if registers:
        state["register_tokens"] = torch.randn(1, 4, 384)
    keep_checkpoint("hub", name, "lvd142m", state)
    model = load_model(f"hub/{name}", progress=False)
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        found = model(images).double()
    grid = state["pos_embed"][:, 1:].reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    how = {"size": (16, 16), "antialias": True} if registers else {"scale_factor": 16.1 / 37}
    grid = functional.interpolate(grid, mode="bicubic", **how)
    places = torch.cat([state["pos_embed"][:, :1], grid.flatten(2).mT], 1)
    expected = plain_vit(state, images, 14, 6, places=places)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_dinov2s_gated_network_takes_timms_names():
    from isomorph.zoo.architectures.published_names import adapt

    with torch.device("meta"):
        module = importlib.import_module("timm").create_model(
            "vit_giant_patch14_dinov2", img_size=224, num_classes=0, depth=1
        )
    state = {name: torch.zeros(value.shape) for name, value in module.state_dict().items()}
    theirs = {
        name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): value
        for name, value in state.items()
    }
    assert adapt(theirs, module).keys() == state.keys()


def test_xcit_takes_the_class_tokens_matrices_apart(keep_checkpoint):
    xcit = importlib.import_module("timm.models.xcit")
    name = "dino_xcit_small_12_p16"
    module = load_model(f"hub/{name}", weights=None).module
    state, theirs = lively(module.state_dict()), {}
    for key, value in state.items():
        if ".attn.q." in key and key.startswith("cls_attn_blocks"):
            parts = [state[key.replace(".q.", f".{letter}.")] for letter in "qkv"]
            theirs[key.replace(".q.", ".qkv.")] = torch.cat(parts)
        elif not re.match(r"cls_attn_blocks\.\d+\.attn\.[kv]\.", key):
            theirs[key.replace("pos_embed.", "pos_embeder.")] = value
    keep_checkpoint("hub", name, "imagenet1k", theirs)
    found = load_model(f"hub/{name}", progress=False).module.state_dict()
    # timm's own reading of the authors' files.
    expected = xcit.checkpoint_filter_fn(dict(theirs), module)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.slow
def test_fine_tuned_mae_averages_patches_and_classifies():
    module = load_model("hub/mae_finetuned_vitb16", weights=None).module
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        tokens = module.forward_features(images)
        rows = module.fc_norm(tokens[:, 1:].mean(1))
        expected = module.head(rows)
        assert torch.allclose(module(images), expected, atol=1e-6)
    assert expected.shape == (1, 1000)
    assert "norm.weight" not in module.state_dict()


@pytest.mark.slow
def test_the_survey_finds_every_layer():
    model = load_model("hub/dino_vits16", weights=None)
    images = torch.randn(6, 3, 224, 224)
    plan = FeatureExtractor(model, images, progress=False).plan
    assert len(plan.distinct) > 100
    features = next(iter(FeatureExtractor(model, images, layers=["norm"], progress=False)))
    with torch.inference_mode():
        torch.testing.assert_close(features["norm"][:, 0], model(images), rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize(
    ("name", "interpolation"),
    [
        ("dino_vits16", transforms.InterpolationMode.BICUBIC),
        ("swav_resnet50", transforms.InterpolationMode.BILINEAR),
    ],
)
def test_preprocessing_is_the_authors_for_evaluation(name, interpolation, pictures):
    theirs = transforms.Compose(
        [
            transforms.Resize(256, interpolation),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    ours = load_model(f"hub/{name}", weights=None).preprocess
    for picture in pictures:
        assert torch.equal(ours(picture), theirs(picture))


def test_methods_differ_in_the_task_alone():
    frame = list_models(source="hub", architecture="resnet50", train_data="ImageNet-1K")
    assert frame["task"].nunique() == 5
    assert len(frame) > 25
