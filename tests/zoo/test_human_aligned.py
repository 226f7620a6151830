"""Heads on a model's layers, and gLocal's maps."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn

from isomorph.extraction import FeatureExtractor, Model
from isomorph.registry import UnknownNameError
from isomorph.zoo import load_model
from isomorph.zoo.heads import ResidualHead, add_head
from isomorph.zoo.human_aligned import PUBLISHED, AffineHead, glocal, read_map


class Small(nn.Module):
    """Uses one ReLU twice and writes over what it gives, as ResNets do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(16, 5)
        self.register_buffer("scale", torch.tensor(2.0))
        self.unused = nn.Linear(2, 2)

    def forward(self, images):
        maps = self.relu(self.conv(images))
        maps += 1
        return self.relu(self.fc(self.pool(maps).flatten(1)) * self.scale)


class Tokens(nn.Module):
    """Gives a tuple, as attention does."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, tokens):
        return self.attention(tokens, tokens, tokens)[0].mean(1)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Model(Small().eval(), uid="own/small@state-0")


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(6, 3, 9, 9)


def layer_of(model, name, images):
    return next(iter(FeatureExtractor(model, images, layers=[name], progress=False)))[name]


# ------------------------------------------------------------------------------- heads


@pytest.mark.parametrize("layer", ["conv", "relu", "relu#1", "pool", "fc"])
def test_the_head_takes_the_layer_as_it_was_when_it_came(layer, small, images):
    expected = layer_of(small, layer, images).flatten(1)
    head = nn.Linear(expected.shape[1], 3)
    model = add_head(small, layer, head)
    with torch.inference_mode():
        assert torch.allclose(model(images), head(expected), atol=1e-6)
    assert model.uid == "own/small@state-0+head"


def test_pooling_by_places_and_by_tokens(small, images):
    maps = layer_of(small, "conv", images)
    found = add_head(small, "conv", nn.Identity(), pool="mean_place")(images)
    torch.testing.assert_close(found, maps.mean((2, 3)))
    torch.manual_seed(0)
    tokens = Model(Tokens().eval(), uid="own/tokens@state-0")
    inputs = torch.randn(4, 5, 6)
    with torch.inference_mode():
        whole = tokens.module.attention(inputs, inputs, inputs)[0]
        first = add_head(tokens, "attention[0]", nn.Identity(), pool="first_token")(inputs)
        mean = add_head(tokens, "attention[0]", nn.Identity(), pool="mean_token")(inputs)
    torch.testing.assert_close(first, whole[:, 0])
    torch.testing.assert_close(mean, whole.mean(1))


def test_the_survey_sees_the_head_as_a_layer_of_its_own(small, images):
    model = add_head(small, "pool", ResidualHead(16, 8), "judged")
    plan = FeatureExtractor(model, images, progress=False).plan
    names = [layer.name for layer in plan.distinct]
    assert {"conv", "relu", "fc", "judged.fc1"} < set(names)
    assert "judged" in [layer.name for layer in plan.layers]
    features = FeatureExtractor(model, images, layers=["judged", "conv"], progress=False)
    maps = next(iter(features))
    with torch.inference_mode():
        assert torch.allclose(maps["judged"], model(images), atol=1e-6)
    assert torch.equal(maps["conv"], layer_of(small, "conv", images))


def test_the_model_that_was_given_stays_as_it_was(small, images):
    before = small.fingerprint()
    with torch.inference_mode():
        expected = small(images)
    model = add_head(small, "pool", nn.Linear(16, 2))
    assert model.module.conv is small.module.conv
    assert "head" not in dict(small.module.named_modules())
    with torch.inference_mode():
        model(images)
        assert torch.equal(small(images), expected)
    assert small.fingerprint() == before != model.fingerprint()
    assert not any(part._forward_hooks for part in small.module.modules())


def test_no_hook_is_left_after_an_error(small, images):
    model = add_head(small, "conv", nn.Linear(3, 2))
    with pytest.raises(RuntimeError):
        model(images)
    small.module.fc = nn.Linear(3, 2)
    with pytest.raises(RuntimeError):
        add_head(small, "conv", nn.Identity())(images)
    assert not any(part._forward_hooks for part in small.module.modules())


def test_a_sequential_does_not_run_its_head_twice(images):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(243, 4)).eval()
    head = nn.Linear(4, 4)
    model = add_head(Model(module), "1", head)
    with torch.inference_mode():
        assert torch.allclose(model(images), head(module(images)), atol=1e-6)
        root = add_head(Model(module), "(root)", head)
        assert torch.allclose(root(images), head(module(images)), atol=1e-6)


def test_training_flags_reach_the_network_inside(images):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, rows):
            return self.fc(rows + 1 if self.training else rows)

    module = Noisy().train()
    model = add_head(Model(module), "fc", nn.Identity())
    rows = torch.randn(6, 3)
    found = layer_of(model, "head", rows)
    assert torch.allclose(found, module.fc(rows).detach(), atol=1e-6)
    assert module.training


def test_a_model_that_is_called_in_another_way(small, images):
    def half(module, inputs):
        return module(inputs / 2)

    model = add_head(Model(small.module, forward=half, uid="own/half@x"), "fc", nn.Identity())
    expected = layer_of(small, "fc", images / 2)
    with torch.inference_mode():
        assert torch.allclose(model(images), expected, atol=1e-6)
    assert torch.allclose(layer_of(model, "head", images), expected, atol=1e-6)


@pytest.fixture(scope="module")
def bert():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    return transformers.BertModel(config).eval()


def by_name(module, inputs):
    return module(**inputs).last_hidden_state


@pytest.mark.parametrize("forward", [None, by_name])
def test_the_mean_over_tokens_leaves_out_the_padding(bert, forward):
    model = Model(bert, forward=forward, uid="own/bert@x")
    headed = add_head(model, "encoder.layer.1", nn.Identity(), pool="mean_token")
    ids = torch.tensor([[2, 7, 9, 4, 3], [2, 8, 11, 12, 3], [2, 5, 6, 7, 3]])
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        plain = headed({"input_ids": ids, "attention_mask": mask})
        hidden = bert(ids).last_hidden_state
        none = torch.zeros(3, 4, dtype=torch.long)
        padded = headed(
            {"input_ids": torch.cat([ids, none], 1), "attention_mask": torch.cat([mask, none], 1)}
        )
    torch.testing.assert_close(plain, hidden.mean(1))
    torch.testing.assert_close(padded, plain)


def test_the_padding_of_a_text_tower_is_left_out():
    pytest.importorskip("open_clip")
    model = load_model("open_clip/ViTamin-S/text", weights=None)
    assert model.preprocess is not None
    items = [model.preprocess(text) for text in ("a dog", "a cat on a mat in the sun")]
    batch = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    layer = "text.ln_final"
    headed = add_head(model, layer, nn.Identity(), pool="mean_token")
    n_tokens = batch["attention_mask"].sum(1).tolist()
    assert n_tokens == [4, 10]
    with torch.inference_mode():
        found = headed(batch)
        rows = add_head(model, layer, nn.Identity())(batch).unflatten(1, (77, -1))
    expected = [row[:n].mean(0) for row, n in zip(rows, n_tokens, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_two_threads_do_not_mix_their_stimuli(small):
    model = add_head(small, "relu", nn.Identity())
    both_inside = threading.Barrier(2, timeout=20)

    def wait(_module, _inputs):
        both_inside.wait()

    found = {}

    def run(number):
        with torch.inference_mode():
            found[number] = model(images[number])

    torch.manual_seed(3)
    images = [torch.randn(4, 3, 9, 9), torch.randn(4, 3, 9, 9)]
    with torch.inference_mode():
        expected = [model(one) for one in images]
    # Each thread has hooked the layer by the time that either runs it.
    handle = small.module.conv.register_forward_pre_hook(wait)
    threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handle.remove()
    assert all(torch.equal(found[number], expected[number]) for number in (0, 1))
    assert not torch.equal(*expected)


@pytest.mark.parametrize("name", ["_tapped", "_kind", "_modules", "a.b", "", "1st", "a b"])
def test_names_that_no_layer_can_have(small, name):
    with pytest.raises(ValueError, match="name: expected a word of letters, digits and _ that"):
        add_head(small, "pool", nn.Identity(), name)


@pytest.mark.parametrize("name", ["conv", "scale", "forward", "training"])
def test_names_that_the_network_has(small, name):
    with pytest.raises(ValueError, match="expected a word that own/small@state-0 has no part of"):
        add_head(small, "pool", nn.Identity(), name)


def test_residual_head_is_the_formula():
    torch.manual_seed(0)
    head = ResidualHead(6, 4)
    rows = torch.randn(5, 6)
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in head.parameters())
    x = rows.double().numpy()
    expected = np.maximum(x @ w1.T + b1, 0) @ w2.T + b2 + x
    np.testing.assert_allclose(head(rows).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_what_cannot_have_a_head(small, images):
    with pytest.raises(UnknownNameError, match=r"unknown layer of own/small@state-0 'pol'.*'pool'"):
        add_head(small, "pol", nn.Identity())
    with pytest.raises(UnknownNameError, match="unknown pool 'mean'"):
        add_head(small, "pool", nn.Identity(), pool="mean")
    with pytest.raises(ValueError, match="has no part of, got 'conv'. Choose another"):
        add_head(small, "pool", nn.Identity(), "conv")
    with pytest.raises(TypeError, match=r"expected a torch.nn.Module, got function"):
        add_head(small, "pool", lambda rows: rows)  # pyright: ignore
    with pytest.raises(ValueError, match=r"layer 'relu#2': expected 3 call\(s\), got 2"):
        add_head(small, "relu#2", nn.Identity())(images)
    with pytest.raises(ValueError, match=r"layer 'unused': expected 1 call\(s\), got 0"):
        add_head(small, "unused", nn.Identity())(images)
    with pytest.raises(ValueError, match=r"pool='first_token' expects 3 axes, got shape \(6, 4"):
        add_head(small, "conv", nn.Identity(), pool="first_token")(images)
    tokens = Model(Tokens(), uid="own/tokens@x")
    with pytest.raises(ValueError, match=r"it gives attention\[0\], attention\[1\]. Name one"):
        add_head(tokens, "attention", nn.Identity())(torch.randn(2, 5, 6))


# ------------------------------------------------------------------------------- gLocal


def a_map(n_in=16, n_out=16, *, seed=0, whole=True):
    rng = np.random.default_rng(seed)
    parts = {"weights": rng.normal(size=(n_in, n_out)).astype(np.float32)}
    if whole:
        parts["bias"] = rng.normal(size=n_out).astype(np.float32)
        parts["mean"], parts["std"] = np.float32(0.3), np.float32(1.7)
    return parts


def test_glocal_is_the_published_formula(small, images, tmp_path):
    parts = a_map()
    np.savez(tmp_path / "map.npz", **parts)
    model = glocal(small, "pool", tmp_path / "map.npz")
    assert model.uid == "own/small@state-0+glocal"
    with torch.inference_mode():
        found = model(images).numpy()
    features = layer_of(small, "pool", images).flatten(1).double().numpy()
    w = parts["weights"].astype(float)
    expected = (features - float(parts["mean"])) / float(parts["std"]) @ w + parts["bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.allclose(layer_of(model, "glocal", images), expected, rtol=1e-4, atol=1e-5)


def test_a_map_without_bias_mean_and_std(tmp_path):
    parts = a_map(4, 3, whole=False)
    np.savez(tmp_path / "map.npz", **parts)
    rows = torch.randn(5, 4)
    found = read_map(tmp_path / "map.npz")(rows).numpy()
    np.testing.assert_allclose(found, rows.numpy() @ parts["weights"], rtol=1e-5, atol=1e-6)


def test_the_published_map_goes_on_its_own_layer(weights_folder, monkeypatch):
    model = load_model("torchvision/resnet18", weights=None)
    model = Model(model.module, model.preprocess, uid="torchvision/resnet18@IMAGENET1K_V1")
    parts = a_map(512, 512)
    file = weights_folder / "glocal_resnet18_avgpool.npz"
    np.savez(file, **parts)
    with pytest.raises(ValueError, match="gLocal's map for torchvision/resnet18.*7a2bb20c8662"):
        glocal(model, progress=False)
    trusted = next(known for known in PUBLISHED if known.folder == "resnet18/avgpool")
    trusted = type(trusted)(trusted.models, trusted.folder, trusted.layer)
    monkeypatch.setattr("isomorph.zoo.human_aligned.PUBLISHED", (trusted,))
    aligned = glocal(model, progress=False)
    images = torch.rand(6, 3, 64, 64)
    features = layer_of(model, "avgpool", images).flatten(1).double().numpy()
    expected = (features - 0.3) / 1.7 @ parts["weights"].astype(float) + parts["bias"]
    with torch.inference_mode():
        np.testing.assert_allclose(aligned(images).numpy(), expected, rtol=1e-3, atol=1e-3)


def test_published_maps_are_found_by_uid_alone(small, monkeypatch, tmp_path):
    folders = [known.folder for known in PUBLISHED]
    assert len(set(folders)) == len(folders) == 10
    with pytest.raises(ValueError, match="no map is published for own/small@state-0. There are:"):
        glocal(small)
    other = Model(small.module, uid="torchvision/alexnet@IMAGENET1K_V1")
    with pytest.raises(ValueError, match="is for the layer 'classifier.4', not 'pool'"):
        glocal(other, "pool")
    with pytest.raises(ValueError, match="expected layer="):
        glocal(small, file=tmp_path / "map.npz")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"matrix": np.ones((2, 2))}, "expected weights and perhaps bias, mean, std in .*matrix"),
        ({"weights": np.ones(3)}, r"expected weights with two axes, got shape \(3,\)"),
        (
            {"weights": np.ones((4, 3)), "bias": np.ones(4)},
            r"expected bias of shape \(3,\) beside weights \(4, 3\), got \(4,\)",
        ),
        (
            {"weights": np.ones((4, 3)), "mean": np.ones(3)},
            r"expected mean of shape \(\) or \(4,\) beside weights \(4, 3\), got \(3,\)",
        ),
        ({"weights": np.full((2, 2), np.nan)}, "expected finite values"),
        ({"weights": np.ones((2, 2)), "std": np.zeros(())}, "expected a positive std"),
        ({"weights": np.array([[{}]], dtype=object)}, "cannot be read as one"),
    ],
)
def test_files_that_are_no_maps(parts, message, tmp_path):
    np.savez(tmp_path / "map.npz", **parts)
    with pytest.raises(ValueError, match=message):
        read_map(tmp_path / "map.npz")


def test_files_that_are_no_archives(tmp_path):
    with pytest.raises(FileNotFoundError, match="gLocal: no file at"):
        read_map(tmp_path / "none.npz")
    for content in (b"", b"junk", b"PK\x03\x04 junk"):
        (tmp_path / "junk.npz").write_bytes(content)
        with pytest.raises(ValueError, match="expected a .npz file of plain arrays"):
            read_map(tmp_path / "junk.npz")
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(ValueError, match="expected a .npz file of plain arrays"):
        read_map(tmp_path / "one.npy")


def test_a_map_for_another_layer_says_so(small, images, tmp_path):
    np.savez(tmp_path / "map.npz", **a_map(9, 9))
    model = glocal(small, "pool", tmp_path / "map.npz")
    with pytest.raises(ValueError, match="expected 9 features, got 16. The map is for another"):
        model(images)


def test_affine_head_with_a_mean_for_each_feature():
    rng = np.random.default_rng(0)
    w, b, mean, std = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=4), np.full(4, 2)
    rows = rng.normal(size=(5, 4))
    found = AffineHead(w, b, mean, std)(torch.tensor(rows, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(found, (rows - mean) / std @ w + b, rtol=1e-4, atol=1e-5)
