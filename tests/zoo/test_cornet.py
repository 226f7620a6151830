"""CORnets: what they give, and one map for each step of time."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from isomorph.extraction import FeatureExtractor
from isomorph.zoo import list_models, load_model

AREAS = ("V1", "V2", "V4", "IT")


def conv(state, name, maps, stride=1, padding=0):
    bias = state.get(f"{name}.bias")
    return functional.conv2d(maps, state[f"{name}.weight"], bias, stride, padding)


def batch_norm(state, name, maps):
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    maps = (maps - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    return maps * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def group_norm(state, name, maps):
    groups = maps.unflatten(1, (32, -1)).flatten(2)
    mean, var = groups.mean(2, keepdim=True), groups.var(2, unbiased=False, keepdim=True)
    maps = ((groups - mean) / (var + 1e-5).sqrt()).view_as(maps)
    return maps * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def decode(state, maps):
    return maps.mean((2, 3)) @ state["decoder.linear.weight"].T + state["decoder.linear.bias"]


def forward_z(state, maps):
    for area in AREAS:
        stride, padding = (2, 3) if area == "V1" else (1, 1)
        maps = conv(state, f"{area}.conv", maps, stride, padding).relu()
        maps = functional.max_pool2d(maps, 3, 2, 1)
    return decode(state, maps)


def forward_recurrent(state, images, *, in_time):
    """Every area at every step, by the recursion of the paper."""
    size = {"V1": 16, "V2": 8, "V4": 4, "IT": 2}  # for 64 pixels
    width = {"V1": 64, "V2": 128, "V4": 256, "IT": 512}
    history = {area: [images.new_zeros(len(images), width[area], size[area], size[area])]
               for area in AREAS}  # fmt: skip
    for step in range(1, 6):
        for place, area in enumerate(AREAS):
            own = history[area][step - 1]
            if area == "V1":
                before = images
            else:
                source = history[AREAS[place - 1]]
                before = source[step - 1] if in_time else source[step]
            if area == "V1" or step > 1:
                stride, padding = (4, 3) if area == "V1" else (2, 1)
                drive = conv(state, f"{area}.conv_input", before, stride, padding)
                own = own + group_norm(state, f"{area}.norm_input", drive).relu()
            maps = conv(state, f"{area}.conv1", own, 1, 1)
            history[area].append(group_norm(state, f"{area}.norm1", maps).relu())
    return decode(state, history["IT"][-1])


def forward_s(state, images):
    maps = batch_norm(state, "V1.norm1", conv(state, "V1.conv1", images, 2, 3)).relu()
    maps = functional.max_pool2d(maps, 3, 2, 1)
    maps = batch_norm(state, "V1.norm2", conv(state, "V1.conv2", maps, 1, 1)).relu()
    for area, times in (("V2", 2), ("V4", 4), ("IT", 2)):
        maps = conv(state, f"{area}.conv_input", maps)
        for step in range(times):
            kept = maps
            if step == 0:
                kept = batch_norm(state, f"{area}.norm_skip", conv(state, f"{area}.skip", maps, 2))
            for number, (stride, padding) in enumerate([(1, 0), (2 if step == 0 else 1, 1)], 1):
                maps = conv(state, f"{area}.conv{number}", maps, stride, padding)
                maps = batch_norm(state, f"{area}.norm{number}_{step}", maps).relu()
            maps = batch_norm(state, f"{area}.norm3_{step}", conv(state, f"{area}.conv3", maps))
            maps = (maps + kept).relu()
    return decode(state, maps)


FORWARD = {
    "cornet_z": forward_z,
    "cornet_r": lambda state, images: forward_recurrent(state, images, in_time=False),
    "cornet_rt": lambda state, images: forward_recurrent(state, images, in_time=True),
    "cornet_s": forward_s,
}


def twin(name):
    """A random twin with every weight off its initial value."""
    model = load_model(f"cornet/{name}", weights=None)
    torch.manual_seed(1)
    for value in model.module.state_dict().values():
        if value.ndim == 1 and value.is_floating_point():
            value += 0.1 * torch.rand(value.shape)
    return model


@pytest.mark.parametrize("name", FORWARD)
def test_the_output_is_that_of_the_network_written_out(name):
    model = twin(name)
    images = torch.rand(2, 3, 64, 64)
    state = {key: value.double() for key, value in model.module.state_dict().items()}
    with torch.inference_mode():
        found = model(images).double()
    expected = FORWARD[name](state, images.double())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_r_and_rt_differ_although_their_weights_do_not():
    r, rt = twin("cornet_r"), load_model("cornet/cornet_rt", weights=None)
    rt.module.load_state_dict(r.module.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert not torch.allclose(r(images), rt(images), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "module", "steps"),
    [("cornet_rt", "V1.conv1", 5), ("cornet_r", "IT.nonlin1", 5), ("cornet_s", "V4.conv2", 4)],
)
def test_the_survey_has_one_map_for_each_step_of_time(name, module, steps):
    model = twin(name)
    images = torch.rand(6, 3, 64, 64)
    plan = FeatureExtractor(model, images, progress=False).plan
    names = [layer.name for layer in plan.layers]
    expected = [module, *(f"{module}#{step}" for step in range(1, steps))]
    assert [name for name in names if name.partition("#")[0] == module] == expected
    with torch.inference_mode():
        output = model(images)
    last = FeatureExtractor(model, images, layers=["decoder.linear"], progress=False)
    assert torch.allclose(next(iter(last))["decoder.linear"], output, atol=1e-5)


@pytest.mark.parametrize("name", FORWARD)
def test_published_weights_are_read_as_they_are_wrapped(name, keep_checkpoint):
    state = load_model(f"cornet/{name}", weights=None, seed=3).module.state_dict()
    # Saved by an older torch, which counted no batches.
    old = {f"module.{key}": value for key, value in state.items() if "num_batches" not in key}
    content = {"epoch": 20, "state_dict": old}
    keep_checkpoint("cornet", name, "imagenet1k", content, old_format=True)
    model = load_model(f"cornet/{name}", progress=False)
    assert model.uid == f"cornet/{name}@imagenet1k"
    found = model.module.state_dict()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_a_changed_file_is_refused(weights_folder):
    torch.save({}, weights_folder / "cornet_z-5c427c9c.pth")
    with pytest.raises(ValueError, match="whose SHA-256 begins with 5c427c9c, got"):
        load_model("cornet/cornet_z", progress=False)


def test_the_catalogue_knows_which_are_recurrent():
    frame = list_models(source="cornet").set_index("name")
    assert frame["family"].to_dict() == {
        "cornet_z": "convolutional",
        "cornet_r": "recurrent",
        "cornet_rt": "recurrent",
        "cornet_s": "recurrent",
    }
