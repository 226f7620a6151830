"""What the names of timm's networks and weight sets say: architecture, family, data, task."""

from __future__ import annotations

import csv
import functools
import re
from pathlib import Path

TABLES = Path(__file__).parent

# Words of tags that name what the weights saw.
_DATA = {
    "in1k": "ImageNet-1K",
    "in12k": "ImageNet-12K",
    "in21k": "ImageNet-22K",
    "in22k": "ImageNet-22K",
    "inw21k": "ImageNet-22K",
    "openai": "WIT-400M",
    "laion2b": "LAION-2B",
    "laion400m": "LAION-400M",
    "laiona": "LAION-Aesthetics",
    "datacomp1b": "DataComp-1B",
    "datacompxl": "DataComp-1B",
    "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B",
    "dfndr2b": "DFNDR-2B",
    "mclip": "DataCompDR-1B",
    "webli": "WebLI",
    "pali": "WebLI",
    "pali2": "WebLI",
    "yfcc15m": "YFCC15M",
    "cc12m": "CC12M",
    "yfcc100m": "YFCC100M",
    "ig1b": "Instagram-1B",
    "seer": "Instagram-1B",
    "swag": "Instagram-3.6B",
    "jft": "JFT-300M",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "sat493m": "SAT-493M",
    "sa1b": "SA-1B",
    "merged2b": "Merged-2B (LAION-2B, COYO-700M)",
    "m30m": "Merged-30M",
    "m38m": "Merged-38M",
    "florence2": "FLD-5B",
    "bamboo": "Bamboo-69M",
}
# Tags that leave it out, since the method has always been trained on the same.
_DATA_OF_METHOD = (
    (r"fcmae|mae|dino$|fb_dino", "ImageNet-1K"),
    (r"metaclip_400m", "MetaCLIP-400M"),
    (r"metaclip_2pt5b", "MetaCLIP-2.5B"),
    (r"metaclip_altogether", "MetaCLIP-Altogether"),
    (r"metaclip2_worldwide", "MetaCLIP2-Worldwide"),
)
_LABELLED = {"ImageNet-1K", "ImageNet-12K", "ImageNet-22K"}
# The first that fits the weights' tag, or their name and tag, decides. What ends in a labelled set
# after fine-tuning is asked before.
_TASKS = (
    (r".*\.(fb_dino|dino|dinov3_\w+|lvd\w+|sat493m)$", "self-supervised (self-distillation)"),
    (r".*\.(mae|fcmae|mim_\w+|in\d+k_ijepa)$", "self-supervised (masked modelling)"),
    (r"beit3\w*\.(indomain_)?pt$", "self-supervised (masked modelling)"),
    (r".*\.seer$", "self-supervised (clustering)"),
    (r".*\.(pali|apple_pt|qwen|gemma|deepseek|msft_florence2|ogvl)", "image–text generative"),
    (r"vit_pe_lang\w*\.", "image–text generative"),
    (r"vit_pe_core\w*\.", "image–text contrastive"),
    (
        r".*\.(clip_|openai|laion|datacomp|dfn|metaclip|merged2b|webli|v2_webli|apple_mclip|yfcc|"
        r"cc12m|tinyclip|datacompxl)",
        "image–text contrastive",
    ),
    # Several teachers at once, segments of what is pointed at, and what no word of ours says.
    (r".*\.(c_radio|eupe_\w+|sa1b|robbyant|fb_r\d+\w*|fb)$", "other"),
)
_FINE_TUNED = re.compile(r"(_ft_|_lc_|_distilled_|^dist_).*in\d+k|ft_in\d+k")


@functools.cache
def families() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """Read the table of families: timm's module, a pattern of names in it, and the family."""
    with (TABLES / "timm_families.csv").open(encoding="utf-8", newline="") as stream:
        lines = (line for line in stream if not line.startswith("#"))
        return tuple(
            (row["module"], re.compile(row["names"] or ".*"), row["family"])
            for row in csv.DictReader(lines)
        )


@functools.cache
def sizes() -> dict[str, tuple[int, int]]:
    """Read the measured table: name → parameters, bytes of the state dict."""
    with (TABLES / "timm_sizes.csv").open(encoding="utf-8", newline="") as stream:
        return {
            row["name"]: (int(row["n_params"]), int(row["state_bytes"]))
            for row in csv.DictReader(stream)
        }


def family(name: str, module: str) -> str:
    """Name the family of a network of one of timm's modules; empty for one that is too new."""
    for part, pattern, word in families():
        if part == module and pattern.match(name):
            return word
    return ""


def architecture(name: str, sides: frozenset[int]) -> str:
    """Give the word for a network: timm's name without the size of its pictures.

    Parameters
    ----------
    name : str
    sides : frozenset of int
        Heights of the pictures that its weights are for; other numbers are widths.

    Examples
    --------
    >>> architecture("vit_base_patch16_clip_224", frozenset({224}))
    'vit_base_patch16'
    >>> architecture("levit_256", frozenset({224})), architecture("resnet50", frozenset({224}))
    ('levit_256', 'resnet50')
    """
    word = re.sub(r"_\d+to\d+$", "", name).replace("_224_miil", "_miil")
    size = re.search(r"_(\d+)$", word)
    if size and int(size[1]) in sides:
        word = word[: size.start()]
    # CLIP's vision towers are these networks, with a norm more and another activation.
    word = re.sub(r"_clip(_quickgelu)?$", "", word) if word.startswith("vit_") else word
    return re.sub(r"^deit_(tiny|small|base)_patch16$", r"vit_\1_patch16", word)


def train_data(name: str, tag: str) -> str:
    """Name the data that weights saw, the last first.

    Examples
    --------
    >>> train_data("convnext_base", "clip_laion2b_augreg_ft_in12k_in1k")
    'ImageNet-1K, ImageNet-12K, LAION-2B'
    >>> train_data("tf_efficientnet_b0", "ns_jft_in1k")
    'ImageNet-1K, JFT-300M'
    """
    if name.startswith("sam2_"):
        return "SA-V, SA-1B"
    found = [data for pattern, data in _DATA_OF_METHOD if re.match(pattern, tag)]
    found += [_DATA[word] for word in tag.split("_") if word in _DATA]
    return ", ".join(dict.fromkeys(reversed(found)))


def task(name: str, tag: str) -> str:
    """Name what weights were trained on last.

    Examples
    --------
    >>> task("vit_base_patch16_224", "mae"), task("resnet50", "a1_in1k")
    ('self-supervised (masked modelling)', 'classification')
    >>> task("vit_base_patch16_clip_224", "openai"), task("regnety_320", "seer_ft_in1k")
    ('image–text contrastive', 'classification')
    """
    if not _FINE_TUNED.search(tag):
        for pattern, word in _TASKS:
            if re.match(pattern, f"{name}.{tag}"):
                return word
    last = train_data(name, tag).partition(",")[0]
    return "classification" if last in _LABELLED | {"Bamboo-69M"} else "other"
