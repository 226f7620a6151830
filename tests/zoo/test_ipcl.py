"""AlexNet-GN and the published networks of instance-prototype contrastive learning."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from PIL import Image
from torch.nn import functional
from torchvision import transforms

from isomorph.extraction import FeatureExtractor
from isomorph.zoo import list_models, load_model

TUTORIAL = ("imagenet1k", "openimagesv6", "places2", "vggface2", "mixedx3")


def forward(state, images):
    """The network in float64, from the names of its weights alone."""
    state = {name: value.double() for name, value in state.items()}
    maps = images.double()
    for block in range(1, 6):
        name = f"conv_block_{block}"
        stride, padding = (4, 2) if block == 1 else (1, 2 if block == 2 else 1)
        maps = functional.conv2d(maps, state[f"{name}.0.weight"], None, stride, padding)
        groups = maps.unflatten(1, (32, -1)).flatten(2)
        mean, var = groups.mean(2, keepdim=True), groups.var(2, unbiased=False, keepdim=True)
        maps = ((groups - mean) / (var + 1e-5).sqrt()).view_as(maps)
        shift, scale = state[f"{name}.1.bias"], state[f"{name}.1.weight"]
        maps = (maps * scale[:, None, None] + shift[:, None, None]).clamp(min=0)
        if block in (1, 2, 5):
            maps = functional.max_pool2d(maps, 3, 2)
    rows = functional.adaptive_avg_pool2d(maps, 6).flatten(1)
    for name in ("fc6", "fc7"):
        rows = rows @ state[f"{name}.0.weight"].T + state[f"{name}.0.bias"]
        rows = rows - state[f"{name}.1.running_mean"]
        rows = rows / (state[f"{name}.1.running_var"] + 1e-5).sqrt()
        rows = (rows * state[f"{name}.1.weight"] + state[f"{name}.1.bias"]).clamp(min=0)
    return rows @ state["fc8.0.weight"].T + state["fc8.0.bias"]


def lively(module):
    """The twin with every weight off its initial value: ones and zeros hide mistakes."""
    torch.manual_seed(1)
    state = module.state_dict()
    for value in state.values():
        if value.ndim == 1 and value.is_floating_point():
            value += 0.2 * torch.rand(value.shape)
    return state


def test_all_of_the_tutorials_networks_are_listed():
    frame = list_models(source="ipcl")
    assert set(TUTORIAL) < set(frame[frame["name"] == "alexnet_gn"]["weights"])
    assert len(frame) == 15
    assert (frame["architecture"] == "alexnet_gn").all()
    assert frame["uid"][frame["default"]].tolist() == [
        "ipcl/alexnet_gn@imagenet1k",
        "ipcl/alexnet_gn_supervised@augset1_5x",
    ]


@pytest.mark.parametrize("name", ["alexnet_gn", "alexnet_gn_supervised"])
def test_the_output_is_that_of_the_network_written_out(name):
    model = load_model(f"ipcl/{name}", weights=None)
    lively(model.module)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        found = model(images)
    expected = forward(model.module.state_dict(), images)
    if name == "alexnet_gn":
        expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_the_survey_counts_what_the_tutorial_counts():
    model = load_model("ipcl/alexnet_gn", weights=None)
    torch.manual_seed(0)
    plan = FeatureExtractor(model, torch.rand(6, 3, 224, 224), progress=False).plan
    duplicates = [layer for layer in plan.layers if layer.duplicate_of]
    assert (len(plan.layers), len(duplicates), len(plan.distinct)) == (36, 10, 26)
    assert plan.distinct[-1].name == "l2norm"
    assert plan.distinct[-1].shape == (128,)
    assert sum(layer.n_features for layer in plan.layers) == 2_367_456


def test_published_weights_are_read_as_they_are_wrapped(keep_checkpoint):
    state = load_model("ipcl/alexnet_gn", weights=None, seed=5).module.state_dict()
    wrapped = {"state_dict": {f"module.{name}": value for name, value in state.items()}}
    keep_checkpoint("ipcl", "alexnet_gn", "vggface2", wrapped)
    model = load_model("ipcl/alexnet_gn@vggface2", progress=False)
    assert model.uid == "ipcl/alexnet_gn@vggface2"
    found = model.module.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_another_file_under_the_published_name_is_refused(weights_folder):
    file = weights_folder / "alexnetgn_ipcl_ref01-51bcc71556.pth.tar"
    torch.save({}, file)
    with pytest.raises(ValueError, match="whose SHA-256 begins with 51bcc71556, got") as caught:
        load_model("ipcl/alexnet_gn", progress=False)
    assert str(file) in str(caught.value)


def theirs_with(mean, std):
    return transforms.Compose(
        [
            transforms.Resize(224),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def test_preprocessing_is_the_authors_for_stimuli(pictures, keep_checkpoint):
    twin = load_model("ipcl/alexnet_gn", weights=None)
    wrapped = {"state_dict": twin.module.state_dict()}
    keep_checkpoint("ipcl", "alexnet_gn", "places2", wrapped)
    other = load_model("ipcl/alexnet_gn@places2", progress=False)
    theirs = theirs_with([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    theirs_of_diets = theirs_with([0.5, 0.5, 0.5], [0.2, 0.2, 0.2])
    for picture in pictures:
        assert torch.equal(twin.preprocess(picture), theirs(picture))
        assert torch.equal(other.preprocess(picture), theirs_of_diets(picture))
    assert twin.preprocess_spec != other.preprocess_spec
    assert dataclasses.replace(twin.preprocess, resize=256)(pictures[0]).shape == (3, 224, 224)


def test_preprocessing_of_photos(data_folder):
    theirs = theirs_with([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    ours = load_model("ipcl/alexnet_gn", weights=None).preprocess
    files = sorted((data_folder / "photos").glob("*.[bj]*"))
    assert len(files) > 4
    for file in files:
        with Image.open(file) as picture:
            assert torch.equal(ours(picture), theirs(picture.convert("RGB")))
