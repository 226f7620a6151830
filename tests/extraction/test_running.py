"""How the model runs: precision, layout, fused and compiled parts, running out of memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from isomorph.extraction import FeatureExtractor, Model, extract_features, ready
from isomorph.registry import UnknownNameError

CPU = torch.device("cpu")


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(96, 5)
    )


def images(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_is_near_and_not_the_same(precision):
    whole = extract_features(small(), images(), progress=False)
    mixed = extract_features(small(), images(), precision=precision, progress=False)
    assert mixed["0"].dtype == torch.float32
    assert not torch.equal(mixed["0"], whole["0"])
    torch.testing.assert_close(mixed["0"], whole["0"], rtol=0.05, atol=0.05)
    with torch.no_grad(), torch.autocast("cpu", dtype=getattr(torch, precision)):
        assert torch.equal(mixed["0"], small().eval()[0](images()).float())


def test_a_precision_that_does_not_exist():
    with pytest.raises(UnknownNameError, match="unknown precision 'half'"):
        FeatureExtractor(small(), images(), precision="half")


def test_channels_last_gives_the_same_maps_and_the_layout_comes_back():
    module = small()
    module[0].weight.data = module[0].weight.data.contiguous()
    before = module[0].weight.data_ptr(), module[0].weight.stride()
    plain = extract_features(module, images(), progress=False)
    last = extract_features(module, images(), channels_last=True, progress=False)
    for name, item in plain.items():
        torch.testing.assert_close(last[name], item)
    assert (module[0].weight.data_ptr(), module[0].weight.stride()) == before
    with ready(Model(module), CPU, channels_last=True):
        assert module[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_pooling_knows_channels_whatever_the_memory_layout():
    plain = extract_features(small(), images(), pool="mean", progress=False)
    last = extract_features(small(), images(), pool="mean", channels_last=True, progress=False)
    torch.testing.assert_close(last["0"], plain["0"])


class Hungry(nn.Module):
    """Runs out of (pretended) device memory with more than two stimuli, late in its pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.limit, self.sizes = 10, []

    def forward(self, x):
        y = self.first(x)
        self.sizes.append(len(x))
        if len(x) > self.limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return self.second(y)


def test_out_of_memory_halves_the_batch_and_goes_on(caplog):
    torch.manual_seed(0)
    module, inputs = Hungry(), torch.randn(11, 4)
    whole = extract_features(module, inputs, batch_size=8, progress=False)
    extractor = FeatureExtractor(module, inputs, batch_size=8, progress=False)
    module.limit = 2
    module.sizes.clear()
    (halved,) = extractor
    assert module.sizes == [8, 4, 2, 2, 4, 2, 2, 3, 1, 2]
    assert "out of memory on cpu with 8 stimuli a batch; going on with 4" in caplog.text
    assert list(halved) == list(whole)
    for name, item in whole.items():
        torch.testing.assert_close(halved[name], item)


def test_moments_count_each_stimulus_once_though_a_batch_ran_twice():
    from isomorph.extraction import Inputs, MomentsNeed, make_plan, stream_layers

    torch.manual_seed(0)
    module, inputs = Hungry(), torch.randn(11, 4)
    model = Model(module)
    batches = Inputs(model, inputs, batch_size=8)
    plan = make_plan(model, batches, needs=[MomentsNeed()], device=CPU)
    module.limit = 3
    given = {
        layer.name: found[MomentsNeed()]
        for layer, found in stream_layers(
            model, batches, plan, [MomentsNeed()], device=CPU, progress=False
        )
    }
    with torch.no_grad():
        expected = module.first(inputs).double()
    assert given["first"].n == 11
    torch.testing.assert_close(torch.from_numpy(given["first"].mean), expected.mean(dim=0))
    torch.testing.assert_close(
        torch.from_numpy(given["first"].variance), expected.var(dim=0, correction=0)
    )


def test_one_stimulus_that_does_not_fit_is_one_clear_error():
    module = Hungry()
    extractor = FeatureExtractor(module, torch.randn(5, 4), batch_size=4, progress=False)
    module.limit = 0
    with pytest.raises(
        RuntimeError, match=r"expected room on cpu for a batch of 1, got CUDA out of"
    ):
        list(extractor)


def encoder(**options) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2)


def test_fused_transformer_layers_give_every_part_whatever_is_read():
    module, inputs = encoder(), torch.randn(4, 5, 8)
    extractor = FeatureExtractor(module, inputs, progress=False)
    (maps,) = extractor
    assert {"layers.0.self_attn[0]", "layers.0.linear1", "layers.1.norm2"} <= set(maps)
    assert "layers.0.self_attn.out_proj" in extractor.plan.never_called
    alone = extract_features(module, inputs, "layers.1", progress=False)
    assert torch.equal(alone["layers.1"], maps["layers.1.norm2"])
    assert torch.backends.mha.get_fastpath_enabled()
    # By hand, from the parts.
    first = module.layers[0].eval()
    with torch.no_grad():
        attended = first.norm1(inputs + first.self_attn(inputs, inputs, inputs)[0])
        hidden = first.linear1(attended)
    torch.testing.assert_close(maps["layers.0.linear1"], hidden)


def test_compiled_and_wrapped_modules_are_read_by_their_own_names():
    inputs = images()
    plain = extract_features(small(), inputs, progress=False)
    inner = small()
    inner[0] = torch.compile(inner[0])
    inner[4].compile()
    for module in (torch.compile(small()), nn.DataParallel(small()), inner):
        found = extract_features(module, inputs, progress=False)
        assert list(found) == list(plain)
        for name, item in plain.items():
            assert torch.equal(found[name], item)


def test_a_model_without_weights_is_one_clear_error():
    module = nn.Linear(4, 4, device="meta")
    with pytest.raises((ValueError, NotImplementedError), match="meta"):
        FeatureExtractor(module, torch.zeros(3, 4))


def test_a_hook_of_the_users_that_raises_leaves_nothing_behind():
    module = small()
    module.train()

    def bad(*_):
        raise RuntimeError("mine")

    handle = module[2].register_forward_hook(bad)
    with pytest.raises(RuntimeError, match="mine"):
        FeatureExtractor(module, images())
    handle.remove()
    assert module.training
    assert not any(part._forward_hooks for part in module.modules())


def test_operations_are_read_where_they_are_asked_for():
    module, inputs = models.resnet18(weights=None), torch.randn(3, 3, 32, 32)
    plain = FeatureExtractor(module, inputs, progress=False)
    extractor = FeatureExtractor(module, inputs, ops=True, progress=False, flatten=True)
    added = [name for name in extractor.plan.names() if ":" in name]
    assert added == [f"layer{s}.{b}:add" for s in (1, 2, 3, 4) for b in (0, 1)]
    assert [n for n in extractor.plan.names() if ":" not in n] == plain.plan.names()
    (maps,) = extractor
    expected = extract_features(module, inputs, progress=False, flatten=True)
    for name in plain.plan.names():
        assert torch.equal(maps[name], expected[name])
    # What the last ReLU of a block was given.
    assert torch.equal(maps["layer1.0:add"].relu(), maps["layer1.0.relu#1"])
    some = extract_features(
        module, inputs, "*:add", ops=True, pool="mean", progress=False, batch_size=2
    )
    assert list(some) == added


def test_the_fingerprint_of_a_compiled_model_is_that_of_the_model():
    assert Model(torch.compile(small())).uid == Model(small()).uid
