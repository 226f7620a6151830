"""The survey: names, calls, duplicates by identity, in-place marks, and the model left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isomorph.extraction import FeatureExtractor, Model, survey_model
from isomorph.registry import UnknownNameError

CPU = torch.device("cpu")


def plan_of(module: nn.Module, *shape: int, dtype=torch.float32):
    torch_inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return survey_model(Model(module), torch_inputs, device=CPU)


class Shared(nn.Module):
    """One ReLU called twice, an in-place addition, an unused head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.relu = nn.ReLU(inplace=True)
        self.unused = nn.Linear(6, 2)

    def forward(self, x):
        a = self.relu(self.first(x))
        b = self.second(a)
        b += x
        return self.relu(b)


def test_shared_module_has_a_layer_for_each_call():
    plan = plan_of(Shared(), 6)
    assert [layer.name for layer in plan.layers] == ["first", "relu", "second", "relu#1", "(root)"]
    assert plan.names() == ["first", "relu", "second", "relu#1"]
    assert [layer.index for layer in plan.distinct] == [0, 1, 2, 3]
    assert plan.never_called == ("unused",)


def test_outputs_written_over_later_are_marked():
    plan = plan_of(Shared(), 6)
    assert plan["first"].overwritten  # by the in-place ReLU
    assert plan["second"].overwritten  # by += and by the ReLU
    assert not plan["relu#1"].overwritten


def test_root_is_the_duplicate_of_the_last_layer():
    plan = plan_of(Shared(), 6)
    assert plan.layers[-1].duplicate_of == "relu#1"
    assert plan.layers[-1].same_tensor


class Reused(nn.Module):
    """Frees each output before the next is made: the allocator hands the memory out again."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(64, 64) for _ in range(12))

    def forward(self, x):
        total = torch.zeros(len(x))
        for part in self.parts:
            total = total + part(x).sum(dim=1)
        return total[:, None]


def test_reused_memory_does_not_make_duplicates():
    plan = plan_of(Reused(), 64)
    assert not any(layer.duplicate_of for layer in plan.layers)
    assert len(plan.distinct) == 13


class Equal(nn.Module):
    """An identity by value (pooling 6 → 6), a view, and two dead units."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.pool = nn.AdaptiveAvgPool2d(6)
        self.flatten = nn.Flatten()
        self.dead = nn.ReLU()
        self.also_dead = nn.ReLU()

    def forward(self, x):
        y = self.pool(self.conv(x))
        flat = self.flatten(y)
        return flat + self.dead(-y.abs()).flatten(1) + self.also_dead(-2 * y.abs()).flatten(1)


def test_equal_values_are_duplicates_and_equal_silence_is_not():
    plan = plan_of(Equal(), 3, 8, 8)
    assert plan["pool"].duplicate_of == "conv"
    assert not plan["pool"].same_tensor
    assert plan["flatten"].duplicate_of == "conv"
    assert not plan["dead"].duplicate_of  # all zeros: proves nothing
    assert not plan["also_dead"].duplicate_of


class Tuples(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2)  # tokens first: (tokens, batch, 8)
        self.constant = nn.Embedding(4, 3)

    def forward(self, x):
        tokens = x.movedim(0, 1)
        out, _ = self.attend(tokens, tokens, tokens)
        return out.mean(dim=0) + self.constant(torch.arange(4)).sum()


def test_tuple_leaves_tokens_first_and_outputs_without_stimuli():
    plan = plan_of(Tuples(), 5, 8)
    assert plan["attend[0]"].shape == (5, 8)
    assert plan["attend[0]"].batch.axis == 1
    assert plan["attend[1]"].shape == (5, 5)
    assert "does not scale with the batch" in plan["constant"].left_out
    assert "attend.out_proj" in plan.never_called


def test_batch_size_equal_to_another_axis_is_not_confused():
    plan = plan_of(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)), 2)
    assert [layer.shape for layer in plan.distinct] == [(3,), (2,)]
    assert all(layer.batch.axis == 0 for layer in plan.distinct)


def test_model_is_left_as_it_was():
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    module.train()
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    flags = [part.training for part in module.modules()]
    plan_of(module, 4)
    assert [part.training for part in module.modules()] == flags
    assert not any(part._forward_hooks for part in module.modules())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


class Stubborn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        self.layer(x)
        raise RuntimeError("deep inside")


def test_hooks_and_flags_come_back_after_an_error():
    module = Stubborn().train()
    with pytest.raises(RuntimeError, match="deep inside"):
        plan_of(module, 4)
    assert module.training
    assert not module.layer._forward_hooks


class Fickle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        for _ in range(len(x)):
            x = self.layer(x)
        return x


def test_a_module_whose_calls_depend_on_the_batch_is_left_out():
    class Mixture(nn.Module):
        """Calls an expert once for each stimulus, and a plain layer after it."""

        def __init__(self) -> None:
            super().__init__()
            self.expert, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(torch.cat([self.expert(row[None]) for row in x]))

    plan = plan_of(Mixture(), 4)
    assert plan.names() == ["head"]
    left_out = {layer.name: layer.left_out for layer in plan.layers if layer.left_out}
    assert list(left_out) == ["expert", "expert#1", "expert#2"]
    assert left_out["expert#2"] == "not called in the same way for every batch"


def test_a_model_that_mixes_its_stimuli_has_nothing_to_read():
    plan = plan_of(Fickle(), 4)
    assert plan.distinct == ()
    with pytest.raises(ValueError, match="None can be read"):
        FeatureExtractor(Fickle(), torch.randn(5, 4))


def test_random_layers_are_left_out_with_the_reason():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    plan = plan_of(nn.Sequential(nn.Linear(4, 4), Noise()), 4)
    assert "values change with its batch" in plan["1"].left_out


def test_selecting_layers_by_name_glob_and_duplicate():
    plan = plan_of(Shared(), 6)
    assert [layer.name for layer in plan.select("relu*")] == ["relu", "relu#1"]
    assert [layer.name for layer in plan.select(["(root)"])] == ["relu#1"]
    with pytest.raises(UnknownNameError, match="unknown layer 'sekond'. Did you mean 'second'"):
        plan.select("sekond")
    with pytest.raises(ValueError, match="never calls this module"):
        plan.select("unused")


def test_plan_prints_as_a_table():
    text = str(plan_of(Shared(), 6))
    assert "4 of 4 distinct layers (1 duplicates)" in text
    assert "overwritten in place later" in text
    assert "is relu#1" in text
    assert "never called: unused" in text


def test_a_notebook_shows_the_plan_as_a_table_and_a_silent_branch_by_its_top():
    class Branched(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = nn.Linear(4, 3)
            self.other = nn.Sequential(nn.Linear(4, 3), nn.ReLU())

        def forward(self, x):
            return self.used(x)

    extractor = FeatureExtractor(Model(Branched()), torch.randn(6, 4), progress=False)
    plan = extractor.plan
    assert plan.never_called == ("other", "other.0", "other.1")
    assert str(plan).endswith("never called: other")
    page = plan._repr_html_()
    assert page.count("<tr") == len(plan.layers) + 1
    assert "never called: other</p>" in page
    assert "used" in page
