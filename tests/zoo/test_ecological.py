"""Networks trained on Ecoset and on Stylized-ImageNet."""

from __future__ import annotations

import urllib.error

import pytest
import torch
from torchvision import models, transforms

from isomorph.extraction import FeatureExtractor
from isomorph.zoo import list_models, load_model
from isomorph.zoo.sources.ecological import build


def test_ecosets_networks_have_its_565_classes(keep_checkpoint):
    torch.manual_seed(1)
    theirs = models.resnet50(weights=None, num_classes=565).eval()
    keep_checkpoint("ecological", "resnet50_ecoset", "ecoset", theirs.state_dict())
    model = load_model("ecological/resnet50_ecoset", progress=False)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(images), theirs(images))
        assert model(images).shape == (2, 565)


@pytest.mark.parametrize("weights", ["sin", "sin_in", "sin_in_then_in"])
def test_stylized_networks_are_read_as_they_are_wrapped(weights, keep_checkpoint):
    torch.manual_seed(1)
    theirs = models.resnet50(weights=None).eval()
    wrapped = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    content = {"epoch": 60, "arch": "resnet50", "state_dict": wrapped, "best_prec1": torch.ones(1)}
    keep_checkpoint("ecological", "resnet50_stylized", weights, content)
    model = load_model(f"ecological/resnet50_stylized@{weights}", progress=False)
    found = model.module.state_dict()
    assert all(torch.equal(found[name], value) for name, value in theirs.state_dict().items())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("alexnet_ecoset", models.AlexNet),
        ("vgg16_ecoset", models.VGG),
        ("vgg16_bn_ecoset", models.VGG),
        ("inception_v3_ecoset", models.Inception3),
        ("resnet50_stylized", models.ResNet),
    ],
)
def test_architectures(name, kind):
    with torch.device("meta"):
        module = build(name).module
    assert isinstance(module, kind)
    n_params = sum(parameter.numel() for parameter in module.parameters())
    row = list_models(source="ecological", name=name).iloc[0]
    assert row["n_params"] == n_params


def test_what_they_were_trained_on():
    frame = list_models(source="ecological").set_index("uid")["train_data"]
    assert frame["ecological/alexnet_ecoset@ecoset"] == "Ecoset"
    assert frame["ecological/resnet50_stylized@sin"] == "Stylized-ImageNet"
    assert frame["ecological/resnet50_stylized@sin_in"] == "Stylized-ImageNet, ImageNet-1K"
    last = frame["ecological/resnet50_stylized@sin_in_then_in"]
    assert last == "ImageNet-1K, Stylized-ImageNet"


def test_preprocessing_is_the_authors(pictures):
    theirs = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    ours = load_model("ecological/resnet50_stylized", weights=None).preprocess
    for picture in pictures:
        assert torch.equal(ours(picture), theirs(picture))


def test_without_network_it_says_where_to_put_the_file(weights_folder, monkeypatch):
    def no_network(*_args, **_options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(FileNotFoundError) as caught:
        load_model("ecological/alexnet_ecoset", progress=False)
    assert str(weights_folder / "Alexnet_ecoset.pth") in str(caught.value)
    assert "https://osf.io/t6h3c/download" in str(caught.value)


def test_the_survey_finds_every_layer():
    model = load_model("ecological/alexnet_ecoset", weights=None)
    plan = FeatureExtractor(model, torch.rand(6, 3, 64, 64), progress=False).plan
    assert len(plan.distinct) > 15
    assert plan.distinct[-1].name == "classifier.6"
