"""Source ``torchvision``: its networks for pictures and clips with every published weight set."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isomorph.zoo.source import Loaded, Row, Source, State

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum

    from isomorph.zoo.preprocessing.clips import ClipPreprocess
    from isomorph.zoo.preprocessing.image import ImagePreprocess

NAME = "torchvision"
# Left out: optical flow (RAFT), whose input is a pair of pictures; and the quantised networks,
# whose layers give integers with a scale of their own and run with some processors only. Their
# unquantised forms are here.
_KINDS = {
    "classification": "torchvision.models",
    "video classification": "torchvision.models.video",
    "semantic segmentation": "torchvision.models.segmentation",
    "object detection": "torchvision.models.detection",
}
# torchvision's word → the one that other libraries use for the same network.
_ARCHITECTURES = {
    "vit_b_16": "vit_base_patch16",
    "vit_b_32": "vit_base_patch32",
    "vit_l_16": "vit_large_patch16",
    "vit_l_32": "vit_large_patch32",
    "vit_h_14": "vit_huge_patch14",
    "swin_t": "swin_tiny_patch4_window7",
    "swin_s": "swin_small_patch4_window7",
    "swin_b": "swin_base_patch4_window7",
    "swin_v2_t": "swinv2_tiny_window8",
    "swin_v2_s": "swinv2_small_window8",
    "swin_v2_b": "swinv2_base_window8",
    "efficientnet_v2_s": "efficientnetv2_s",
    "efficientnet_v2_m": "efficientnetv2_m",
    "efficientnet_v2_l": "efficientnetv2_l",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mnasnet0_5": "mnasnet_050",
    "mnasnet0_75": "mnasnet_075",
    "mnasnet1_0": "mnasnet_100",
    "mnasnet1_3": "mnasnet_130",
    "regnet_x_400mf": "regnetx_004_tv",  # these three are not quite those of the paper
    "regnet_y_800mf": "regnety_008_tv",
    "regnet_y_8gf": "regnety_080_tv",
}
_FAMILIES = (
    (r"vit_|swin|mvit", "transformer"),
    (r"maxvit", "hybrid"),
)
_COCO_ALONE = {"ssdlite320_mobilenet_v3_large"}
_patching = threading.Lock()


@functools.cache
def _kinds() -> dict[str, str]:
    """Which task each architecture is for."""
    models = _models()
    parts = {kind: import_module(path) for kind, path in _KINDS.items()}
    return {name: kind for kind, part in parts.items() for name in models.list_models(part)}


def _models() -> Any:
    """Import torchvision's models; this file is imported by those who want none of them too."""
    return import_module("torchvision.models")


def names() -> list[str]:
    """Name the architectures that the installed torchvision builds."""
    return list(_kinds())


def rows() -> Iterator[Row]:
    """List every architecture × published weight set, from torchvision's own metadata."""
    models = _models()
    for name, kind in _kinds().items():
        published: Any = models.get_model_weights(name)
        for entry in published:
            meta = entry.meta
            yield Row(
                source=NAME,
                name=name,
                weights=entry.name,
                default=entry == published.DEFAULT,
                modality="video" if kind.startswith("video") else "vision",
                architecture=architecture(name),
                family=_family(name),
                task="keypoint detection" if name.startswith("keypoint") else kind,
                train_data=_train_data(name, entry),
                n_params=meta.get("num_params"),
                input_size=getattr(_preprocess(name, entry), "input_size", None),
                # What is published elsewhere under another licence says so.
                license="CC-BY-NC-4.0" if "SWAG" in meta.get("license", "") else "BSD-3-Clause",
                weights_bytes=int(1e6 * meta.get("_file_size", 0)) or None,
                url=entry.url,
            )


def build(name: str) -> Loaded:
    """Build an architecture as it is before training, with the parts that trained ones have."""
    published: Any = _models().get_model_weights(name)
    return build_like(name, published.DEFAULT.name)


def build_like(name: str, weights: str) -> Loaded:
    """Build an architecture before training, for the pictures that some weights are made for."""
    from isomorph.zoo.preprocessing.detection import FROZEN, freeze_norms

    models = _models()
    published: Any = models.get_model_weights(name)
    entry = published[weights]
    builder = models.get_model_builder(name)
    options = _options(name, builder)
    if name.startswith("vit_"):  # positions are learnt for pictures of one size
        options["image_size"] = entry.meta["min_size"][0]
    module: Any = builder(weights=None, **options)
    if name in FROZEN:
        freeze_norms(module.backbone, FROZEN[name])
    return _loaded(name, entry, module)


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from torch's folder of checkpoints if they are there."""
    from isomorph.zoo.download import fetch_weights

    models = _models()
    published: Any = models.get_model_weights(name)
    entry = published[weights]
    uid = f"{NAME}/{name}@{weights}"
    # The file's name ends in the first digits of its hash.
    digits = os.path.basename(entry.url).rpartition("-")[2].partition(".")[0]
    digits = digits if re.fullmatch(r"[0-9a-f]{8,}", digits) else ""
    file = fetch_weights(entry.url, uid, sha256=digits, progress=progress)
    with _read_from(entry, file):
        module = models.get_model(name, weights=entry, progress=False)
    return _loaded(name, entry, module)


def adapt(state: State, module: nn.Module) -> State:
    """Leave out auxiliary heads, which are for training alone, where the network has none."""
    if getattr(module, "aux1", module) is not None:
        return state
    return {key: value for key, value in state.items() if not key.startswith(("aux1.", "aux2."))}


def architecture(name: str) -> str:
    """Give the word that the catalogue has for an architecture.

    Examples
    --------
    >>> architecture("vit_b_16"), architecture("regnet_y_400mf"), architecture("resnet50")
    ('vit_base_patch16', 'regnety_004', 'resnet50')
    """
    if name in _ARCHITECTURES:
        return _ARCHITECTURES[name]
    size = re.fullmatch(r"regnet_([xy])_(?:(\d)_)?(\d+)(mf|gf)", name)
    if size:
        tenths = int(size[3]) // 100 if size[4] == "mf" else 10 * int(size[3])
        if size[2]:  # 1_6gf
            tenths = 10 * int(size[2]) + int(size[3])
        return f"regnet{size[1]}_{tenths:03d}"
    return name


def _options(name: str, builder: Callable[..., Any]) -> dict[str, Any]:
    known = inspect.signature(builder).parameters
    options: dict[str, Any] = {}
    if "weights_backbone" in known:
        options["weights_backbone"] = None
    if "aux_loss" in known and not name.startswith("lraspp"):
        options["aux_loss"] = True
    if name in {"googlenet", "inception_v3"}:
        # Said, since torchvision warns of a change of its default. The trained ones bring pictures
        # onto another scale inside.
        options |= {"init_weights": True, "transform_input": True}
        options |= {"aux_logits": name == "inception_v3"}
    return options


def _loaded(name: str, entry: WeightsEnum, module: nn.Module) -> Loaded:
    if _kinds()[name] == "object detection":
        from isomorph.zoo.preprocessing.detection import detection_preprocess, run_detector

        return Loaded(module, detection_preprocess(module), run_detector)
    return Loaded(module, _preprocess(name, entry))


def _preprocess(name: str, entry: Any) -> ImagePreprocess | ClipPreprocess | None:
    """Put torchvision's transform for some weights into words; None for a detector."""
    from isomorph.zoo.preprocessing.clips import ClipPreprocess
    from isomorph.zoo.preprocessing.image import ImagePreprocess

    preset = entry.transforms()
    if _kinds()[name] == "object detection":
        return None
    shared: dict[str, Any] = {
        "resize": _side(preset.resize_size),
        "interpolation": preset.interpolation.value,
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
    }
    if _kinds()[name] == "video classification":
        needed = entry.meta.get("min_temporal_size", 1)
        return ClipPreprocess(
            crop=_side(preset.crop_size),
            # The positions of this network are learnt for so many frames.
            n_frames=needed if name.startswith("mvit") else None,
            min_frames=needed,
            **shared,
        )
    crop = getattr(preset, "crop_size", None)
    return ImagePreprocess(crop=None if crop is None else _side(crop), **shared)


def _side(sizes: list[int]) -> Any:
    return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])


@contextlib.contextmanager
def _read_from(entry: Any, file: Path) -> Iterator[None]:
    """Let torchvision's builder take the weights from a file that was checked, for a block.

    The builder itself knows what belongs to which weights: the size of pictures, frozen norms,
    parts that are dropped after loading.
    """
    from isomorph.zoo.weights import read_state_dict

    with _patching:
        entry.get_state_dict = lambda *_args, **_options: read_state_dict(file)
        try:
            yield
        except RuntimeError as error:
            raise ValueError(
                f"weights: {file.name} do not fit {NAME}'s architecture: {error}. Nothing was "
                f"loaded. Remove {file} to download it anew."
            ) from error
        finally:
            del entry.get_state_dict


def _family(name: str) -> str:
    found = (family for pattern, family in _FAMILIES if re.match(pattern, name))
    return next(found, "convolutional")


def _train_data(name: str, entry: WeightsEnum) -> str:
    words = entry.name
    if words.startswith("COCO"):  # all but one began with a backbone trained on ImageNet
        return "COCO" if name in _COCO_ALONE else "COCO, ImageNet-1K"
    if words.startswith("KINETICS400"):
        if "IMAGENET22K" in words:
            return "Kinetics-400, ImageNet-22K"
        return "Kinetics-400, ImageNet-1K" if name.startswith("swin3d") else "Kinetics-400"
    if "SWAG" in words:
        return "ImageNet-1K, Instagram-3.6B"
    return "ImageNet-1K" if words.startswith("IMAGENET1K") else ""


SOURCE = Source(
    name=NAME,
    summary="torchvision's models",
    rows=rows,
    build=build,
    load=load,
    names=names,
    adapt=adapt,
    build_like=build_like,
)
