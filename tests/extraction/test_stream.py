"""The stream against an oracle that clones at the hook, bit for bit, and a mutant."""

from __future__ import annotations

import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from isomorph.extraction import FeatureExtractor, Model, extract_features

# `test_architectures.py` does the same for some two hundred; these stand for a quick look.
# (name, image side)
ARCHITECTURES = [("alexnet", 64), ("resnet18", 64), ("shufflenet_v2_x0_5", 64), ("swin_t", 64)]


def build(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # googlenet's advice on its initialisation
        torch.manual_seed(0)
        return models.get_model(name, weights=None).eval()


def images(n: int, side: int) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def clone_at_hook(module: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """The oracle: plain hooks that clone every tensor as soon as it exists."""
    found: dict[str, torch.Tensor] = {}
    calls: dict[str, int] = defaultdict(int)

    def hook_for(path: str):
        def hook(_module, _inputs, output):
            name = (path or "(root)") + (f"#{calls[path]}" if calls[path] else "")
            calls[path] += 1
            if isinstance(output, torch.Tensor):
                found[name] = output.clone()
            elif isinstance(output, tuple):
                for i, item in enumerate(output):
                    if item is not None:
                        found[f"{name}[{i}]"] = item.clone()

        return hook

    handles = [part.register_forward_hook(hook_for(path)) for path, part in module.named_modules()]
    with torch.inference_mode():
        module(inputs.clone())
    for handle in handles:
        handle.remove()
    return found


def differing(module: nn.Module, inputs: torch.Tensor) -> list[str]:
    """Names of the layers whose extracted map differs from the oracle's in any bit."""
    extractor = FeatureExtractor(
        Model(module), inputs, batch_size=len(inputs), flatten=True, progress=False
    )
    maps = next(iter(extractor))
    oracle = clone_at_hook(module, inputs)
    assert len(maps) == len(extractor.plan.distinct)
    wrong = []
    for name, features in maps.items():
        expected = oracle[name]
        assert expected.shape[0] == len(inputs), name
        if not torch.equal(features, expected.reshape(len(inputs), -1)):
            wrong.append(name)
    # What the plan calls a duplicate has the very values of its original.
    for layer in extractor.plan.layers:
        if layer.duplicate_of:
            same = oracle[layer.name].reshape(len(inputs), -1)
            assert torch.equal(same, oracle[layer.duplicate_of].reshape(len(inputs), -1))
    return wrong


@pytest.mark.parametrize(("name", "side"), ARCHITECTURES)
def test_maps_equal_the_clone_at_hook_oracle_bit_for_bit(name, side):
    assert differing(build(name), images(3, side)) == []


def test_batch_size_and_memory_limit_do_not_change_the_maps():
    model, inputs = Model(build("resnet18")), images(7, 32)
    whole = extract_features(model, inputs, batch_size=7, progress=False)
    small = extract_features(model, inputs, batch_size=3, progress=False)
    grouped = FeatureExtractor(model, inputs, batch_size=7, memory_limit="1MB", progress=False)
    assert len(grouped) > 3
    parts: dict[str, torch.Tensor] = {}
    for group in grouped:
        assert sum(map(torch.Tensor.numel, group.values())) * 4 <= 1_000_000
        parts |= group
    assert list(parts) == list(whole)
    for name, features in whole.items():
        assert torch.equal(parts[name], features)
        torch.testing.assert_close(small[name], features, rtol=1e-4, atol=1e-5)


def test_maps_keep_their_shape_or_are_flattened():
    model, inputs = Model(build("alexnet")), images(2, 64)
    shaped = extract_features(model, inputs, ["features.0"], progress=False)
    flat = extract_features(model, inputs, ["features.0"], flatten=True, progress=False)
    assert shaped["features.0"].shape == (2, 64, 15, 15)
    assert torch.equal(shaped["features.0"].reshape(2, -1), flat["features.0"])


def test_the_pass_stops_after_the_last_layer_needed():
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    ran = []
    module[2].register_forward_hook(lambda *_: ran.append("late"))
    extractor = FeatureExtractor(Model(module), torch.randn(5, 4), layers="1", progress=False)
    ran.clear()  # the survey runs all of it
    list(extractor)
    assert ran == []


def test_a_single_layer_over_the_limit_comes_in_slices_of_its_features():
    model, inputs = Model(build("alexnet")), images(5, 64)
    whole = extract_features(model, inputs, "features.0", flatten=True, progress=False)
    extractor = FeatureExtractor(
        model, inputs, layers="features.0", memory_limit="100KB", progress=False
    )
    assert "1 larger than that, in slices" in extractor.plan.summary()
    parts: dict[str, torch.Tensor] = {}
    for group in extractor:
        assert sum(part.nbytes for part in group.values()) <= 100_000
        parts.update(group)
    assert len(parts) == len(extractor) == 3
    assert next(iter(parts)) == "features.0[:, 0:4800]"
    assert torch.equal(torch.cat(list(parts.values()), dim=1), whole["features.0"])


def test_a_limit_below_one_feature_is_one_clear_error():
    with pytest.raises(MemoryError, match=r"expected at least 8 B \(one feature of 2 stimuli\)"):
        FeatureExtractor(Model(build("alexnet")), images(2, 64), memory_limit=7)


def test_a_group_is_released_when_the_next_is_asked_for_and_says_so():
    extractor = FeatureExtractor(
        Model(build("alexnet")), images(2, 64), memory_limit="300KB", progress=False
    )
    kept: dict[str, torch.Tensor] = {}
    groups = []
    for group in extractor:
        kept.update(group)
        groups.append(group)
    assert list(kept) == extractor.plan.names()
    with pytest.raises(RuntimeError, match="released when the next one was asked for"):
        groups[0]["features.0"]
    with pytest.raises(RuntimeError, match="released"):
        dict(groups[0])
    assert list(groups[-1])  # nothing came after the last one


def test_several_passes_are_refused_where_all_maps_are_wanted_at_once():
    with pytest.raises(MemoryError, match="more than one pass"):
        extract_features(Model(build("resnet18")), images(4, 32), memory_limit="300KB")


def test_a_shape_that_differs_from_the_plan_is_an_error():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.runs = 0

        def forward(self, x):
            self.runs += 1
            return self.layer(x if self.runs < 4 else x.repeat(1, 2, 1))

    extractor = FeatureExtractor(Model(Growing()), torch.randn(4, 1, 4), progress=False)
    with pytest.raises(
        RuntimeError,
        match=r"1 planned layers changed their shape: layer \(planned \(4, 1, 4\), got \(4, 2, 4",
    ):
        list(extractor)


class Skipping(nn.Module):
    """Takes its detour for some stimuli alone."""

    def __init__(self):
        super().__init__()
        self.first, self.detour = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        y = self.first(x)
        return self.detour(y) if x[:, 0].max() < 100 else y


def test_a_layer_that_some_stimuli_pass_over_is_left_out_with_a_warning(caplog):
    inputs = torch.randn(20, 4)
    inputs[6, 0] = 1000  # not among the survey's
    extractor = FeatureExtractor(Skipping(), inputs, batch_size=4, layers="!(root)", progress=False)
    (maps,) = extractor
    assert list(maps) == ["first"]
    assert "planned layers did not appear: detour" in caplog.text
    assert extractor.plan["detour"].left_out == "not called for all stimuli"
    with pytest.raises(RuntimeError, match=r"did not appear: detour\..*layers=\['!detour'\]"):
        extract_features(Skipping(), inputs, "detour", batch_size=4, progress=False)


def test_inputs_are_not_changed_by_an_in_place_model():
    inputs = torch.randn(5, 4)
    before = inputs.clone()
    extract_features(Model(nn.Sequential(nn.ReLU(inplace=True))), inputs, progress=False)
    assert torch.equal(inputs, before)


def test_the_global_random_state_is_untouched():
    model = Model(nn.Linear(4, 4))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    extract_features(model, torch.ones(3, 4), progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_half_precision_and_integer_maps_come_as_float32():
    class Mixed(nn.Module):
        def forward(self, x):
            return {"half": x.half(), "count": (x > 0).long(), "plain": x}

    maps = extract_features(Model(Mixed()), torch.randn(4, 6), progress=False)
    assert list(maps) == ["(root)[half]", "(root)[count]", "(root)[plain]"]
    assert {features.dtype for features in maps.values()} == {torch.float32}
    assert np.isin(maps["(root)[count]"].numpy(), (0, 1)).all()


class Clipped(nn.Module):
    """A clip that does nothing to the survey's stimuli and something to a later one."""

    def __init__(self):
        super().__init__()
        self.layer, self.clip = nn.Linear(4, 4), nn.Hardtanh(-50, 50)

    def forward(self, x):
        return self.clip(self.layer(x)) + 1


def test_a_duplicate_by_chance_is_found_over_all_stimuli(caplog):
    inputs = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    inputs[7] *= 1000
    module = Clipped()
    extractor = FeatureExtractor(Model(module), inputs, batch_size=4, progress=False)
    assert extractor.plan["clip"].duplicate_of == "layer"
    groups = [dict(group) for group in extractor]
    assert "layer clip equals layer for the stimuli of the survey" in caplog.text
    assert [list(group) for group in groups] == [["layer", "(root)"], ["clip"]]
    assert [layer.index for layer in extractor.plan.distinct] == [0, 1, 2]
    maps = extract_features(module, inputs, batch_size=4, progress=False)
    assert list(maps) == ["layer", "clip", "(root)"]
    assert torch.equal(maps["clip"], maps["layer"].clamp(-50, 50))
    assert torch.equal(groups[1]["clip"], maps["clip"])
    assert not torch.equal(maps["clip"], maps["layer"])
    tight = FeatureExtractor(module, inputs, batch_size=4, memory_limit=100, progress=False)
    kept: dict[str, torch.Tensor] = {}
    for group in tight:
        kept.update(group)
    parts = {name: [] for name in maps}
    for name, item in kept.items():
        parts[name.partition("[:")[0]].append(item)
    for name, item in maps.items():
        assert torch.equal(torch.cat(parts[name], dim=1), item)
    assert extract_features(module, inputs, dry_run=True, progress=False).n_passes >= 1


def test_a_recurrence_over_the_batch_is_no_map_of_stimuli():
    class Wrong(nn.Module):
        """The usual mistake: batch first is not asked for, so that time runs over the stimuli."""

        def __init__(self):
            super().__init__()
            self.first, self.rnn = nn.Linear(5, 5), nn.LSTM(5, 4)

        def forward(self, x):
            return self.rnn(self.first(x))[0]

    plan = FeatureExtractor(Wrong(), torch.randn(12, 7, 5), progress=False).plan
    assert plan.names() == ["first"]
    assert "values change with its batch" in plan["rnn[0]"].left_out


def test_two_threads_on_one_model_do_not_mix():
    module = build("alexnet")
    batches = [images(6, 64), images(6, 64).flip(0) * 2]
    alone = [extract_features(module, batch, batch_size=2, progress=False) for batch in batches]
    with ThreadPoolExecutor(2) as pool:
        both = list(
            pool.map(lambda x: extract_features(module, x, batch_size=2, progress=False), batches)
        )
    for expected, found in zip(alone, both, strict=True):
        for name, item in expected.items():
            torch.testing.assert_close(found[name], item, rtol=1e-4, atol=1e-5)


def test_a_function_that_calls_the_model_is_no_pass_of_it():
    class Lens(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.head = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            return self.head(self.b(self.a(x)))

    module, inputs = Lens(), torch.randn(8, 4)
    raw = extract_features(module, inputs, progress=False)
    seen = extract_features(
        module, inputs, ["a", "b", "head"], tensor_fn=module.head, progress=False, batch_size=3
    )
    for name in ("a", "b", "head"):
        with torch.no_grad():
            torch.testing.assert_close(seen[name], module.head(raw[name]))


class Counting(nn.Module):
    """Counts its calls in a buffer, keeps what it made, and uses gradients inside."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(1))
        self.cache = None

    def forward(self, x):
        self.calls += 1
        if self.cache is None:
            self.cache = x.new_ones(4)
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.layer(y).square().sum(), y)
        return slope * self.cache


def test_the_model_is_left_as_it_was_and_can_be_trained_on():
    module, inputs = Counting(), torch.randn(9, 4)
    extract_features(module, inputs, batch_size=4, progress=False)
    assert float(module.calls) == 0
    loss = (module.layer(inputs) * module.cache).sum()
    loss.backward()


def test_the_last_batch_is_not_of_one_stimulus():
    sizes = []

    class Squeezing(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x.squeeze() + 1

    found = extract_features(Squeezing(), torch.randn(9, 4), batch_size=4, progress=False)
    assert found["(root)"].shape == (9, 4)
    assert sizes[-3:] == [4, 3, 2]


def test_values_that_are_no_array_are_left_out_with_the_reason():
    class Sparse(nn.Module):
        def forward(self, x):
            return {"dense": x, "sparse": x.to_sparse(), "twice": 2 * x}

    plan = FeatureExtractor(Sparse(), torch.randn(5, 4), progress=False).plan
    assert plan["(root)[sparse]"].left_out == "its values are sparse"
    assert plan.names() == ["(root)[dense]", "(root)[twice]"]


def test_true_duplicates_stay_duplicates():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(6), nn.Flatten())
    extractor = FeatureExtractor(Model(module), torch.rand(9, 3, 8, 8), progress=False)
    (maps,) = extractor
    assert list(maps) == ["0"]
    assert extractor.plan["1"].duplicate_of == "0"
    assert not extractor.plan["1"].same_tensor
    assert extractor.plan["2"].duplicate_of == "0"
