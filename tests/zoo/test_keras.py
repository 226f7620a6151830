"""Keras' networks on torch: their layers are hooked, their answers are Keras' own."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import os
import pickle
import random
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isomorph.extraction import FeatureExtractor, extract_features
from isomorph.zoo import list_models, load_model
from isomorph.zoo.sources import keras as source

if not source.SOURCE.installed:
    pytest.skip("keras is not installed", allow_module_level=True)

SMALL = "MobileNetV3Small"
WIDE = ["MobileNet", "MobileNetV2", SMALL, "EfficientNetB0"]
HEAVY = [
    "EfficientNetV2B0",
    "DenseNet121",
    "ConvNeXtTiny",
    "ResNet50",
    "ResNet50V2",
    "InceptionV3",
    "Xception",
]
NETWORKS = [*WIDE, *(pytest.param(name, marks=pytest.mark.slow) for name in HEAVY)]


@pytest.fixture(scope="module")
def keras():
    return source.import_keras()


def pictures(sizes=((300, 200), (224, 224), (120, 400))):
    rng = np.random.default_rng(0)
    for width, height in sizes:
        yield Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8))


def lively(model):
    """Give a twin weights with which its maps do not fade: Keras' own do without training."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.module.named_parameters():
            if weight.ndim == 4:
                height, width, n_in, n_out = weight.shape
                fan = height * width * (1 if n_out == 1 or "depthwise" in name else n_in)
                weight.normal_(0, (2 / fan) ** 0.5, generator=generator)
    return model


def inputs_of(model, n=2):
    return torch.stack([model.preprocess(picture) for picture in list(pictures())[:n]])


def test_every_application_is_a_row(keras):
    frame = list_models(source="keras").set_index("name")
    there = {name for name in dir(keras.applications) if name[0].isupper()}
    # Keras says that this one does not run on torch.
    assert set(frame.index) == there - {"NASNetMobile"}
    assert len(frame) >= 39
    assert frame["default"].all()
    assert frame["url"].str.match(r"https://(storage\.googleapis|github)\.com/.*\.h5$").all()
    assert frame.loc["ResNet50", "input_size"] == 224
    assert frame.loc["NASNetLarge", "input_size"] == 331
    assert frame.loc["ResNet50V2", "architecture"] == "resnetv2_50"
    assert frame.loc["VGG16", "architecture"] == "vgg16"
    # The VGG-16 of the paper: 138.36 million.
    assert frame.loc["VGG16", "n_params"] == 138_357_544


def test_the_catalogue_does_not_import_what_it_needs_not():
    code = (
        "import sys; from isomorph.zoo.sources import keras, timm, torchvision; "
        "rows = list(keras.rows()); "
        "assert rows and not {'keras', 'timm', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_answers_as_keras_own_and_every_layer_is_read(name, keras):
    model = lively(load_model(f"keras/{name}", weights=None))
    network = model.module.network
    inputs = inputs_of(model)
    with torch.inference_mode(), keras.device("cpu"):
        channels_last = inputs.permute(0, 2, 3, 1)
        answer = network(channels_last)
        assert torch.equal(model(inputs), answer)
        # By Keras alone: a network whose outputs are those of these layers.
        asked = [network.layers[i] for i in (3, len(network.layers) // 2, -2)]
        part = keras.Model(network.input, [layer.output for layer in asked])
        expected = part(channels_last)
    row = list_models(source="keras", name=name).iloc[0]
    assert row["n_params"] == sum(p.numel() for p in model.module.parameters())
    assert row["n_params"] == sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    assert row["input_size"] == inputs.shape[-1]
    plan = FeatureExtractor(model, inputs, progress=False).plan
    read = {layer.path for layer in plan.layers if not layer.left_out}
    assert {model.module._paths[layer.name] for layer in network.layers[1:]} <= read
    assert len([layer for layer in plan.layers if layer.left_out]) == 0
    names = [model.module._paths[layer.name] for layer in asked]
    features = extract_features(model, inputs, layers=names, progress=False)
    for layer, maps in zip(names, expected, strict=True):
        assert not torch.equal(maps[0], maps[1])
        difference = (torch.as_tensor(features[layer]) - maps).abs().max()
        assert difference <= 1e-5 * maps.abs().max()
    assert plan.distinct[-1].shape == (1000,)


def test_pooling_keeps_the_channels():
    model = load_model(f"keras/{SMALL}", weights=None)
    inputs = inputs_of(model)
    plan = FeatureExtractor(model, inputs, progress=False).plan
    maps = [layer for layer in plan.distinct if len(layer.shape) == 3]
    assert len(maps) > 50
    assert all(layer.channels == 2 for layer in maps)
    name = maps[10].name
    whole = extract_features(model, inputs, layers=[name], progress=False)[name]
    pooled = extract_features(model, inputs, layers=[name], pool="mean", progress=False)[name]
    expected = torch.as_tensor(whole).mean((1, 2))
    assert torch.allclose(torch.as_tensor(pooled), expected, atol=1e-5)


def test_layers_keep_the_names_of_their_authors_however_many_networks_there_are():
    first = load_model("keras/MobileNet", weights=None).module
    second = load_model("keras/MobileNet", weights=None).module
    assert list(first.state_dict()) == list(second.state_dict())
    assert "conv1.kernel" in first.state_dict()
    assert "conv_dw_1_bn.moving_mean" in dict(first.named_buffers())
    assert repr(first) == repr(second)
    small = load_model(f"keras/{SMALL}", weights=None).module
    counted = [name for name, _ in small.named_children() if name.startswith("re_lu")]
    assert counted[:3] == ["re_lu", "re_lu_1", "re_lu_2"]
    assert type(first.conv1).__name__ == "Conv2D"
    assert '"strides": [2, 2]' in repr(first)


def test_random_twins_are_seeded_and_have_kerass_initialisation(tmp_path):
    uid = f"keras/{SMALL}"
    first, again = load_model(uid, weights=None, seed=1), load_model(f"{uid}@random-1")
    other = load_model(uid, weights=None, seed=2)
    assert first.weights_hash() == again.weights_hash() != other.weights_hash()
    # Glorot: uniform within sqrt(6 / (fan_in + fan_out)), of 3 × 3 × 3 and 3 × 3 × 16.
    kernel = first.module.conv.kernel
    bound = (6 / (9 * 3 + 9 * 16)) ** 0.5
    assert 0.9 * bound < kernel.abs().max() <= bound
    code = (
        "from isomorph.zoo import load_model; "
        f"print(load_model({uid!r}, weights=None, seed=1).weights_hash())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert there.split()[-1] == first.weights_hash()


MODES = {
    "ResNet50": (224, {"channels": "BGR", "divide_by": 1.0}),
    "MobileNetV2": (224, {"channels": "RGB", "divide_by": 127.5}),
    "DenseNet121": (224, {"channels": "RGB", "divide_by": 255.0}),
    "EfficientNetB1": (240, {"channels": "RGB", "divide_by": 1.0}),
    "Xception": (299, {"channels": "RGB", "divide_by": 127.5}),
}


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_preprocessing_equals_keras_bit_for_bit(name, interpolation, keras, tmp_path):
    size, facts = MODES[name]
    ours = source.preprocess_of(name, (size, size))
    assert {key: getattr(ours, key) for key in facts} == facts
    ours = dataclasses.replace(ours, interpolation=interpolation)
    part = sys.modules[getattr(keras.applications, name).__module__]
    for i, picture in enumerate(pictures()):
        picture.save(tmp_path / f"{i}.png")
        loaded = keras.utils.load_img(
            tmp_path / f"{i}.png", target_size=(size, size), interpolation=interpolation
        )
        expected = part.preprocess_input(keras.utils.img_to_array(loaded))
        assert torch.equal(ours(picture), torch.from_numpy(expected.copy()).permute(2, 0, 1))


def test_preprocessing_of_real_photos(keras, data_folder):
    ours = source.preprocess_of("ResNet50", (224, 224))
    for photo in sorted((data_folder / "photos").glob("*.bmp"))[:3]:
        loaded = keras.utils.load_img(photo, target_size=(224, 224), interpolation="bilinear")
        part = sys.modules[keras.applications.ResNet50.__module__]
        expected = part.preprocess_input(keras.utils.img_to_array(loaded))
        with Image.open(photo) as picture:
            found = ours(picture.convert("RGB"))
        assert torch.equal(found, torch.from_numpy(expected.copy()).permute(2, 0, 1))


def write_legacy(file, network):
    """Write weights as keras.applications publishes them."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        legacy_h5_format.save_weights_to_hdf5_group(stream, network)


def asked_for(name):
    asked = []
    source.build_network(name, lambda published: asked.append(published) or "")
    return asked[0]


@pytest.fixture
def home(tmp_path, monkeypatch, keras):
    from keras.src.backend import config

    monkeypatch.delenv("ISOMORPH_CACHE", raising=False)
    monkeypatch.setattr(config, "keras_home", lambda: str(tmp_path / "keras"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path / "keras" / "models"


def publish_with_hash(name, digits, monkeypatch, keras):
    """Let keras publish another hash of a file, where it publishes any."""
    before = asked_for(name).hash
    hashes = getattr(
        sys.modules[getattr(keras.applications, name).__module__], "WEIGHTS_HASHES", {}
    )
    for key, both in list(hashes.items()):
        if before and before in both:
            monkeypatch.setitem(hashes, key, tuple(digits if h == before else h for h in both))
    assert asked_for(name).hash == (digits if before else "")


@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV2",
        SMALL,
        pytest.param("EfficientNetB0", marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
    ],
)
def test_published_weights_come_from_keras_cache(name, home, monkeypatch, keras):
    twin = load_model(f"keras/{name}", weights=None, seed=5)
    file = home / asked_for(name).file_name
    write_legacy(file, twin.module.network)
    digits = hashlib.md5(file.read_bytes()).hexdigest()
    publish_with_hash(name, digits, monkeypatch, keras)
    model = load_model(f"keras/{name}", progress=False)
    assert model.uid == f"keras/{name}@imagenet"
    state = twin.module.state_dict()
    found = model.module.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(value, found[key]) for key, value in state.items())
    inputs = inputs_of(model)
    # Keras itself, from the same file.
    with keras.device("cpu"):
        monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_a, **_k: str(file))
        theirs = getattr(keras.applications, name)(weights="imagenet", input_shape=(224, 224, 3))
        with torch.inference_mode():
            assert torch.equal(model(inputs), theirs(inputs.permute(0, 2, 3, 1)))


def test_a_file_with_another_hash_is_refused(home):
    file = home / asked_for("MobileNetV3Small").file_name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"another")
    with pytest.raises(ValueError, match="expected a file whose MD5 begins with") as caught:
        load_model(f"keras/{SMALL}", progress=False)
    assert "keras/MobileNetV3Small@imagenet" in str(caught.value)


def test_a_file_of_another_network_is_refused(home):
    other = load_model("keras/MobileNet", weights=None)
    write_legacy(home / asked_for("MobileNetV2").file_name, other.module.network)
    with pytest.raises(ValueError, match="the file of keras/MobileNetV2@imagenet does not fit"):
        load_model("keras/MobileNetV2", progress=False)


def test_a_broken_file_is_refused(home):
    file = home / asked_for("MobileNetV2").file_name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"broken")
    with pytest.raises(ValueError, match="the file of keras/MobileNetV2@imagenet does not fit"):
        load_model("keras/MobileNetV2", progress=False)


def test_weights_that_are_not_here_say_where_to_put_them(home, monkeypatch):
    import urllib.error
    import urllib.request

    def no_network(*_args, **_kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(FileNotFoundError) as caught:
        load_model(f"keras/{SMALL}", progress=False)
    assert str(home / asked_for(SMALL).file_name) in str(caught.value)
    assert "weights=None gives the random twin" in str(caught.value)


def test_state_dicts_come_back_into_the_layers(tmp_path):
    model = lively(load_model("keras/MobileNet", weights=None, seed=1))
    torch.save(model.module.state_dict(), tmp_path / "net.pth")
    again = load_model("keras/MobileNet", weights=tmp_path / "net.pth")
    inputs = inputs_of(model)
    with torch.inference_mode():
        assert torch.equal(model(inputs), again(inputs))
        again.module.conv1.kernel.zero_()
        again.module.conv1_bn.moving_mean += 3
        assert not torch.equal(model(inputs), again(inputs))
        kernel = again.module.network.get_layer("conv1").kernel
        assert torch.equal(kernel.value, again.module.conv1.kernel)


@pytest.mark.parametrize("name", ["MobileNet", SMALL])
def test_networks_are_copied_and_pickled_with_their_weights(name):
    load_model(f"keras/{name}", weights=None)  # so that Keras' own counts are beyond the first
    model = lively(load_model(f"keras/{name}", weights=None, seed=3))
    inputs = inputs_of(model)
    first = next(iter(model.module.parameters())).requires_grad_(False)
    drawn = random.getstate()
    copies = [copy.deepcopy(model.module), pickle.loads(pickle.dumps(model.module))]  # noqa: S301 - its own bytes
    assert random.getstate() == drawn
    with torch.inference_mode():
        answer = model(inputs)
        for module in copies:
            assert repr(module) == repr(model.module)
            assert not module.training
            assert not next(iter(module.parameters())).requires_grad
            assert sum(p.requires_grad for p in module.parameters()) > 5
            assert torch.equal(module(inputs), answer)
            next(iter(module.parameters())).zero_()
            assert not torch.equal(module(inputs), answer)
        assert first.abs().sum() > 0
        assert torch.equal(model(inputs), answer)


def test_the_users_order_of_axes_does_not_matter(keras):
    expected = load_model(f"keras/{SMALL}", weights=None, seed=2)
    inputs = inputs_of(expected)
    keras.config.set_image_data_format("channels_first")
    try:
        found = load_model(f"keras/{SMALL}", weights=None, seed=2)
        assert keras.config.image_data_format() == "channels_first"
        with torch.inference_mode():
            assert torch.equal(found(inputs_of(found)), expected(inputs))
        again = copy.deepcopy(found.module)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert repr(found.module) == repr(expected.module) == repr(again)
    assert found.preprocess == expected.preprocess


def test_another_backend_is_an_error(monkeypatch):
    code = (
        "from isomorph.zoo.sources import keras\n"
        "try: keras.build('MobileNet')\n"
        "except RuntimeError as error: print(error)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    ).stdout
    assert "expected the backend torch, got KERAS_BACKEND=jax" in found
    assert "Set the environment variable KERAS_BACKEND=torch" in found


def test_the_environment_is_left_as_it_was():
    before = dict(os.environ)
    source.import_keras()
    assert dict(os.environ) == before
    assert Path(source.TABLE).is_file()
