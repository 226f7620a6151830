"""Preprocessing as data, against torchvision's own transforms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms.functional import InterpolationMode

from isomorph.extraction import describe_callable
from isomorph.zoo import ImagePreprocess
from isomorph.zoo.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD

SIZES = [(640, 480), (300, 500), (224, 224), (60, 90), (225, 1000)]


def picture(size, mode="RGB"):
    rng = np.random.default_rng(sum(size))
    array = rng.integers(0, 255, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(array).convert(mode)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("resize", [256, (224, 192), None])
@pytest.mark.parametrize("crop", [224, (100, 200), None])
def test_it_is_what_torchvision_composes(size, interpolation, resize, crop):
    steps = []
    if resize is not None:
        steps.append(transforms.Resize(resize, InterpolationMode(interpolation)))
    if crop is not None:
        steps.append(transforms.CenterCrop(crop))
    steps += [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    ours = ImagePreprocess(resize=resize, crop=crop, interpolation=interpolation)
    given = ours(picture(size))
    assert given.dtype == torch.float32
    assert torch.equal(given, transforms.Compose(steps)(picture(size)))


def test_channels_and_scale():
    ours = ImagePreprocess(
        None, None, mean=(10, 20, 30), std=(1, 1, 2), divide_by=1, channels="BGR"
    )
    values = np.asarray(picture((8, 6))).astype(np.float32)[..., ::-1]
    expected = (values - [10, 20, 30]) / [1, 1, 2]
    assert np.allclose(ours(picture((8, 6))).numpy(), expected.transpose(2, 0, 1), atol=1e-4)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_pictures_of_any_mode_become_rgb(mode):
    given = picture((30, 20), mode)
    ours = ImagePreprocess(16, 16)
    assert torch.equal(ours(given), ours(given.convert("RGB")))


def test_it_prints_is_fingerprinted_and_changes():
    first = ImagePreprocess()
    other = dataclasses.replace(first, crop=None, resize=(224, 224))
    assert "resize=256, crop=224, interpolation='bilinear'" in repr(first)
    assert describe_callable(first) == describe_callable(ImagePreprocess())
    assert describe_callable(first) != describe_callable(other)
    assert ImagePreprocess(**first.describe()) == first
    assert ImagePreprocess(mean=[0, 0, 0]).mean == (0, 0, 0)
    assert first.input_size == other.input_size == 224
    assert ImagePreprocess(resize=256, crop=None).input_size is None


def test_bad_values_are_told():
    with pytest.raises(ValueError, match="interpolation: expected one of nearest.*got 'cubic'"):
        ImagePreprocess(interpolation="cubic")
    with pytest.raises(ValueError, match="channels: expected 'RGB' or 'BGR', got 'GBR'"):
        ImagePreprocess(channels="GBR")
