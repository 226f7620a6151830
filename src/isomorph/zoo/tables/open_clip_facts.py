"""What OpenCLIP's names of architectures and weights mean, in the catalogue's words."""

from __future__ import annotations

import csv
import functools
import re
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "open_clip.csv"

# Beginnings of the names of weight sets, the longer ones first.
_TRAIN_DATA = (
    ("openai", "WIT-400M"),
    ("laion400m", "LAION-400M"),
    ("laion2b", "LAION-2B"),
    ("laion5b", "LAION-5B"),
    ("frozen_laion5b", "LAION-5B"),
    ("laion_aesthetic", "LAION-Aesthetics"),
    ("mscoco_finetuned_laion2b", "COCO, LAION-2B"),
    ("datacompdr", "DataCompDR-1B"),
    ("datacomp_xl", "DataComp-1B"),
    ("datacomp1b", "DataComp-1B"),
    ("datacomp_s34b", "DataComp-1B"),
    ("datacomp_l", "DataComp-large"),
    ("datacomp_m", "DataComp-medium"),
    ("datacomp_s", "DataComp-small"),
    ("metaclip_400m", "MetaCLIP-400M"),
    ("metaclip_fullcc", "MetaCLIP-2.5B"),
    ("metaclip_altogether", "MetaCLIP-Altogether"),
    ("metaclip2_worldwide", "MetaCLIP2-Worldwide"),
    ("dfn2b", "DFN-2B"),
    ("dfn5b", "DFN-5B"),
    ("dfndr2b", "DFNDR-2B"),
    ("webli", "WebLI"),
    ("yfcc15m", "YFCC15M"),
    ("cc12m", "CC12M"),
    ("merged2b", "Merged-2B (LAION-2B, COYO-700M)"),
)
_SIZES = {"s": "small", "m": "medium", "l": "large", "xl": "xlarge"}
_VIT_SIZES = {
    "S": "small",
    "M": "medium",
    "B": "base",
    "L": "large",
    "H": "huge",
    "g": "giant",
    "bigG": "gigantic",
    "e": "enormous",
}


def train_data(weights: str) -> str:
    """Say in the catalogue's words what data a weight set saw.

    Examples
    --------
    >>> train_data("laion2b_s34b_b79k"), train_data("commonpool_m_clip_s128m_b4k")
    ('LAION-2B', 'CommonPool-medium (clip filter)')
    """
    match = re.match(r"commonpool_(xl|s|m|l)(?:_(clip|laion|image|text|basic))?_s\d", weights)
    if match:
        filtered = f" ({match[2]} filter)" if match[2] else ""
        return f"CommonPool-{_SIZES[match[1]]}{filtered}"
    return next((data for start, data in _TRAIN_DATA if weights.startswith(start)), "")


def architecture(pair: str, config: dict[str, Any], tower: str) -> str:
    """Name a tower's architecture as timm would.

    Examples
    --------
    >>> architecture("ViT-B-32-256", {"vision_cfg": {}, "text_cfg": {}}, "image")
    'vit_base_patch32'
    """
    if tower == "text":
        return _text_architecture(config["text_cfg"])
    plain = pair.removesuffix("-quickgelu")
    if "timm_model_name" in config["vision_cfg"]:
        if plain.startswith("convnext"):
            return re.sub(r"_320$", "", plain)
        return re.sub(r"_\d{3}$", "", config["vision_cfg"]["timm_model_name"])
    resnet = re.fullmatch(r"RN(\d+)(x\d+)?", plain)
    if resnet:
        return f"resnet{resnet[1]}{resnet[2] or ''}_clip"
    vit = re.search(r"ViT-(bigG|[SMBLHge])-(\d+)(-plus|-alt)?", plain)
    if vit:
        more = (vit[3] or "").replace("-", "_")
        start = "coca_" if "multimodal_cfg" in config else ""
        return f"{start}vit_{_VIT_SIZES[vit[1]]}_patch{vit[2]}{more}"
    layers, patch = config["vision_cfg"].get("layers"), config["vision_cfg"].get("patch_size")
    if "multimodal_cfg" in config or layers is None:
        return plain.lower().replace("-", "_")
    return f"vit_{_by_width(config['vision_cfg'].get('width', 768))}_patch{patch}"


def _by_width(width: int) -> str:
    known = {384: "small", 512: "medium", 768: "base", 1024: "large", 1280: "huge"}
    return known.get(width, f"{width}")


def _text_architecture(text: dict[str, Any]) -> str:
    hub_name = text.get("hf_model_name")
    if hub_name:
        return hub_name.rpartition("/")[2].lower().replace("-", "_")
    kind = "siglip_text" if text.get("no_causal_mask") else "clip_text"
    return f"{kind}_{text.get('layers', 12)}x{text.get('width', 512)}"


def family(pair: str, config: dict[str, Any]) -> str:
    """Name the family of an image tower."""
    trunk = config["vision_cfg"].get("timm_model_name", "")
    if pair.startswith("RN") or trunk.startswith("convnext"):
        return "convolutional"
    if trunk.startswith(("fastvit", "vitamin", "vit_base_mci")):
        return "hybrid"
    return "transformer"


def license_of(pair: str, weights: str) -> str:
    """Give the licence under which weights are published, where the publisher's card names one."""
    if weights == "openai" or "laion" in weights:
        return "MIT"
    if weights.startswith(("datacomp_", "commonpool_")):
        return "MIT"
    if weights.startswith("metaclip"):
        return "CC-BY-NC-4.0"
    return "Apache-2.0" if weights == "webli" and "SigLIP" in pair else ""


def n_params(pair: str, column: str) -> int | None:
    """Look up what the table says: parameters of the ``image`` or ``text`` tower, or ``bytes``."""
    found = _table().get(pair, {}).get(column, "")
    return int(found) if found else None


@functools.cache
def _table() -> dict[str, dict[str, str]]:
    if not TABLE.is_file():
        return {}
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    return {row["name"]: row for row in csv.DictReader(lines)}
