"""Source ``keras``: the networks of keras.applications, on Keras' torch backend."""

from __future__ import annotations

import contextlib
import csv
import functools
import os
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isomorph.zoo.source import Loaded, Row, Source

if TYPE_CHECKING:
    from isomorph.zoo.preprocessing.image import ImagePreprocess

NAME = "keras"
WEIGHTS = "imagenet"
TABLE = Path(__file__).parents[1] / "tables" / "keras.csv"
_CAFFE_MEAN = (103.939, 116.779, 123.68)
# keras' word → the one that other libraries use for the same network; others in small letters.
_ARCHITECTURES = {
    "InceptionResNetV2": "inception_resnet_v2",
    "InceptionV3": "inception_v3",
    "MobileNet": "mobilenetv1_100",
    "MobileNetV2": "mobilenetv2_100",
    "MobileNetV3Large": "mobilenetv3_large_100",
    "MobileNetV3Small": "mobilenetv3_small_100",
    "NASNetLarge": "nasnetalarge",
    "Xception": "legacy_xception",
}
# As keras' documentation says of these three.
_FROM_22K = {"ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"}
_patching = threading.Lock()


class Published(NamedTuple):
    """Where the weights of a network lie, as keras asks for them."""

    file_name: str
    url: str
    hash: str


@functools.cache
def _table() -> dict[str, dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


def names() -> list[str]:
    """Name the networks; keras is not imported for it."""
    return list(_table())


def rows() -> Iterator[Row]:
    """List every network with its weights, from the table that was made of keras' own code."""
    for name, measured in _table().items():
        yield Row(
            source=NAME,
            name=name,
            weights=WEIGHTS,
            default=True,
            modality="vision",
            architecture=architecture(name),
            family="convolutional",
            task="classification",
            train_data="ImageNet-1K, ImageNet-22K" if name in _FROM_22K else "ImageNet-1K",
            n_params=int(measured["n_params"]),
            input_size=int(measured["input_size"]),
            license="Apache-2.0",
            weights_bytes=int(measured["state_bytes"]),
            url=measured["url"],
        )


def architecture(name: str) -> str:
    """Give the word that the catalogue has for an architecture.

    Examples
    --------
    >>> architecture("ResNet50V2"), architecture("EfficientNetV2B0"), architecture("ConvNeXtTiny")
    ('resnetv2_50', 'tf_efficientnetv2_b0', 'convnext_tiny')
    """
    if name in _ARCHITECTURES:
        return _ARCHITECTURES[name]
    second = re.fullmatch(r"ResNet(\d+)V2", name)
    if second:
        return f"resnetv2_{second[1]}"
    efficient = re.fullmatch(r"EfficientNet(V2)?(\w+)", name)
    if efficient:  # padded as in TensorFlow, which timm's word says
        return f"tf_efficientnet{(efficient[1] or '').lower()}_{efficient[2].lower()}"
    if name.startswith("ConvNeXt"):
        return f"convnext_{name.removeprefix('ConvNeXt').lower()}"
    return name.lower()


def build(name: str) -> Loaded:
    """Build a network as it is before training, with the layers that the trained one has."""
    network = build_network(name, lambda _published: "")
    return _loaded(name, network)


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from keras' cache if they are there."""
    uid = f"{NAME}/{name}@{weights}"

    def fetch(published: Published) -> str:
        from keras.src.backend import config

        from isomorph.zoo.download import fetch_weights

        file = fetch_weights(
            published.url,
            uid,
            file_name=published.file_name,
            progress=progress,
            md5=published.hash if len(published.hash) == 32 else "",
            sha256=published.hash if len(published.hash) == 64 else "",
            home=Path(str(config.keras_home())).expanduser() / "models",
        )
        return str(file)

    try:
        network = build_network(name, fetch)
    except (ValueError, KeyError, OSError) as error:
        if uid in str(error):  # said by the download
            raise
        raise ValueError(
            f"weights: the file of {uid} does not fit: {error}. Nothing was loaded. Remove it to "
            f"download it anew."
        ) from error
    return _loaded(name, network)


def build_network(name: str, fetch: Callable[[Published], str]) -> Any:
    """Build a network as keras does for its published weights.

    Some networks have layers that only the published weights want, so that untrained ones are
    built in the same way, and nothing is loaded into them.

    Parameters
    ----------
    name : str
    fetch : callable
        Gives the local file of the published weights; empty to load none.

    Returns
    -------
    keras.Model
    """
    keras = import_keras()
    builder = getattr(keras.applications, name, None)
    if builder is None:
        raise ImportError(f"{NAME}/{name}: expected a newer keras than {keras.__version__}.")
    from keras.src.utils import file_utils

    def get_file(fname: str = "", origin: str = "", **options: Any) -> str:
        return fetch(Published(fname, origin, options.get("file_hash") or ""))

    theirs = keras.Model.load_weights

    def load_weights(network: Any, file: str, *rest: Any, **options: Any) -> None:
        if file:
            theirs(network, file, *rest, **options)

    with (
        _patching,
        _replaced(file_utils, "get_file", get_file),
        _replaced(keras.Model, "load_weights", load_weights),
        _channels_last(keras),
        keras.device("cpu"),
    ):
        # Of these alone keras leaves the size open, and warns that the weights are for 224.
        sized = {"input_shape": (224, 224, 3)} if name.startswith("MobileNet") else {}
        return builder(weights=WEIGHTS, **sized)


def import_keras() -> Any:
    """Import Keras 3 on its torch backend.

    Raises
    ------
    RuntimeError
        If another backend was chosen.
    """
    advice = "Set the environment variable KERAS_BACKEND=torch before Python starts."
    chosen = os.environ.get("KERAS_BACKEND")
    if "keras" not in sys.modules and chosen not in (None, "torch"):
        raise RuntimeError(
            f"keras: expected the backend torch, got KERAS_BACKEND={chosen}. {advice}"
        )
    os.environ["KERAS_BACKEND"] = "torch"  # Keras reads it when it is imported
    before = random.getstate()
    try:
        import keras
    finally:
        # The import draws a number, which would make the first random twin another one.
        random.setstate(before)
        if chosen is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = chosen
    if keras.backend.backend() != "torch":
        raise RuntimeError(
            f"keras: expected the backend torch, and keras was imported with "
            f"{keras.backend.backend()}. {advice}"
        )
    return keras


def _loaded(name: str, network: Any) -> Loaded:
    from isomorph.zoo.architectures.keras_layers import KerasNetwork

    side = network.input_shape[1:3]
    return Loaded(KerasNetwork(network), preprocess_of(name, (int(side[0]), int(side[1]))))


def preprocess_of(name: str, size: tuple[int, int]) -> ImagePreprocess:
    """Give a network's preprocessing: keras' own scale, and the whole picture at its size.

    Keras says nothing of resizing: its examples squeeze the picture into the input, picking the
    nearest pixels. Here it is squeezed with all pixels weighted, as ``load_img(...,
    interpolation="bilinear")`` does; ``dataclasses.replace`` takes another way.
    """
    from isomorph.zoo.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD, ImagePreprocess

    keras = import_keras()
    part = sys.modules[getattr(keras.applications, name).__module__]
    # How a network wants its pixels is asked of keras by giving it one.
    pixel = np.array([[[[0.0, 51.0, 255.0]]]], np.float32)
    with _channels_last(keras):
        wanted = np.asarray(part.preprocess_input(pixel.copy()), np.float64).ravel()
    probe = tuple(wanted.round(3).tolist())
    scales: dict[tuple[float, ...], dict[str, Any]] = {
        (0.0, 51.0, 255.0): {"divide_by": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3},
        (-1.0, -0.6, 1.0): {"divide_by": 127.5, "mean": (1.0,) * 3, "std": (1.0,) * 3},
        (-2.118, -1.143, 2.64): {"mean": IMAGENET_MEAN, "std": IMAGENET_STD},
        (151.061, -65.779, -123.68): {
            "divide_by": 1.0,
            "mean": _CAFFE_MEAN,
            "std": (1.0,) * 3,
            "channels": "BGR",
        },
    }
    if probe not in scales:
        raise NotImplementedError(
            f"{NAME}/{name}: expected one of keras' four scales of pixels, got {probe} for "
            f"(0, 51, 255). Give a preprocess of your own: Model(module, preprocess)."
        )
    return ImagePreprocess(resize=size, crop=None, interpolation="bilinear", **scales[probe])


@contextlib.contextmanager
def _channels_last(keras: Any) -> Iterator[None]:
    """Let networks be built as they are published, whatever the user's settings of keras say."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


SOURCE = Source(
    name=NAME,
    summary="keras.applications, without TensorFlow",
    rows=rows,
    build=build,
    load=load,
    names=names,
    library="keras",
)
