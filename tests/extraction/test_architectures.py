"""Every map of real architectures against an oracle that clones at the hook."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from isomorph.extraction.stream import taps


def _beside(name: str) -> ModuleType:
    """Import a file that lies beside this one; test folders are no packages."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


architectures, oracle = _beside("architectures"), _beside("oracle")
N, listen = oracle.N, oracle.listen
differences, extracted = oracle.differences, oracle.extracted


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small networks: threads that wait for each other on a busy machine take most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def marked(cases: list[Any]) -> list[Any]:
    return [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else [])
        for case in cases
    ]


def case_named(name: str) -> Any:
    return next(case for case in architectures.CASES if case.name == name)


@pytest.mark.parametrize("case", marked(architectures.CASES))
def test_every_map_is_the_one_that_the_oracle_clones(case):
    module = case.build()
    with architectures.quiet():
        assert differences(module, case.stimuli) == []


@pytest.mark.parametrize("case", marked(architectures.CASES_BY_NAME))
def test_inputs_given_by_name(case):
    module = case.build()
    with architectures.quiet():
        assert differences(module, case.stimuli) == []


@contextmanager
def taps_by_reference(model, layers, consume):
    """The mutant: keeps what the hook saw, and reads it after the forward pass."""
    seen: list[tuple[Any, torch.Tensor]] = []
    with taps(model, layers, lambda layer, rows: seen.append((layer, rows))) as run:

        def late(batch):
            run(batch)
            for layer, rows in seen:
                consume(layer, rows)
            seen.clear()

        yield late


@pytest.mark.parametrize(("name", "least"), [("resnet18", 15), ("densenet121", 100)])
def test_a_mutant_that_reads_by_reference_fails(name, least, monkeypatch):
    monkeypatch.setattr("isomorph.extraction.stream.taps", taps_by_reference)
    case = case_named(f"torchvision/{name}")
    found = differences(case.build(), case.stimuli)
    assert len([line for line in found if line.endswith("other values")]) >= least


@pytest.mark.parametrize("name", ["torchvision/squeezenet1_1", "transformers/BertModel"])
def test_what_is_called_the_same_tensor_is_that(name):
    # In 32 pixels the last pool equals what it pools; what hands it on is the pool's tensor.
    case = case_named(name)
    module = case.build()
    plan, _ = extracted(module, case.stimuli(N))
    assert any(layer.same_tensor for layer in plan.layers)
    assert oracle.false_identities(plan, module, case.stimuli(N)) == []


SIX = [
    "torchvision/resnet18",
    "timm/vit_tiny_patch16_224",
    "transformers/GPT2Model",
    "transformers/MixtralModel",
    pytest.param("torchvision/densenet121", marks=pytest.mark.slow),
    pytest.param("timm/swin_tiny_patch4_window7_224", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", SIX)
def test_maps_do_not_depend_on_batch_size_memory_or_passes(name):
    case = case_named(name)
    module, stimuli = case.build(), case.stimuli(N)
    plan, whole = extracted(module, stimuli)
    largest = max(layer.n_bytes(N) for layer in plan.distinct)
    # All in one pass; in several; and with the largest layers in slices of their features.
    for limit in (largest, largest // 3):
        again, grouped = extracted(module, stimuli, memory_limit=limit)
        assert len(again.passes) > 2
        assert list(joined(grouped)) == list(whole)
        assert [key for key, m in joined(grouped).items() if not torch.equal(m, whole[key])] == []
    for size in (1, 2, 3):
        _, small = extracted(module, stimuli, batch_size=size)
        assert list(small) == list(whole)
        for key, features in whole.items():
            scale = features.abs().max() + 1e-20
            assert ((small[key] - features).abs().max() <= 1e-5 * scale).item(), (key, size)


def joined(parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put slices, ``name[:, first:last]``, together again."""
    found: dict[str, list[torch.Tensor]] = {}
    for name, features in parts.items():
        found.setdefault(name.partition("[:, ")[0], []).append(features)
    return {name: torch.cat(slices, dim=1) for name, slices in found.items()}


def test_a_layer_alone_gives_the_same_map():
    case = case_named("torchvision/resnet18")
    module, stimuli = case.build(), case.stimuli(N)
    _, whole = extracted(module, stimuli)
    for name in ("relu", "layer2.0.downsample.1", "fc"):
        assert torch.equal(extracted(module, stimuli, layers=[name])[1][name], whole[name])


# -------------------------------------------------- networks that an engine has to go out of its
# way for: fused kernels, values that decide which modules are called, memory changed unseen


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_fused_transformer_encoder_shows_all_its_parts(batch_first):
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
            self.encoder = nn.TransformerEncoder(layer, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # Tokens lead where the batch does not: the stimuli are then in the second axis.
            return self.encoder(x if batch_first else x.transpose(0, 1))

    module, stimuli = architectures.built(Encoder), architectures.real(5, 16)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        assert differences(module, stimuli) == []
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    plan, maps = extracted(module, stimuli(N))
    assert torch.backends.mha.get_fastpath_enabled() == fused
    assert {f"encoder.layers.{i}.linear2" for i in (0, 1)} <= set(maps)
    assert plan.never_called == tuple(f"encoder.layers.{i}.self_attn.out_proj" for i in (0, 1))
    with torch.no_grad():
        plain = module(stimuli(N))  # by the fused kernel
    plain = plain if batch_first else plain.transpose(0, 1)
    last = plan["(root)"].duplicate_of or "(root)"
    torch.testing.assert_close(maps[last], plain.flatten(1), rtol=1e-4, atol=1e-5)


class Experts(nn.Module):
    """Each token is sent to one of four parts, whose rows are then tokens of some stimuli."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(6, 4)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 6), nn.ReLU(inplace=True)) for _ in range(4)
        )
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(0, 1)
        choice = self.router(tokens).argmax(-1)
        mixed = torch.zeros_like(tokens)
        for i, expert in enumerate(self.experts):
            mine = choice == i
            if mine.any():
                mixed[mine] = expert(tokens[mine])
        return self.head(mixed.view_as(x))


class Exit(nn.Module):
    """One part is passed over where no stimulus of the batch needs it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.maybe, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        rows = x[:, :, 0].amax(1) > 0.8
        if rows.any():
            x = torch.where(rows[:, None, None], self.maybe(x), x)
        return self.last(x)


@pytest.mark.parametrize("seed", range(8))
def test_where_experts_are_chosen_by_the_values_no_row_is_anothers(seed):
    torch.manual_seed(seed)
    module, stimuli = Experts().eval(), torch.randn(12, 2, 6)
    plan, maps = extracted(module, stimuli, batch_size=2)
    assert {"router", "head"} <= set(maps)
    alone = [listen(module, stimulus[None]).maps for stimulus in stimuli]
    for name, features in maps.items():
        # A stimulus's row is what the module gives where that stimulus is alone.
        for row, heard in zip(features, alone, strict=True):
            truth = heard.get(plan[name].key)
            assert truth is not None, name
            assert truth.numel() == row.numel(), name
            torch.testing.assert_close(row, truth.flatten(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_a_part_that_some_batches_pass_over_does_not_cost_the_others(seed):
    torch.manual_seed(seed)
    module, stimuli = Exit().eval(), torch.randn(12, 2, 6)
    plan, maps = extracted(module, stimuli, batch_size=2)
    assert {"first", "last"} <= set(maps)
    batches = [listen(module, pair).maps for pair in stimuli.split(2)]
    for name, features in maps.items():
        truth = torch.cat([heard[plan[name].key].flatten(1) for heard in batches])
        assert torch.equal(features, truth), name


def test_memory_changed_behind_torchs_back():
    class Unseen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.a(x)
            y.data.mul_(2)  # leaves the tensor's version as it was
            return self.b(y) + 1

    assert differences(architectures.built(Unseen), architectures.real(4)) == []


def test_what_follows_a_false_duplicate_goes_with_it():
    class Clipped(nn.Module):
        """A clip that does nothing to the first stimuli, and a dropout that hands it on."""

        def __init__(self) -> None:
            super().__init__()
            self.layer, self.clip, self.drop = nn.Linear(4, 4), nn.Hardtanh(-9, 9), nn.Dropout()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.drop(self.clip(self.layer(x))) + 1

    def stimuli(n: int) -> torch.Tensor:
        return architectures.real(4)(n) * torch.tensor([1.0, 1, 1, 1000])[:n, None]

    module = architectures.built(Clipped)
    assert differences(module, stimuli) == []
    plan, _ = extracted(module, stimuli(N))
    assert plan["drop"].duplicate_of == "clip"
