"""OpenAI's CLIP: files laid out as OpenAI publishes them, against open_clip's own reader."""

from __future__ import annotations

import hashlib
import warnings

import pytest
import torch

from isomorph.extraction import FeatureExtractor
from isomorph.zoo import list_models, load_model
from isomorph.zoo.sources import clip as source

open_clip = pytest.importorskip("open_clip")

TINY = "ViT-S-32-alt"


def test_the_nine_are_listed_with_both_towers():
    frame = list_models(source="clip")
    assert len(frame) == 18
    assert set(frame["train_data"]) == {"WIT-400M"}
    assert frame["n_params"].notna().all()
    # The library of another author has the same addresses.
    for pair in source.HASHES:
        assert source.address(pair) == open_clip.get_pretrained_url(pair, "openai")


def test_openais_own_spelling():
    assert source.normalise("ViT-B/32", "") == ("ViT-B-32", "")
    assert source.normalise("ViT-L/14", "336px/text@openai") == ("ViT-L-14-336/text", "openai")
    assert source.normalise("RN50", "openai") == ("RN50", "openai")
    model = load_model("clip/ViT-B/32/text@random-2")
    assert model.uid == "clip/ViT-B-32/text@random-2"


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A small network among the nine, in the form of their files: scripted, half precision."""
    config = source.configs()[TINY] | {"quick_gelu": True}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        library = open_clip.create_model(TINY, force_quick_gelu=True).eval()
    half = {name: value.half() for name, value in library.state_dict().items()}

    class Archive(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, value in half.items():
                self._put(name.split("."), value)
            for name in ("input_resolution", "context_length", "vocab_size"):
                self.register_buffer(name, torch.tensor(7))

        def _put(self, path, value):
            at = self
            for part in path[:-1]:
                if part not in at._modules:
                    at.add_module(part, torch.nn.Module())
                at = at._modules[part]
            at.register_buffer(path[-1], value)

        def forward(self, x):
            return x

    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / f"{TINY}.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Archive(), torch.ones(1)), file)
    monkeypatch.setitem(source.HASHES, TINY, hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setattr(source, "configs", lambda: {**source_configs(), TINY: config})
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("ISOMORPH_CACHE", raising=False)
    library.load_state_dict({name: value.float() for name, value in half.items()})
    return library, file


source_configs = source.configs


def test_published_files_are_read_and_equal_open_clips_reading(tiny):
    library, file = tiny
    images, tokens = torch.rand(2, 3, 224, 224), open_clip.tokenize(["a cat", "two dogs"])
    image, text = load_model(f"clip/{TINY}"), load_model(f"clip/{TINY}/text@openai")
    assert image.uid == f"clip/{TINY}@openai"
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = open_clip.load_openai_model(str(file), precision="fp32", device="cpu").eval()
        assert torch.equal(image(images), library.encode_image(images))
        assert torch.allclose(image(images), theirs.encode_image(images), atol=1e-6)
        assert torch.equal(text(tokens), library.encode_text(tokens))


def test_a_file_of_another_hash_is_not_opened(tiny):
    _, file = tiny
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(ValueError, match=r"expected a file whose SHA-256 begins with .* got"):
        load_model(f"clip/{TINY}")


def test_the_cache_of_openais_library_is_found(tiny, monkeypatch, tmp_path):
    library, file = tiny
    own = tmp_path / "clip"
    own.mkdir()
    file.rename(own / file.name)
    monkeypatch.setattr(source, "own_cache", lambda: own)
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(load_model(f"clip/{TINY}")(images), library.encode_image(images))


def test_the_twin_runs_with_quickgelu_and_is_surveyed():
    model = load_model("clip/RN50", weights=None, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        library = open_clip.create_model("RN50-quickgelu").eval()
    pictures = torch.rand(3, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(model(pictures), library.encode_image(pictures))
    plan = FeatureExtractor(model, pictures, progress=False).plan
    assert len(plan.distinct) > 100
    assert model.preprocess.resize == model.preprocess.crop == 224
