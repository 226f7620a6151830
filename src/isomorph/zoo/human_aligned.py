"""gLocal: affine maps that bring a layer nearer to what people find similar.

Muttenthaler et al. (2023), Improving neural network representations using human similarity
judgments, NeurIPS. The maps are published for a few models' layers; others can be given as files.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from isomorph.extraction import Model
from isomorph.zoo.download import fetch_weights
from isomorph.zoo.heads import add_head

ADDRESS = "https://raw.githubusercontent.com/LukasMut/gLocal/main/transforms"


@dataclass(frozen=True)
class PublishedMap:
    """A map of the publisher's.

    Parameters
    ----------
    models : str
        Pattern of the uids that it is for.
    folder : str
        Model and layer as the publisher names them.
    layer, pool : str
        Where it goes here: see `add_head`.
    sha256 : str
        Of the file in the publisher's repository; empty where only its name could be read.
    """

    models: str
    folder: str
    layer: str
    pool: str = "flatten"
    sha256: str = ""


# Not listed: resnet50, since the publisher does not say which of torchvision's two weight sets it
# is for; dinov2-vit-base-p14, whose published file is byte for byte that of dino-vit-base-p16 (and
# has the mean and spread of DINO's features).
PUBLISHED = (
    PublishedMap(r"torchvision/alexnet@IMAGENET1K_V1", "alexnet/classifier.4", "classifier.4"),
    PublishedMap(r"torchvision/vgg16@IMAGENET1K_V1", "vgg16/classifier.3", "classifier.3"),
    PublishedMap(
        r"torchvision/resnet18@IMAGENET1K_V1",
        "resnet18/avgpool",
        "avgpool",
        sha256="7a2bb20c8662eff5b3c0e27e5614b56be782479ec99d26d1ffd01a01777d7d3c",
    ),
    PublishedMap(
        r"hub/dino_vitb16@imagenet1k",
        "dino-vit-base-p16/norm",
        "norm",
        "first_token",
        "2bcb2d77346fbaec29326edc54bc03060145ecbb1fb5d80c3c7733241a71dd69",
    ),
    PublishedMap(
        r"hub/dino_vitb8@imagenet1k",
        "dino-vit-base-p8/norm",
        "norm",
        "first_token",
        "583ff8178d769e687f7444be935e444e831bf501c8c5343debe69b57cef660cc",
    ),
    PublishedMap(
        r"hub/dinov2_vitl14@lvd142m",
        "dinov2-vit-large-p14/norm",
        "norm",
        "first_token",
        "b3da393252d7d8407a745762b06863333793e002970d2a143f121f75e626d694",
    ),
    PublishedMap(
        r"(open_clip/RN50(-quickgelu)?@openai|clip/RN50@openai)",
        "clip_RN50/visual",
        "visual",
        sha256="81fc831f60c43ded3508f36803e48d105560fb4992bbbe7b1db1745c83af1c4b",
    ),
    PublishedMap(
        r"(open_clip/ViT-L-14(-quickgelu)?@openai|clip/ViT-L-14@openai)",
        "clip_ViT-L/14/visual",
        "visual",
        sha256="4d9f969b1cac5334e87c93a6743a50e0f7d38cb41d7e8fb701584bc29d2fe25a",
    ),
    PublishedMap(
        r"open_clip/ViT-L-14@laion400m_e32",
        "OpenCLIP_ViT-L-14_laion400m_e32/visual",
        "visual",
        sha256="1c34c877528ea375836a2f1a8b8559070a3eadf5a5f8064bb970c1526751a915",
    ),
    PublishedMap(
        r"open_clip/ViT-L-14@laion2b_s32b_b82k",
        "OpenCLIP_ViT-L-14_laion2b_s32b_b82k/visual",
        "visual",
        sha256="38ac3e412c0b42fcdc1e545383ca6c1363472809b2611d0e4f4bf8d5878f7365",
    ),
)


class AffineHead(nn.Module):
    """Standardise, then rotate, stretch and shift: ``(x − mean) / std · weights + bias``.

    Parameters
    ----------
    weights : array, (n_features, n_out)
    bias : array, (n_out,), optional
    mean, std : float or array, (n_features,)
    """

    weights: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        weights: np.ndarray,
        bias: np.ndarray | None = None,
        mean: np.ndarray | float = 0.0,
        std: np.ndarray | float = 1.0,
    ) -> None:
        super().__init__()
        bias = np.zeros(weights.shape[1]) if bias is None else bias
        parts = {"weights": weights, "bias": bias, "mean": mean, "std": std}
        for name, values in parts.items():
            self.register_buffer(name, torch.tensor(np.asarray(values, np.float32)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n_stimuli, n_features) to (n_stimuli, n_out)."""
        if features.shape[1] != len(self.weights):
            raise ValueError(
                f"gLocal: expected {len(self.weights)} features, got {features.shape[1]}. The map "
                f"is for another layer, or the layer is pooled otherwise (pool=)."
            )
        return (features - self.mean) / self.std @ self.weights + self.bias


def glocal(
    model: Model,
    layer: str = "",
    file: str | Path | None = None,
    *,
    pool: str = "",
    progress: bool = True,
) -> Model:
    """Put a gLocal map on a layer of a model.

    Parameters
    ----------
    model : Model
        Not changed.
    layer : str
        By default the one that the published map of this model is for.
    file : str or Path, optional
        A ``.npz`` of ``weights`` (n_features, n_out) and, if wanted, ``bias``, ``mean`` and
        ``std``. By default the map that is published for the model.
    pool : str
        As in `add_head`; by default the published map's, and ``"flatten"`` for a file.
    progress : bool
        Show the download.

    Returns
    -------
    Model
        Its last layer, ``glocal``, is the map's output; ``…+glocal`` is its uid.

    Raises
    ------
    ValueError
        If no map is published for the model or the layer; or the file is not such a map.
    FileNotFoundError
        If the file is not here.

    Examples
    --------
    >>> from isomorph.zoo import load_model
    >>> resnet = load_model("torchvision/resnet18")  # doctest: +SKIP
    >>> glocal(resnet).uid  # doctest: +SKIP
    'torchvision/resnet18@IMAGENET1K_V1+glocal'
    """
    if file is None:
        known = _published_for(model, layer)
        layer, pool = known.layer, pool or known.pool
        file = fetch_weights(
            f"{ADDRESS}/{known.folder}/transform.npz",
            f"gLocal's map for {model.uid}",
            sha256=known.sha256,
            file_name=f"glocal_{re.sub('[^A-Za-z0-9.-]', '_', known.folder)}.npz",
            progress=progress,
        )
    elif not layer:
        raise ValueError(f"glocal: expected layer=, the one of {model.uid} that {file} is for.")
    return add_head(model, layer, read_map(file), "glocal", pool=pool or "flatten")


def read_map(file: str | Path) -> AffineHead:
    """Read an affine map from a ``.npz`` file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is none, or its parts do not fit each other.
    """
    file = Path(file).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"gLocal: no file at {file}.")
    try:
        # zipfile's own reader: NumPy's would take a lone array too, and leave a broken file open.
        with zipfile.ZipFile(file) as archive:
            parts = {
                member.removesuffix(".npy"): np.lib.format.read_array(
                    io.BytesIO(archive.read(member)), allow_pickle=False
                )
                for member in archive.namelist()
            }
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"gLocal: expected a .npz file of plain arrays, {file} cannot be read as one ({error})."
        ) from error
    _check(parts, file)
    return AffineHead(**parts)


def _check(parts: Mapping[str, np.ndarray], file: Path) -> None:
    known = ("weights", "bias", "mean", "std")
    if "weights" not in parts or any(name not in known for name in parts):
        raise ValueError(
            f"gLocal: expected weights and perhaps bias, mean, std in {file}, got "
            f"{', '.join(parts) or 'nothing'}."
        )
    weights = parts["weights"]
    if weights.ndim != 2:
        raise ValueError(f"gLocal: expected weights with two axes, got shape {weights.shape}.")
    n_in, n_out = weights.shape
    allowed = {"bias": [(n_out,)], "mean": [(), (n_in,)], "std": [(), (n_in,)]}
    for name, shapes in allowed.items():
        if name in parts and parts[name].shape not in shapes:
            raise ValueError(
                f"gLocal: expected {name} of shape {' or '.join(map(str, shapes))} beside weights "
                f"{weights.shape}, got {parts[name].shape}."
            )
    if not all(np.isfinite(values).all() for values in parts.values()):
        raise ValueError(f"gLocal: expected finite values in {file}, got NaN or infinity.")
    if not np.all(parts.get("std", np.ones(1)) > 0):
        raise ValueError(f"gLocal: expected a positive std in {file}.")


def _published_for(model: Model, layer: str) -> PublishedMap:
    for known in PUBLISHED:
        if re.fullmatch(known.models, model.uid):
            if layer not in ("", known.layer):
                raise ValueError(
                    f"glocal: the published map of {model.uid} is for the layer {known.layer!r}, "
                    f"not {layer!r}. Give file= for another."
                )
            return known
    names = ", ".join(known.folder for known in PUBLISHED)
    raise ValueError(
        f"glocal: no map is published for {model.uid}. There are: {names}. Give layer= and file= "
        f"for a map of your own."
    )
