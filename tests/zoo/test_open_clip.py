"""OpenCLIP's towers: against the library itself, without a network."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from isomorph.extraction import FeatureExtractor, describe_callable, extract_features
from isomorph.stimuli import from_texts
from isomorph.zoo import as_model, list_models, load_model
from isomorph.zoo.architectures.clip_towers import fit_to_tower
from isomorph.zoo.preprocessing import texts
from isomorph.zoo.sources import open_clip as source

open_clip = pytest.importorskip("open_clip")

TINY = "ViT-S-32-alt"
TEXTS = ["a photo of a cat", "two dogs that run along the beach in the sun", "a", "no."]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("ISOMORPH_CACHE", raising=False)
    return tmp_path


def lay_out(cache, repository, name, state):
    """Put weights where a download would: under snapshots of a commit that ``main`` names."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "blobs").mkdir()
    (folder / "snapshots" / commit).mkdir(parents=True)
    blob = folder / "blobs" / "abc"
    if name.endswith(".safetensors"):
        safetensors.torch.save_file({key: value.clone() for key, value in state.items()}, blob)
    else:
        torch.save(state, blob)
    (folder / "snapshots" / commit / name).symlink_to(blob)


def whole(pair, seed=0, **options):
    """The library's own network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return open_clip.create_model(pair, pretrained_text=False, **options).eval()


def picture(width=300, height=200, seed=0):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (height // 10, width // 10, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def test_every_pair_is_listed_with_both_towers():
    frame = list_models(source="open_clip")
    expected = {
        f"open_clip/{pair}{tower}@{tag}"
        for pair, tag in open_clip.list_pretrained()
        for tower in ("", "/text")
    }
    assert set(frame["uid"]) == expected
    assert len(frame) >= 2 * 190
    assert (frame.groupby("name")["default"].sum() == 1).all()
    by_uid = frame.set_index("uid")
    row = by_uid.loc["open_clip/ViT-B-32@laion2b_s34b_b79k"]
    assert row["default"]
    assert (row["architecture"], row["train_data"]) == ("vit_base_patch32", "LAION-2B")
    assert (row["n_params"], row["input_size"]) == (87_849_216, 224)
    assert by_uid.loc["open_clip/RN50@cc12m", "architecture"] == "resnet50_clip"
    assert by_uid.loc["open_clip/ViT-L-14/text@openai", "input_size"] == 77
    vision = frame[frame["modality"] == "vision"]
    assert vision["n_params"].notna().all()
    assert (vision["architecture"] != "").all()
    known = {"v1", "mrl", "meta"}
    assert set(frame.loc[frame["train_data"] == "", "weights"]) <= known


def test_rows_come_without_importing_the_libraries():
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "for name in ('open_clip', 'clip', 'transformers', 'sentence_transformers'):\n"
        "    assert list(import_module(f'isomorph.zoo.sources.{name}').rows())\n"
        "heavy = ('open_clip', 'timm', 'transformers', 'sentence_transformers', 'torchvision')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "pair", [TINY, "MobileCLIP2-S0", pytest.param("coca_ViT-B-32", marks=pytest.mark.slow)]
)
def test_the_twin_of_a_tower_is_that_of_the_whole_network(pair):
    library = whole(pair, seed=3)
    images, tokens = torch.rand(2, 3, *library.visual.image_size), open_clip.tokenize(TEXTS)
    tokens = tokens[:, : library.context_length] if "coca" not in pair else tokens[:, :76]
    image, text = (load_model(f"open_clip/{pair}{end}@random-3") for end in ("", "/text"))
    with torch.inference_mode():
        assert torch.equal(image(images), library.encode_image(images, normalize=False))
        assert torch.equal(
            text({"text": tokens, "attention_mask": torch.ones_like(tokens)}),
            library.encode_text(tokens, normalize=False),
        )
    names = set(library.state_dict())
    assert {name for name in names if name.startswith("visual.")} == set(image.module.state_dict())
    assert set(text.module.state_dict()) < names - set(image.module.state_dict())
    rows = {row.name: row.n_params for row in source.rows()}
    for name, model in ((pair, image), (f"{pair}/text", text)):
        if name in rows:
            assert rows[name] == sum(weight.numel() for weight in model.module.parameters())


@pytest.mark.parametrize("pair", ["RN50", "convnext_tiny", "roberta-ViT-B-32"])
def test_image_twins_of_other_kinds_equal_the_library(pair):
    model = load_model(f"open_clip/{pair}", weights=None, seed=1)
    if pair == "roberta-ViT-B-32":  # the library asks the hub for its text tower
        assert next(iter(model.module.state_dict())).startswith("visual.")
        return
    images = torch.rand(2, 3, *(2 * [model.preprocess.crop]))
    with torch.inference_mode():
        assert torch.equal(model(images), whole(pair, seed=1).encode_image(images))


@pytest.mark.parametrize("form", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_published_weights_are_read_from_the_hubs_cache(form, hub, monkeypatch):
    entry = dict(source.published()["ViT-B-32"]["laion2b_s34b_b79k"], hf_hub="laion/tiny/")
    monkeypatch.setitem(source.published(), TINY, {"laion2b_tiny": entry})
    library = whole(TINY, seed=5)
    lay_out(hub, "laion/tiny", form, library.state_dict())
    image = load_model(f"open_clip/{TINY}")
    text = load_model(f"open_clip/{TINY}/text@laion2b_tiny")
    assert image.uid == f"open_clip/{TINY}@laion2b_tiny"
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(image(images), library.encode_image(images))
        tokens = open_clip.tokenize(TEXTS)
        assert torch.equal(text(tokens), library.encode_text(tokens))


def test_weights_that_had_quickgelu_are_run_with_it(hub, monkeypatch):
    entry = dict(source.published()["ViT-B-32"]["openai"], hf_hub="timm/tiny/")
    assert entry["quick_gelu"]
    monkeypatch.setitem(source.published(), TINY, {"openai": entry})
    lay_out(hub, "timm/tiny", "open_clip_model.safetensors", whole(TINY, seed=5).state_dict())
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        found = load_model(f"open_clip/{TINY}@openai")(images)
        assert torch.equal(found, whole(TINY, 5, force_quick_gelu=True).encode_image(images))
        assert not torch.equal(found, whole(TINY, 5).encode_image(images))


def test_a_file_of_other_weights_than_the_default_is_used_as_these(tmp_path, monkeypatch):
    sets = source.published()["ViT-B-32"]
    odd = dict(sets["openai"], mean=(0.5, 0.5, 0.5))
    monkeypatch.setitem(source.published(), TINY, {"openai": odd, "laion2b_a": sets["laion2b_e16"]})
    library = whole(TINY, 5, force_quick_gelu=True)
    torch.save(library.state_dict(), tmp_path / "net.pt")
    model = load_model(f"open_clip/{TINY}@openai", weights=tmp_path / "net.pt")
    default = load_model(f"open_clip/{TINY}", weights=tmp_path / "net.pt")
    assert model.preprocess.mean == (0.5, 0.5, 0.5) != default.preprocess.mean
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(model(images), library.encode_image(images))
        assert not torch.equal(default(images), library.encode_image(images))
        text = load_model(f"open_clip/{TINY}/text@openai", weights=tmp_path / "net.pt")
        tokens = open_clip.tokenize(TEXTS)
        assert torch.equal(text(tokens), library.encode_text(tokens))


def test_text_towers_of_other_forms_and_lengths_load(tmp_path):
    """Wrapped and prefixed files, texts of another length, towers below ``text``."""
    old = whole(TINY, seed=2, force_context_length=40)
    state = {f"module.{name}": value for name, value in old.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "old.pt")
    model = load_model(f"open_clip/{TINY}/text", weights=tmp_path / "old.pt")
    expected = torch.nn.functional.interpolate(
        old.positional_embedding.detach().T[None], size=77, mode="linear", align_corners=False
    )[0].T
    assert torch.equal(model.module.positional_embedding, expected)
    assert torch.equal(model.module.token_embedding.weight, old.token_embedding.weight)
    with pytest.raises(ValueError, match="do not fit"):
        load_model("open_clip/ViT-S-16-alt", weights=tmp_path / "old.pt")
    config = source.configs()[TINY] | {"custom_text": True}
    new = source.make_tower(config, "text")
    fitted = fit_to_tower(whole(TINY, seed=2).state_dict(), new)
    new.load_state_dict(fitted)
    tokens = open_clip.tokenize(TEXTS)
    with torch.inference_mode():
        assert torch.equal(new.eval().encode_text(tokens), whole(TINY, seed=2).encode_text(tokens))


@pytest.mark.slow
def test_the_twin_of_a_text_tower_of_hugging_faces():
    from transformers import AutoConfig, AutoModel

    model = load_model("open_clip/roberta-ViT-B-32/text", weights=None)
    assert isinstance(model.module.text.transformer.config, type(AutoConfig.for_model("roberta")))
    listed = next(row for row in source.rows() if row.name == "roberta-ViT-B-32/text")
    assert listed.n_params == sum(weight.numel() for weight in model.module.parameters())
    with torch.device("meta"):
        plain = AutoModel.from_config(model.module.text.transformer.config)
    names = {f"text.transformer.{name}" for name, _ in plain.named_parameters()}
    own = {name for name, _ in model.module.named_parameters()}
    assert {name for name in names if ".pooler." not in name} <= own
    with torch.inference_mode():
        assert model(torch.randint(3, 1000, (2, 77))).shape == (2, 512)


def test_weights_that_are_not_here_say_what_to_do(hub):
    with pytest.raises(FileNotFoundError) as caught:
        load_model("open_clip/ViT-B-32")
    message = str(caught.value)
    assert "laion/CLIP-ViT-B-32-laion2B-s34B-b79K are not in" in message
    assert f"copy the folder models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K into {hub}" in message
    assert "weights=None gives the random twin" in message
    assert not list(hub.rglob("*.safetensors"))


def test_preprocessing_equals_the_librarys(data_folder):
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    pictures = [picture(640, 480), picture(200, 500), picture(90, 70), picture(224, 224)]
    for file in ("cat.bmp", "hot_dog.jpg"):
        with Image.open(data_folder / "photos" / file) as photo:
            pictures.append(photo.convert("RGB"))
    seen = {}
    for pair, sets in source.published().items():
        side = source.configs()[pair]["vision_cfg"]["image_size"]
        for entry in sets.values():
            settings = merge_preprocess_dict(PreprocessCfg(), entry) | {"size": (side, side)}
            seen[str(settings)] = settings
    modes = {(s["resize_mode"], s["interpolation"]) for s in seen.values()}
    assert modes >= {("shortest", "bicubic"), ("squash", "bicubic"), ("squash", "bilinear")}
    for settings in seen.values():
        if settings["size"][0] > 256:
            continue
        library = image_transform_v2(PreprocessCfg(**settings), is_train=False)
        ours = source.image_preprocess(settings)
        for image in pictures:
            assert torch.equal(ours(image), library(image)), settings


def test_tokens_and_what_is_the_texts_own():
    tokenizer = load_model(f"open_clip/{TINY}/text", weights=None).preprocess
    library = open_clip.get_tokenizer(TINY)
    for text in [*TEXTS, "word " * 100]:
        found = tokenizer(text)
        assert torch.equal(found["text"], library(text)[0])
        ends = int((found["text"] == library.eot_token_id).nonzero()[0])
        assert int(found["attention_mask"].sum()) == ends + 1
    assert "ViT-S-32-alt" in describe_callable(tokenizer)


@pytest.mark.parametrize(
    ("tokens", "padding", "end", "n_own"),
    [
        ([5, 6, 1, 1, 1], 1, 1, 3),  # SigLIP: the end is the padding too, and the text's own once
        ([5, 6, 2, 0, 0], 0, 2, 3),
        ([5, 6, 7, 8, 1], 1, 1, 5),
        ([5, 6, 7, 8, 9], 0, 2, 5),
    ],
)
def test_which_tokens_are_the_texts_own(tokens, padding, end, n_own, monkeypatch):
    class Inner:
        pad_token_id, eos_token_id = padding, end

    class Theirs:
        tokenizer = Inner()

        def __call__(self, text, context_length):
            return torch.tensor([tokens])

    monkeypatch.setattr(texts, "_open_clip_tokenizer", lambda architecture: Theirs())
    found = texts.OpenClipTokenizer("any", 5)("a text")
    assert found["text"].tolist() == tokens
    assert found["attention_mask"].tolist() == [1] * n_own + [0] * (5 - n_own)


def test_the_survey_reads_both_towers():
    pictures = torch.rand(6, 3, 224, 224)
    image = load_model(f"open_clip/{TINY}", weights=None)
    plan = FeatureExtractor(image, pictures, progress=False).plan
    assert len(plan.distinct) > 50
    assert all(layer.path.startswith("visual") for layer in plan.distinct)
    left_out = [layer for layer in plan.layers if layer.left_out]
    assert len(left_out) < 0.1 * len(plan.layers)
    last = extract_features(image, pictures, plan.distinct[-1].name, progress=False)
    with torch.inference_mode():
        expected = image.module.visual(pictures)
    assert torch.allclose(last[plan.distinct[-1].name], expected, atol=1e-5)

    text = load_model(f"open_clip/{TINY}/text", weights=None)
    found = extract_features(
        text, from_texts(TEXTS), "ln_final", tokens="last", progress=False, batch_size=2
    )
    tokens = open_clip.tokenize(TEXTS)
    with torch.inference_mode():
        expected = text(tokens)
        projected = found["ln_final"] @ text.module.text_projection
    assert torch.allclose(projected, expected, atol=1e-5)


def test_a_network_of_the_users_own_brings_its_preprocessing():
    from open_clip.transform import PreprocessCfg, image_transform_v2

    library = whole(TINY)
    model = as_model(library)
    image = picture()
    settings = PreprocessCfg(**library.visual.preprocess_cfg)
    transform = image_transform_v2(settings, is_train=False)
    assert torch.equal(model.preprocess(image), transform(image))
    with torch.inference_mode():
        inputs = model.preprocess(image)[None]
        assert torch.equal(model(inputs), library.encode_image(inputs))
    assert source.recognise(torch.nn.Linear(2, 2)) is None


def test_isomorphs_own_cache_is_looked_in_first(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path / "own"))
    entry = dict(source.published()["ViT-B-32"]["laion2b_s34b_b79k"], hf_hub="laion/tiny/")
    monkeypatch.setitem(source.published(), TINY, {"laion2b_tiny": entry})
    theirs, ours = (whole(TINY, seed=seed).state_dict() for seed in (1, 2))
    lay_out(hub, "laion/tiny", "open_clip_model.safetensors", theirs)
    found = load_model(f"open_clip/{TINY}").module.state_dict()
    assert torch.equal(found["visual.proj"], theirs["visual.proj"])
    own = tmp_path / "own" / "huggingface"
    lay_out(own, "laion/tiny", "open_clip_model.safetensors", ours)
    found = load_model(f"open_clip/{TINY}").module.state_dict()
    assert torch.equal(found["visual.proj"], ours["visual.proj"])
