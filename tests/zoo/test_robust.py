"""Adversarially trained networks, out of the attacked models that the files hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import models, transforms

from isomorph.extraction import FeatureExtractor
from isomorph.zoo import list_models, load_model


def checkpoint(state, *, inner="model."):
    """As the library `robustness` saves it: the network twice, the normalisation three times."""
    mean, std = torch.rand(3, 1, 1), torch.rand(3, 1, 1)
    attacked = {}
    for prefix in ("module.", "module.attacker."):
        attacked |= {f"{prefix}{inner}{name}": value for name, value in state.items()}
    attacked |= {
        "module.normalizer.new_mean": mean,
        "module.normalizer.new_std": std,
        "module.attacker.normalize.new_mean": mean,
        "module.attacker.normalize.new_std": std,
    }
    return {
        "model": attacked,
        "optimizer": {"state": {0: {"momentum_buffer": mean}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 89,
        "best_prec1": np.float64(0.5),
        "amp": None,
    }


@pytest.mark.parametrize(
    ("name", "weights", "inner"),
    [
        ("resnet18", "l2_eps3", "model."),
        ("resnet18", "linf_eps4.0", "model."),
        # Networks that robustness does not have itself lie one deeper.
        ("shufflenet_v2_x1_0", "l2_eps0", "model.model."),
    ],
)
def test_the_network_is_taken_out_of_the_attacked_model(name, weights, inner, keep_checkpoint):
    torch.manual_seed(4)
    theirs = models.get_model(name, weights=None).eval()
    keep_checkpoint("robust", name, weights, checkpoint(theirs.state_dict(), inner=inner))
    model = load_model(f"robust/{name}@{weights}", progress=False)
    assert model.uid == f"robust/{name}@{weights}"
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(images), theirs(images))


def test_a_local_file_of_the_same_kind_is_understood(tmp_path):
    torch.manual_seed(4)
    theirs = models.resnet18(weights=None)
    torch.save(checkpoint(theirs.state_dict()), tmp_path / "mine.ckpt")
    model = load_model("robust/resnet18", weights=tmp_path / "mine.ckpt")
    assert torch.equal(model.module.state_dict()["conv1.weight"], theirs.conv1.weight)
    assert model.uid.startswith("robust/resnet18@file-")


def test_a_network_of_another_architecture_is_refused(keep_checkpoint):
    state = models.resnet34(weights=None).state_dict()
    keep_checkpoint("robust", "resnet18", "l2_eps1", checkpoint(state))
    with pytest.raises(ValueError, match="robust_resnet18_l2_eps1.ckpt into robust/resnet18"):
        load_model("robust/resnet18@l2_eps1", progress=False)


def test_the_widest_is_four_times_as_wide_inside():
    with torch.device("meta"):
        from isomorph.zoo.sources.robust import build

        module = build("wide_resnet50_4").module
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    assert shapes["layer1.0.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["layer4.2.conv3.weight"] == (2048, 2048, 1, 1)


def test_each_architecture_has_each_strength():
    frame = list_models(source="robust")
    assert len(frame) == 67
    strengths = set(frame[frame["name"] == "resnet50"]["weights"])
    assert {"l2_eps0", "l2_eps0.25", "l2_eps5", "linf_eps0.5", "linf_eps8.0"} < strengths
    assert len(strengths) == 15


def test_preprocessing_is_the_authors(pictures):
    theirs = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    ours = load_model("robust/resnet18", weights=None).preprocess
    for picture in pictures:
        assert torch.equal(ours(picture), theirs(picture))


def test_the_survey_finds_every_layer():
    model = load_model("robust/resnet18", weights=None)
    images = torch.rand(6, 3, 64, 64)
    plan = FeatureExtractor(model, images, progress=False).plan
    assert len(plan.distinct) > 40
    assert plan.distinct[-1].name == "fc"


def test_the_attack_is_part_of_the_task():
    tasks = list_models(source="robust").set_index("uid")["task"]
    assert tasks["robust/resnet50@l2_eps0"] == "classification"
    assert tasks["robust/resnet50@l2_eps3"] == "classification (robust, l2_eps3)"
    assert tasks["robust/resnet18@linf_eps4.0"] == "classification (robust, linf_eps4.0)"
    assert (tasks == "classification").sum() == tasks.index.str.endswith("_eps0").sum() > 3
