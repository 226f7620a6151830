"""Taskonomy's encoders."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torchvision.transforms import functional as transform

from isomorph.extraction import FeatureExtractor
from isomorph.zoo import list_models, load_model


def forward(state, images):
    """The encoder in float64, from the names of its weights alone."""
    state = {name: value.double() for name, value in state.items()}

    def conv(name, maps, stride=1, padding=0):
        return functional.conv2d(maps, state[f"{name}.weight"], None, stride, padding)

    def norm(name, maps):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        maps = (maps - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        return maps * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    maps = norm("bn1", conv("conv1", images.double(), 2, 3)).relu()
    maps = functional.max_pool2d(maps, 3, 2, ceil_mode=True)
    for stage, (n_blocks, stride) in enumerate([(3, 2), (4, 2), (6, 1), (3, 1)], 1):
        for block in range(n_blocks):
            name = f"layer{stage}.{block}"
            passed, step = maps, stride if block == n_blocks - 1 else 1
            if block == 0:
                passed = norm(f"{name}.downsample.1", conv(f"{name}.downsample.0", maps))
            passed = passed[:, :, ::step, ::step]
            maps = norm(f"{name}.bn1", conv(f"{name}.conv1", maps)).relu()
            maps = norm(f"{name}.bn2", conv(f"{name}.conv2", maps, step, 1)).relu()
            maps = (norm(f"{name}.bn3", conv(f"{name}.conv3", maps)) + passed).relu()
    maps = norm("compress_bn", conv("compress1", maps, 1, 1)).relu()
    mean, var = maps.mean((2, 3), keepdim=True), maps.var((2, 3), unbiased=False, keepdim=True)
    return (maps - mean) / (var + 1e-5).sqrt()


def test_the_output_is_that_of_the_network_written_out():
    model = load_model("taskonomy/normal", weights=None)
    torch.manual_seed(1)
    for value in model.module.state_dict().values():
        if value.ndim == 1 and value.is_floating_point():
            value += 0.1 * torch.rand(value.shape)
    images = torch.rand(2, 3, 128, 128) * 2 - 1
    with torch.inference_mode():
        found = model(images).double()
    assert found.shape == (2, 8, 8, 8)
    torch.testing.assert_close(
        found, forward(model.module.state_dict(), images), rtol=1e-3, atol=1e-3
    )


def test_twenty_five_tasks_have_an_encoder():
    frame = list_models(source="taskonomy")
    assert len(frame) == 25
    assert {"normal", "depth_euclidean", "class_scene", "vanishing_point"} < set(frame["name"])
    assert frame["architecture"].nunique() == 1
    assert frame.set_index("name").loc["segment_semantic", "task"] == "semantic segmentation"


def test_published_weights_are_read_as_they_are_wrapped(keep_checkpoint):
    state = load_model("taskonomy/reshading", weights=None, seed=2).module.state_dict()
    keep_checkpoint("taskonomy", "reshading", "taskonomy", {"state_dict": state, "epoch": 1})
    model = load_model("taskonomy/reshading", progress=False)
    found = model.module.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_changed_file_is_refused_by_its_whole_hash(weights_folder):
    row = list_models(source="taskonomy", name="normal").iloc[0]
    file = weights_folder / row["url"].rpartition("/")[2]
    torch.save({}, file)
    digits = "f5e2c7737e4948e3b2a822f584892c342eaabbe66661576ba50db7cdd40561c5"
    with pytest.raises(ValueError, match=f"whose SHA-256 begins with {digits}, got"):
        load_model("taskonomy/normal", progress=False)


def test_values_go_from_minus_one_to_one(pictures):
    preprocess = load_model("taskonomy/normal", weights=None).preprocess
    for picture in pictures:
        side = transform.resize(picture, 256)
        theirs = transform.to_tensor(transform.center_crop(side, 256)) * 2 - 1
        assert torch.equal(preprocess(picture), theirs)


def test_the_survey_finds_every_layer():
    model = load_model("taskonomy/edge_texture", weights=None)
    images = torch.rand(6, 3, 96, 96)
    plan = FeatureExtractor(model, images, progress=False).plan
    assert len(plan.distinct) > 100
    features = next(iter(FeatureExtractor(model, images, layers=["groupnorm"], progress=False)))
    with torch.inference_mode():
        assert torch.allclose(features["groupnorm"], model(images), atol=1e-5)
