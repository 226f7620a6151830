"""The words of the catalogue: one for each thing, in every source."""

from __future__ import annotations

import pandas as pd
import pytest

from isomorph.zoo import list_models

pytest.importorskip("timm")
pytest.importorskip("open_clip")

SOURCES = ("transformers", "timm", "torchvision", "hub", "open_clip")


def test_sources_agree_on_the_words_for_data_and_licences():
    everything = pd.concat([list_models(source=name).reset_index() for name in SOURCES])
    for column, pattern, n_words in (
        ("train_data", r"meta-?clip-?2-?w", 1),
        ("train_data", r"^merged-?2b", 1),
        ("train_data", r"^laion-?aes", 1),
        ("license", r"dinov3", 1),
        ("license", r"gemma", 1),
    ):
        words = everything[column][everything[column].str.contains(pattern, case=False)]
        assert len(words.unique()) == n_words, words.unique()


def test_architectures_have_the_words_of_other_sources():
    words = {source: set(list_models(source=source)["architecture"]) for source in SOURCES}
    theirs = words.pop("transformers")
    named = {word for word in theirs if word.endswith("_dinov2") or word.startswith("swinv2")}
    assert len(named) == 11
    assert named <= set.union(*words.values())
