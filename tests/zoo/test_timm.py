"""timm's networks: what the catalogue says of them, how they are loaded, what they answer."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from isomorph.extraction import FeatureExtractor, Model, extract_features
from isomorph.registry import UnknownNameError
from isomorph.zoo import as_model, list_models, load_model
from isomorph.zoo.preprocessing.image import ImagePreprocess
from isomorph.zoo.preprocessing.padded import PaddedPreprocess
from isomorph.zoo.sources import timm as source

timm = pytest.importorskip("timm")
from timm.data import create_transform, resolve_model_data_config  # noqa: E402

SMALL = "timm/test_vit"  # timm's own networks for tests: a few thousand parameters
SIZES = [(640, 480), (300, 500), (161, 160), (1000, 200), (37, 90)]
# Of every kind of network, and of sizes that a test can run.
WIDE = [
    "test_vit",
    "test_resnet",
    "test_convnext",
    "test_byobnet",
    "test_efficientnet",
    "test_mambaout",
    "resnet10t",
    "mobilenetv3_small_050",
    "lcnet_035",
    "efficientvit_m0",
    "edgenext_xx_small",
    "mobilevit_xxs",
    "pit_ti_224",
    "xcit_nano_12_p16_224",
    "levit_128s",
    "repvgg_a0",
    "poolformer_s12",
    "vit_tiny_patch16_224",
    "convit_tiny",  # keeps a table from its first call
]


@pytest.fixture(scope="module")
def frame():
    return list_models(source="timm").set_index("uid")


def pictures(sizes=SIZES):
    rng = np.random.default_rng(0)
    for width, height in sizes:
        yield Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8))


def test_every_pretrained_tag_is_a_row_with_all_that_is_known(frame):
    expected = {f"timm/{name.replace('.', '@', 1)}" for name in timm.list_models(pretrained=True)}
    assert set(frame.index) == expected
    assert len(frame) > 1500
    for column in ("n_params", "input_size", "weights_bytes"):
        assert frame[column].notna().mean() > 0.99
    assert (frame["family"] != "").all()
    assert (frame.groupby("name")["default"].sum() == 1).all()
    assert (frame["train_data"] != "").mean() > 0.9
    assert (frame["url"].str.startswith("https://")).all()


def test_the_default_weights_are_those_that_timm_takes(frame):
    defaults = frame[frame["default"]].set_index("name")["weights"]
    for name in ("resnet50", "vit_base_patch16_224", "convnext_base", "efficientnet_b0"):
        assert defaults[name] == timm.get_pretrained_cfg(name).tag


@pytest.mark.parametrize(
    "name", ["resnet50.a1_in1k", "vit_tiny_patch16_224.augreg_in21k", "test_vit.r160_in1k"]
)
def test_the_measured_sizes_are_those_of_the_networks(name, frame):
    module = timm.create_model(name, pretrained=False)
    row = frame.loc[f"timm/{name.replace('.', '@', 1)}"]
    assert row["n_params"] == sum(p.numel() for p in module.parameters())
    assert row["weights_bytes"] == sum(
        t.numel() * t.element_size() for t in module.state_dict().values()
    )
    assert row["input_size"] == module.pretrained_cfg["input_size"][1]


# Read off timm's pages and the papers, by hand.
FACTS = {
    "resnet50@a1_in1k": ("resnet50", "classification", "ImageNet-1K"),
    "resnet50@fb_swsl_ig1b_ft_in1k": (
        "resnet50",
        "classification",
        "ImageNet-1K, Instagram-1B",
    ),
    "vit_base_patch16_224@dino": (
        "vit_base_patch16",
        "self-supervised (self-distillation)",
        "ImageNet-1K",
    ),
    "vit_base_patch16_224@mae": (
        "vit_base_patch16",
        "self-supervised (masked modelling)",
        "ImageNet-1K",
    ),
    "vit_base_patch16_224@augreg_in21k": ("vit_base_patch16", "classification", "ImageNet-22K"),
    "vit_base_patch16_224@orig_in21k": ("vit_base_patch16", "classification", "ImageNet-22K"),
    "vit_base_patch16_clip_224@openai": (
        "vit_base_patch16",
        "image–text contrastive",
        "WIT-400M",
    ),
    "vit_base_patch16_clip_224@laion2b_ft_in12k_in1k": (
        "vit_base_patch16",
        "classification",
        "ImageNet-1K, ImageNet-12K, LAION-2B",
    ),
    "vit_base_patch14_dinov2@lvd142m": (
        "vit_base_patch14_dinov2",
        "self-supervised (self-distillation)",
        "LVD-142M",
    ),
    "deit_base_patch16_224@fb_in1k": ("vit_base_patch16", "classification", "ImageNet-1K"),
    "tf_efficientnet_b0@ns_jft_in1k": (
        "tf_efficientnet_b0",
        "classification",
        "ImageNet-1K, JFT-300M",
    ),
    "convnextv2_base@fcmae": (
        "convnextv2_base",
        "self-supervised (masked modelling)",
        "ImageNet-1K",
    ),
    "convnextv2_base@fcmae_ft_in22k_in1k": (
        "convnextv2_base",
        "classification",
        "ImageNet-1K, ImageNet-22K",
    ),
    "regnety_320@seer": ("regnety_320", "self-supervised (clustering)", "Instagram-1B"),
    "regnety_320@seer_ft_in1k": ("regnety_320", "classification", "ImageNet-1K, Instagram-1B"),
    "regnety_160@swag_lc_in1k": ("regnety_160", "classification", "ImageNet-1K, Instagram-3.6B"),
    "swin_base_patch4_window7_224@ms_in22k_ft_in1k": (
        "swin_base_patch4_window7",
        "classification",
        "ImageNet-1K, ImageNet-22K",
    ),
    "vit_base_patch16_siglip_224@webli": (
        "vit_base_patch16_siglip",
        "image–text contrastive",
        "WebLI",
    ),
    "resnet50_clip@openai": ("resnet50_clip", "image–text contrastive", "WIT-400M"),
    "eva02_base_patch14_224@mim_in22k": (
        "eva02_base_patch14",
        "self-supervised (masked modelling)",
        "ImageNet-22K",
    ),
    "resnet50@bamboo": ("resnet50", "classification", "Bamboo-69M"),
    "levit_256@fb_dist_in1k": ("levit_256", "classification", "ImageNet-1K"),
}


@pytest.mark.parametrize("name", FACTS)
def test_what_a_tag_says(name, frame):
    row = frame.loc[f"timm/{name}"]
    assert (row["architecture"], row["task"], row["train_data"]) == FACTS[name]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("resnet50", "convolutional"),
        ("vit_base_patch16_224", "transformer"),
        ("coatnet_0_rw_224", "hybrid"),
        ("mixer_b16_224", "mlp"),
        ("sequencer2d_s", "recurrent"),
        ("mobilenetv4_hybrid_medium", "hybrid"),
        ("mobilenetv4_conv_small", "convolutional"),
        ("convformer_s18", "convolutional"),
        ("caformer_s18", "hybrid"),
    ],
)
def test_families(name, family, frame):
    assert set(frame.loc[frame["name"] == name, "family"]) == {family}


@pytest.mark.parametrize("name", WIDE)
def test_a_random_twin_answers_as_timms_own_and_can_be_surveyed(name):
    model = load_model(f"timm/{name}", weights=None, seed=3)
    torch.manual_seed(3)
    expected = timm.create_model(name, pretrained=False).eval()
    assert model.uid == f"timm/{name}@random-3"
    state = model.module.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in expected.state_dict().items())
    inputs = torch.stack([model.preprocess(picture) for picture in pictures(SIZES[:3])])
    with torch.inference_mode():
        answer = expected(inputs)
        assert torch.equal(model(inputs), answer)
    plan = FeatureExtractor(model, inputs, progress=False).plan
    assert len(plan.distinct) > 5
    last = plan.distinct[-1].name
    maps = extract_features(model, inputs, layers=[last], progress=False)[last]
    assert torch.allclose(torch.as_tensor(maps).reshape(3, -1), answer.reshape(3, -1), atol=1e-5)


def of_each_preprocessing():
    """One weight set for each way in which timm prepares pictures, but for size and colours."""
    found = {}
    for name in timm.list_models(pretrained=True):
        config = timm.get_pretrained_cfg(name)
        if config.input_size[0] == 3 and config.input_size[1] <= 448:
            key = (config.crop_mode, config.interpolation, config.crop_pct)
            found.setdefault(key, name)
    border = next(n for n in timm.list_models(pretrained=True) if n.startswith("deepseek_vit"))
    tall = "vit_base_patch16_sapiens2.fb"
    return sorted({*found.values(), border, tall})


def of_config(name):
    module = torch.nn.Identity()
    module.pretrained_cfg = timm.get_pretrained_cfg(name).to_dict()
    return module


@pytest.mark.parametrize("name", of_each_preprocessing())
def test_preprocessing_equals_timms_bit_for_bit(name):
    module = of_config(name)
    theirs = create_transform(**resolve_model_data_config(module), is_training=False)
    ours = source._preprocess_of(module)
    assert isinstance(ours, ImagePreprocess | PaddedPreprocess)
    for picture in pictures(SIZES[:4]):
        assert torch.equal(ours(picture), theirs(picture))
    assert ours.input_size == module.pretrained_cfg["input_size"][1]


def test_preprocessing_of_real_photos(data_folder):
    photos = sorted((data_folder / "photos").glob("*.bmp"))[:3]
    for name in ("vit_base_patch16_clip_224.openai", "convnext_base.fb_in22k_ft_in1k"):
        module = of_config(name)
        theirs = create_transform(**resolve_model_data_config(module), is_training=False)
        for photo in photos:
            with Image.open(photo) as picture:
                rgb = picture.convert("RGB")
            assert torch.equal(source._preprocess_of(module)(rgb), theirs(rgb))


def lay_out_hub(cache, repository, state):
    folder = cache / f"models--{repository.replace('/', '--')}"
    commit = hashlib.sha1(repository.encode()).hexdigest()
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    safetensors.torch.save_file(state, snapshot / "model.safetensors")


def test_published_weights_come_from_the_hubs_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path))
    state = load_model(SMALL, weights=None, seed=5).module.state_dict()
    lay_out_hub(tmp_path / "huggingface", "timm/test_vit.r160_in1k", state)
    for uid in (SMALL, f"{SMALL}@r160_in1k", "timm/test_vit.r160_in1k"):
        model = load_model(uid, progress=False)
        assert model.uid == f"{SMALL}@r160_in1k"
        found = model.module.state_dict()
        assert all(torch.equal(value, found[key]) for key, value in state.items())


def test_the_cache_that_timm_uses_is_read_too(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.delenv("ISOMORPH_CACHE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    state = load_model("timm/test_resnet", weights=None, seed=6).module.state_dict()
    lay_out_hub(tmp_path, "timm/test_resnet.r160_in1k", state)
    model = load_model("timm/test_resnet")
    assert torch.equal(model.module.state_dict()["fc.weight"], state["fc.weight"])


def test_weights_at_an_address_come_from_torchs_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path))
    name = "legacy_seresnet18"
    state = load_model(f"timm/{name}", weights=None, seed=2).module.state_dict()
    file = tmp_path / "weights" / "plain.pth"
    file.parent.mkdir()
    torch.save({"state_dict": state}, file)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    config = timm.get_pretrained_cfg(f"{name}.in1k")
    config.url = f"https://example.org/se-{digits}.pth"
    file = file.rename(file.with_name(f"se-{digits}.pth"))
    monkeypatch.setattr(source, "_config", lambda *_: config)
    model = load_model(f"timm/{name}@in1k", progress=False)
    found = model.module.state_dict()
    assert all(torch.equal(value, found[key]) for key, value in state.items())
    file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(ValueError, match=f"expected a file whose SHA-256 begins with {digits}"):
        load_model(f"timm/{name}@in1k", progress=False)


def test_weights_that_are_not_here_say_what_to_do(tmp_path, monkeypatch):
    import huggingface_hub

    def no_network(*_args, local_files_only=False, **_kwargs):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    with pytest.raises(FileNotFoundError, match="hf download timm/test_vit.r160_in1k"):
        load_model(SMALL, progress=False)


def test_weights_of_another_network_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path))
    state = load_model("timm/test_resnet", weights=None).module.state_dict()
    lay_out_hub(tmp_path / "huggingface", "timm/test_vit.r160_in1k", state)
    with pytest.raises(ValueError, match="cannot be loaded into timm/test_vit@r160_in1k"):
        load_model(SMALL, progress=False)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("pwned"),))


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_files_that_are_broken_or_would_run_code_are_refused(file, tmp_path, monkeypatch):
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    repository = "timm/test_vit.r160_in1k"
    lay_out_hub(tmp_path / "huggingface", repository, {"a": torch.zeros(1)})
    (there,) = (tmp_path / "huggingface").rglob("model.safetensors")
    there.unlink()
    if file.endswith(".bin"):
        torch.save({"a": Evil()}, there.with_name(file))
    else:
        there.write_bytes(b"broken")
    with pytest.raises(ValueError, match=f"{file} cannot be loaded into timm/test_vit"):
        load_model(SMALL, progress=False)
    assert not (tmp_path / "pwned").exists()


def test_files_in_their_publishers_names_are_adapted(tmp_path):
    model = load_model("timm/convnext_atto", weights=None, seed=1)
    # As the authors of ConvNeXt name them.
    back = {}
    for key, value in model.module.state_dict().items():
        key = key.replace("stem.", "downsample_layers.0.")
        for stage in "0123":
            key = key.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
            key = key.replace(f"stages.{stage}.blocks.", f"stages.{stage}.")
        key = key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        key = key.replace("head.fc.", "head.")
        back[key.replace("head.norm.", "norm.")] = value
    torch.save({"model": back}, tmp_path / "theirs.pth")
    found = load_model("timm/convnext_atto", weights=tmp_path / "theirs.pth")
    assert found.weights_hash() == model.weights_hash()
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "none.pth")
    with pytest.raises(ValueError, match=r"do not fit.*unknown \(weight, bias\)"):
        load_model("timm/convnext_atto", weights=tmp_path / "none.pth")


def test_a_network_that_the_user_made_is_recognised():
    module = timm.create_model("test_vit", pretrained=False)
    model = as_model(module)
    theirs = create_transform(**resolve_model_data_config(module), is_training=False)
    picture = next(pictures())
    assert torch.equal(model.preprocess(picture), theirs(picture))
    assert as_model(torch.nn.Linear(2, 2)).preprocess is None
    mine = Model(module, preprocess=lambda picture: picture)
    assert as_model(mine) is mine


def test_a_file_of_other_weights_than_the_default_is_used_as_these(tmp_path):
    name = "tf_efficientnet_b0"
    state = load_model(f"timm/{name}", weights=None, seed=1).module.state_dict()
    safetensors.torch.save_file(state, tmp_path / "net.safetensors")
    default = load_model(f"timm/{name}", weights=tmp_path / "net.safetensors")
    model = load_model(f"timm/{name}@ap_in1k", weights=tmp_path / "net.safetensors")
    assert torch.equal(model.module.state_dict()["conv_stem.weight"], state["conv_stem.weight"])
    assert model.preprocess != default.preprocess
    theirs = create_transform(
        **resolve_model_data_config(timm.create_model(f"{name}.ap_in1k")), is_training=False
    )
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
    assert torch.equal(model.preprocess(picture), theirs(picture))
    headed = source.build_like("vit_tiny_patch16_224", "augreg_in21k").module
    assert headed.num_classes == 21843


def test_timms_spelling_with_a_random_twin():
    model = load_model(f"{SMALL}.r160_in1k@random-3")
    assert model.uid == f"{SMALL}@random-3"
    assert model.weights_hash() == load_model(SMALL, weights=None, seed=3).weights_hash()


def test_names_with_a_typo_get_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown timm model 'resnet5o'.*'resnet50'"):
        load_model("timm/resnet5o")
    with pytest.raises(UnknownNameError, match="unknown weights of timm/resnet50 'a1_in1'"):
        load_model("timm/resnet50@a1_in1")
    only_random = next(n for n in source.names() if not timm.is_model_pretrained(n))
    with pytest.raises(ValueError, match="expected published weights, and there are none"):
        load_model(f"timm/{only_random}")
