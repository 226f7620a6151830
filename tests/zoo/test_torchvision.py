"""torchvision's networks: what is listed, how they are loaded, what they answer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from isomorph.extraction import FeatureExtractor, describe_callable, extract_features
from isomorph.stimuli import from_arrays, from_videos
from isomorph.zoo import list_models, load_model
from isomorph.zoo.preprocessing.clips import ClipPreprocess
from isomorph.zoo.preprocessing.detection import FROZEN, DetectionPreprocess
from isomorph.zoo.preprocessing.padded import PaddedPreprocess
from isomorph.zoo.sources import torchvision as source

KINDS = [models, models.video, models.segmentation, models.detection]
SIZES = [(640, 480), (300, 500), (261, 260), (1000, 200), (37, 90)]
LIGHT_VIDEO = ["mc3_18", pytest.param("s3d", marks=pytest.mark.slow)]
LIGHT_DETECTORS = ["fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"]
WIDE = [
    "alexnet",
    "squeezenet1_0",
    "resnet18",
    pytest.param("vgg11_bn", marks=pytest.mark.slow),
    "googlenet",
    pytest.param("inception_v3", marks=pytest.mark.slow),
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "swin_t",
    pytest.param("maxvit_t", marks=pytest.mark.slow),
    pytest.param("vit_b_32", marks=pytest.mark.slow),
]


def pictures(sizes=SIZES):
    rng = np.random.default_rng(0)
    for width, height in sizes:
        yield Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8))


def clip(n_frames, height=150, width=190, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (n_frames, height, width, 3), np.uint8)


def fresh(name):
    """The same twin by torchvision itself."""
    options = {"weights": None}
    if name == "lraspp_mobilenet_v3_large":
        options |= {"weights_backbone": None}
    if name in {"googlenet", "inception_v3"}:
        options |= {"init_weights": True, "transform_input": True}
        options |= {"aux_logits": name == "inception_v3"}
    torch.manual_seed(0)
    return models.get_model(name, **options).eval()


def small(name):
    """A picture size that a test has the time for."""
    return {"inception_v3": 299, "vit_b_32": 224, "maxvit_t": 224, "swin_t": 224}.get(name, 96)


def test_every_weight_set_is_a_row_but_flow_and_quantised_ones():
    frame = list_models(source="torchvision").set_index("uid")
    expected = {
        f"torchvision/{name}@{entry.name}": entry
        for kind in KINDS
        for name in models.list_models(module=kind)
        for entry in models.get_model_weights(name)
    }
    assert set(frame.index) == set(expected)
    assert len(frame) > 140
    for uid, entry in expected.items():
        assert frame.loc[uid, "n_params"] == entry.meta["num_params"]
        assert frame.loc[uid, "url"] == entry.url
    assert (frame.groupby("name")["default"].sum() == 1).all()
    assert set(frame.loc[frame["modality"] == "video", "name"]) == set(
        models.list_models(module=models.video)
    )


def test_what_the_rows_say():
    frame = list_models(source="torchvision").set_index("uid")
    swag = frame.loc["torchvision/vit_b_16@IMAGENET1K_SWAG_E2E_V1"]
    assert swag["train_data"] == "ImageNet-1K, Instagram-3.6B"
    assert (swag["license"], swag["input_size"]) == ("CC-BY-NC-4.0", 384)
    assert (swag["architecture"], swag["family"]) == ("vit_base_patch16", "transformer")
    video = frame.loc["torchvision/swin3d_b@KINETICS400_IMAGENET22K_V1"]
    assert video["train_data"] == "Kinetics-400, ImageNet-22K"
    assert video["task"] == "video classification"
    keypoints = frame.loc["torchvision/keypointrcnn_resnet50_fpn@COCO_V1"]
    assert (keypoints["task"], keypoints["train_data"]) == (
        "keypoint detection",
        "COCO, ImageNet-1K",
    )
    assert frame.loc["torchvision/maxvit_t@IMAGENET1K_V1", "family"] == "hybrid"


def test_an_architecture_has_the_word_and_the_size_that_timm_has():
    pytest.importorskip("timm")
    ours = list_models(source="torchvision", task="classification")
    theirs = list_models(source="timm")
    theirs = theirs[theirs["task"] == "classification"]
    # timm's has no auxiliary head.
    shared = set(ours["architecture"]) & set(theirs["architecture"]) - {"inception_v3"}
    assert len(shared) > 40
    for word in sorted(shared):
        sizes = theirs.loc[theirs["architecture"] == word, "n_params"]
        found = ours.loc[ours["architecture"] == word, "n_params"]
        # Larger pictures have more positions.
        assert any(abs(size - n) / n < 0.003 for n in found for size in sizes), word


@pytest.mark.parametrize("name", WIDE)
def test_a_random_twin_answers_as_torchvisions_own_and_can_be_surveyed(name):
    model = load_model(f"torchvision/{name}", weights=None)
    expected = fresh(name)
    state = model.module.state_dict()
    assert state.keys() == expected.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in expected.state_dict().items())
    inputs = torch.randn(3, 3, small(name), small(name), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        answer = expected(inputs)
        assert torch.equal(model(inputs), answer)
    plan = FeatureExtractor(model, inputs, progress=False).plan
    assert len(plan.distinct) > 5
    last = plan.distinct[-1].name
    maps = extract_features(model, inputs, layers=[last], progress=False)[last]
    assert torch.allclose(torch.as_tensor(maps).reshape(3, -1), answer, atol=1e-4)


def images_weights():
    """One weight set for each preset that torchvision has for pictures."""
    found = {}
    for kind in (models, models.segmentation):
        for name in models.list_models(module=kind):
            for entry in models.get_model_weights(name):
                found.setdefault(repr(entry.transforms()), (name, entry.name))
    return sorted(found.values())


@pytest.mark.parametrize(("name", "weights"), images_weights())
def test_preprocessing_equals_torchvisions_bit_for_bit(name, weights):
    entry = models.get_model_weights(name)[weights]
    ours, theirs = source._preprocess(name, entry), entry.transforms()
    for picture in pictures(SIZES[:3]):
        assert torch.equal(ours(picture), theirs(picture))


def test_preprocessing_of_real_photos(data_folder):
    for photo in sorted((data_folder / "photos").glob("*.bmp"))[:4]:
        with Image.open(photo) as picture:
            rgb = picture.convert("RGB")
        for name in ("resnet50", "convnext_tiny", "fcn_resnet50"):
            entry = models.get_model_weights(name).DEFAULT
            assert torch.equal(source._preprocess(name, entry)(rgb), entry.transforms()(rgb))


@pytest.mark.parametrize("name", models.list_models(module=models.video))
def test_clips_are_prepared_as_torchvision_does(name):
    for entry in models.get_model_weights(name):
        ours, theirs = source._preprocess(name, entry), entry.transforms()
        for shape in ((16, 150, 190), (16, 260, 200)):
            frames = clip(*shape)
            expected = theirs(torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous())
            assert torch.equal(ours(frames), expected)
            assert torch.equal(ours([Image.fromarray(frame) for frame in frames]), expected)


def test_clips_that_do_not_fit_say_so():
    mvit = source._preprocess("mvit_v1_b", models.get_model_weights("mvit_v1_b").DEFAULT)
    with pytest.raises(ValueError, match=r"expected a clip of 16 frames, got 8.*n_frames=16"):
        mvit(clip(8))
    s3d = source._preprocess("s3d", models.get_model_weights("s3d").DEFAULT)
    with pytest.raises(ValueError, match="expected a clip of 14 frames or more, got 8"):
        s3d(clip(8))
    with pytest.raises(ValueError, match="expected the frames of a clip, got one image"):
        s3d(Image.new("RGB", (40, 40)))
    with pytest.raises(ValueError, match=r"uint8, got \(16, 3, 20, 20\) of torch.float32"):
        ClipPreprocess()(torch.zeros(16, 3, 20, 20))
    assert dataclasses.replace(mvit, n_frames=None, min_frames=1)(clip(8)).shape[1] == 8


@pytest.mark.parametrize("name", LIGHT_VIDEO)
def test_video_networks_can_be_surveyed_and_answer_as_torchvisions_own(name):
    model = load_model(f"torchvision/{name}", weights=None)
    side = 224 if name == "s3d" else 56
    inputs = torch.randn(2, 3, 14, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        answer = fresh(name)(inputs)
        assert torch.equal(model(inputs), answer)
    plan = FeatureExtractor(model, inputs, progress=False).plan
    assert len(plan.distinct) > 20
    assert plan.distinct[-1].n_features == 400


def test_videos_go_through_a_network_from_their_files(tmp_path):
    for i in range(2):
        first, *others = [Image.fromarray(frame) for frame in clip(6, 40, 50, seed=i)]
        first.save(tmp_path / f"{i}.gif", save_all=True, append_images=others, duration=40)
    videos = from_videos(tmp_path, n_frames=4)
    model = load_model("torchvision/r3d_18", weights=None)
    small_clips = dataclasses.replace(model.preprocess, resize=(40, 50), crop=32)
    model = dataclasses.replace(model, preprocess=small_clips)
    maps = extract_features(model, videos, layers=["fc"], progress=False)["fc"]
    inputs = torch.stack([small_clips(videos.load(i)) for i in range(2)])
    assert inputs.shape == (2, 3, 4, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(torch.as_tensor(maps), model.module(inputs), atol=1e-5)


@pytest.mark.parametrize(
    "preprocess",
    [
        ClipPreprocess(crop=112),
        DetectionPreprocess(shorter=320),
        PaddedPreprocess((32, 32), (32, 32)),
    ],
)
def test_preprocessing_is_data(preprocess):
    words = describe_callable(preprocess)
    assert words == describe_callable(dataclasses.replace(preprocess))
    other = dataclasses.replace(preprocess, std=(0.3, 0.3, 0.3))
    assert words != describe_callable(other)
    assert json.loads(json.dumps(other.describe()))["std"] == [0.3, 0.3, 0.3]


def test_segmentation_gives_both_maps():
    model = load_model("torchvision/lraspp_mobilenet_v3_large", weights=None)
    inputs = torch.randn(2, 3, 64, 64)
    plan = FeatureExtractor(model, inputs, progress=False).plan
    assert len(plan.distinct) > 20
    with torch.inference_mode():
        assert torch.equal(model(inputs)["out"], fresh("lraspp_mobilenet_v3_large")(inputs)["out"])
    auxiliary = load_model("torchvision/deeplabv3_mobilenet_v3_large", weights=None)
    assert sum(p.numel() for p in auxiliary.module.parameters()) == 11029328


@pytest.mark.parametrize("name", LIGHT_DETECTORS)
def test_detectors_see_pictures_as_torchvisions_own_and_can_be_surveyed(name):
    model = load_model(f"torchvision/{name}", weights=None)
    assert isinstance(model.preprocess, DetectionPreprocess)
    for picture in pictures(SIZES[:4]):
        values = models.get_model_weights(name).DEFAULT.transforms()(picture)
        expected = model.module.transform([values])[0].tensors[0]
        assert torch.equal(model.preprocess(picture), expected)
    batch = from_arrays(np.stack([clip(3)[0], clip(3)[1], clip(3)[2]]))
    plan = FeatureExtractor(model, batch, progress=False).plan
    assert len(plan.distinct) > 50
    inputs = torch.stack([model.preprocess(batch.load(i)) for i in range(2)])
    seen = {}
    parts = {"backbone": model.module.backbone}
    parts["head"] = model.module.rpn.head if hasattr(model.module, "rpn") else model.module.head
    hooks = [
        part.register_forward_hook(lambda _m, _i, out, key=key: seen.setdefault(key, out))
        for key, part in parts.items()
    ]
    with torch.inference_mode():
        # The whole detector, on the same pictures, as torchvision runs it.
        model.module.transform.forward = lambda images, targets=None: (
            models.detection.image_list.ImageList(
                inputs, [tuple(inputs.shape[-2:]) for _ in inputs]
            ),
            None,
        )
        model.module(list(inputs))
        for hook in hooks:
            hook.remove()
        answer = model(inputs)
    for key, value in seen["backbone"].items():
        assert torch.equal(answer[key], value)
    heads = seen["head"]
    if isinstance(heads, dict):
        assert all(torch.equal(answer[key], value) for key, value in heads.items())
    else:
        assert all(map(torch.equal, answer["objectness"], heads[0]))
        assert all(map(torch.equal, answer["boxes"], heads[1]))


def lay_out(folder, entry, state, monkeypatch):
    """Put weights where torch keeps them, under the name that their hash gives them."""
    file = folder / "weights.pth"
    torch.save(state, file)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    file = file.rename(folder / f"weights-{digits}.pth")
    monkeypatch.setattr(entry.value, "url", f"https://example.org/{file.name}")
    return file


def structure(module):
    """Its parts; those that were dropped leave a None behind."""
    return [line for line in repr(module).splitlines() if not line.endswith(": None")]


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("squeezenet1_1", "IMAGENET1K_V1"),
        ("googlenet", "IMAGENET1K_V1"),
        ("r2plus1d_18", "KINETICS400_V1"),
        ("lraspp_mobilenet_v3_large", "COCO_WITH_VOC_LABELS_V1"),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", "COCO_V1"),
    ],
)
def test_published_weights_load_as_torchvision_loads_them(name, weights, tmp_path, monkeypatch):
    entry = models.get_model_weights(name)[weights]
    twin = load_model(f"torchvision/{name}", weights=None, seed=4)
    state = dict(twin.module.state_dict())
    if name == "googlenet":  # the published file holds heads that are dropped after loading
        with torch.random.fork_rng():
            whole = models.googlenet(weights=None, init_weights=True)
        state = {**whole.state_dict(), **state}
    (tmp_path / "checkpoints").mkdir()
    lay_out(tmp_path / "checkpoints", entry, state, monkeypatch)
    monkeypatch.delenv("ISOMORPH_CACHE", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    model = load_model(f"torchvision/{name}@{weights}", progress=False)
    theirs = models.get_model(name, weights=entry, progress=False).eval()
    assert structure(model.module) == structure(theirs) == structure(twin.module)
    found = model.module.state_dict()
    assert found.keys() == theirs.state_dict().keys() == twin.module.state_dict().keys()
    assert all(torch.equal(value, found[key]) for key, value in twin.module.state_dict().items())
    assert getattr(model.module, "transform_input", None) == getattr(
        theirs, "transform_input", None
    )
    local = load_model(
        f"torchvision/{name}",
        weights=tmp_path / "checkpoints" / os.listdir(tmp_path / "checkpoints")[0],
    )
    assert local.weights_hash() == model.weights_hash()
    assert "get_state_dict" not in vars(entry)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FROZEN))
def test_the_twins_of_detectors_have_the_norms_of_the_trained_ones(name, monkeypatch):
    entry = models.get_model_weights(name).DEFAULT
    twin = source.build(name).module
    entry.get_state_dict = lambda *_a, **_k: twin.state_dict()
    try:
        theirs = models.get_model(name, weights=entry)
    finally:
        del entry.get_state_dict
    assert repr(twin) == repr(theirs)


def test_a_file_of_other_weights_than_the_default_is_used_as_these(tmp_path):
    entry = models.ResNet50_Weights.IMAGENET1K_V1
    torch.save(
        load_model("torchvision/resnet50", weights=None).module.state_dict(), tmp_path / "a.pth"
    )
    for uid, resize in (("torchvision/resnet50@IMAGENET1K_V1", 256), ("torchvision/resnet50", 232)):
        model = load_model(uid, weights=tmp_path / "a.pth")
        assert model.preprocess.resize == resize
    picture = next(iter(pictures(SIZES[:1])))
    model = load_model("torchvision/resnet50@IMAGENET1K_V1", weights=tmp_path / "a.pth")
    assert torch.equal(model.preprocess(picture), entry.transforms()(picture))


@pytest.mark.parametrize(
    ("weights", "side"),
    [("IMAGENET1K_SWAG_E2E_V1", 518), ("IMAGENET1K_SWAG_LINEAR_V1", 224)],
)
def test_twins_of_transformers_are_for_pictures_of_the_size_of_their_weights(weights, side):
    with torch.device("meta"):  # 630 million parameters
        loaded = source.build_like("vit_h_14", weights)
        default = source.build("vit_h_14")
    entry = models.ViT_H_14_Weights[weights]
    n_params = sum(p.numel() for p in loaded.module.parameters())
    assert loaded.module.image_size == side == loaded.preprocess.crop
    assert n_params == entry.meta["num_params"]
    assert default.module.image_size == 518
    row = list_models(source="torchvision", name="vit_h_14", weights=weights).iloc[0]
    assert row["n_params"] == n_params


def test_weights_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    entry = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    file = lay_out(tmp_path / "weights", entry, torch.nn.Linear(2, 2).state_dict(), monkeypatch)
    with pytest.raises(ValueError, match="do not fit torchvision's architecture") as caught:
        load_model("torchvision/squeezenet1_1", progress=False)
    assert f"Remove {file}" in str(caught.value)
    assert "get_state_dict" not in vars(entry)
