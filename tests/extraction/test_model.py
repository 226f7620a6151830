"""`Model`: unpacking, names, and being left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isomorph.extraction import Model, ready, resolve_device
from isomorph.extraction.model import hash_state_dict


def test_a_model_unpacks_and_names_itself_by_its_weights():
    linear = nn.Linear(3, 2)
    model = Model(linear, preprocess=str)
    module, preprocess = model
    assert module is linear
    assert preprocess is str
    assert model.uid == f"own/Linear@state-{hash_state_dict(linear.state_dict())[:8]}"


def test_forward_may_be_given():
    model = Model(nn.Linear(3, 2), forward=lambda module, x: module(2 * x))
    x = torch.ones(1, 3)
    assert torch.equal(model(x), model.module(2 * x))


def test_fingerprint_follows_weights_and_preprocessing():
    torch.manual_seed(0)
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    prints = {
        Model(first, uid="a").fingerprint(),
        Model(second, uid="a").fingerprint(),
        Model(first, uid="a", preprocess=str, preprocess_spec="x").fingerprint(),
        Model(first, uid="a", preprocess=str, preprocess_spec="y").fingerprint(),
    }
    assert len(prints) == 4
    assert Model(first, uid="a").fingerprint() == Model(first, uid="a").fingerprint()


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="expected a torch.nn.Module, got str. .*load_model"):
        Model("torchvision/alexnet")  # type: ignore[arg-type]


def test_ready_restores_every_flag_after_an_error():
    module = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))
    module[1].eval()

    def fail_inside():
        with ready(Model(module), torch.device("cpu")):
            assert not module[0].training
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert module.training
    assert module[0].training
    assert not module[1].training


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there():
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="torch sees no CUDA device here"):
        resolve_device("cuda")


def test_weights_hash_ignores_order_and_sees_every_value():
    state = {"a": torch.arange(4.0), "b": torch.ones(2, dtype=torch.bfloat16), "n": torch.tensor(3)}
    turned = dict(reversed(state.items()))
    changed = {**state, "a": torch.tensor([0.0, 1, 2, 4])}
    renamed = {"c" if name == "a" else name: value for name, value in state.items()}
    assert hash_state_dict(state) == hash_state_dict(turned)
    assert len({hash_state_dict(s) for s in (state, changed, renamed)}) == 3


def test_modules_that_cannot_be_hooked_are_refused():
    with pytest.warns((DeprecationWarning, FutureWarning)):
        scripted = torch.jit.script(nn.Linear(3, 2))
    with pytest.raises(TypeError, match="got a scripted .* Give it as it was before"):
        Model(scripted)
    with pytest.raises(ValueError, match="got a lazy LazyLinear that has none yet. Run it once"):
        Model(nn.LazyLinear(3))
