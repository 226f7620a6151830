"""Networks of transformers: against the library itself, from caches laid out as the hub's."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from isomorph.extraction import FeatureExtractor, describe_callable, extract_features
from isomorph.stimuli import from_texts
from isomorph.zoo import as_model, list_models, load_model
from isomorph.zoo.huggingface.configs import make_config
from isomorph.zoo.huggingface.files import wanted_files
from isomorph.zoo.huggingface.images import FramesPreprocess, TensorPreprocess, as_data
from isomorph.zoo.huggingface.models import quiet_library
from isomorph.zoo.preprocessing.texts import HubTokenizer
from isomorph.zoo.sources import transformers as source

transformers = pytest.importorskip("transformers", minversion="5")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEXTS = ["a cat sits", "two dogs run along the beach in the sun", "a"]
# As the publishers' cards and papers tell, or as is widely known; all without heads.
PUBLISHED_COUNTS = {
    "google/vit-base-patch16-224-in21k": 86_389_248,
    "microsoft/beit-base-patch16-224": 85_761_984,
    "facebook/dinov2-small": 22_056_576,
    "facebook/dinov2-giant": 1_136_480_768,
    "facebook/convnext-tiny-224": 27_820_128,
    "microsoft/resnet-50": 23_508_032,
    "openai/clip-vit-base-patch32": 87_849_216,
    "openai/clip-vit-large-patch14": 303_966_208,
    "google/siglip-so400m-patch14-384": 428_225_600,
    "google-bert/bert-base-uncased": 109_482_240,
    "google-bert/bert-large-uncased": 335_141_888,
    "FacebookAI/xlm-roberta-base": 278_043_648,
    "distilbert/distilbert-base-uncased": 66_362_880,
    "albert/albert-base-v2": 11_683_584,
    "xlnet/xlnet-base-cased": 116_718_336,
    "openai-community/gpt2": 124_439_808,
    "openai-community/gpt2-xl": 1_557_611_200,
    "EleutherAI/gpt-neo-1.3B": 1_315_575_808,
    "facebook/opt-350m": 331_196_416,
    "bigscience/bloom-560m": 559_214_592,
    "meta-llama/Llama-2-7b-hf": 6_607_343_616,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "Qwen/Qwen3-4B-Base": 4_022_468_096,
    "google/gemma-2-2b": 2_614_341_888,
    "state-spaces/mamba-130m-hf": 129_135_360,
    "google-t5/t5-base": 109_628_544,
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("ISOMORPH_CACHE", raising=False)
    return tmp_path / "hub"


def lay_out(cache, repository, *things, form="safetensors"):
    """Save as publishers do, and put it where a download would."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    snapshot, blobs = folder / "snapshots" / COMMIT, folder / "blobs"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for thing in things:
        thing.save_pretrained(snapshot)
    if form == "bin":
        state = safetensors.torch.load_file(snapshot / "model.safetensors")
        (snapshot / "model.safetensors").unlink()
        torch.save(state, snapshot / "pytorch_model.bin")
    for number, file in enumerate(sorted(snapshot.iterdir())):
        file.rename(blobs / str(number))
        file.symlink_to(blobs / str(number))
    return snapshot


def tiny(kind, seed=0, **options):
    """A network of the library, small, of a class by name."""
    config = getattr(transformers, f"{kind.partition('For')[0].removesuffix('Model')}Config")
    with torch.random.fork_rng(devices=[]), quiet_library():
        torch.manual_seed(seed)
        return getattr(transformers, kind)(config(**options)).eval()


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
VIT = {**SMALL, "image_size": 32, "patch_size": 8}
CLIP = {
    "vision_config": {**VIT},
    "text_config": {**SMALL, "vocab_size": 60, "eos_token_id": 3, "bos_token_id": 2},
    "projection_dim": 12,
}


def tokenizer():
    """A small tokenizer of words, in the library's own form."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "<unk>", "<s>", "</s>", *sorted({w for text in TEXTS for w in text.split()})]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", model_max_length=16
    )


def picture(width, height, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


# --------------------------------------------------------------------------- the catalogue


def test_the_catalogue_is_in_the_catalogues_words():
    frame = list_models(source="transformers")
    assert len(frame) >= 250
    assert frame["name"].is_unique
    assert frame["n_params"].notna().all()
    assert frame["default"].all()
    assert (frame["weights"] == "main").all()
    assert {"vision", "language", "video"} == set(frame["modality"])
    by_name = frame.set_index("name")
    for name, count in PUBLISHED_COUNTS.items():
        assert by_name.loc[name, "n_params"] == count, name
    text = by_name.loc["openai/clip-vit-base-patch32/text"]
    assert (text["modality"], text["architecture"]) == ("language", "clip_text_12x512")


@pytest.mark.parametrize(
    "name",
    [
        "microsoft/swin-tiny-patch4-window7-224",
        "facebook/flava-full/text",
        "google/siglip2-base-patch16-224/text",
        "google-t5/t5-small",
        "FacebookAI/roberta-base",
        "microsoft/deberta-v3-small",
        "state-spaces/mamba-130m-hf",
        "MCG-NJU/videomae-base",
    ],
)
def test_what_is_shipped_has_the_listed_number_of_parameters(name):
    with torch.device("meta"):
        module = source.build_module(name)
    listed = int(source.table()[name]["n_params"])
    assert sum(weight.numel() for weight in module.parameters()) == listed


def test_every_twin_is_shown_pictures_of_the_listed_size():
    plain = Image.new("RGB", (320, 240), (90, 120, 200))
    kept = set()
    for row in source.rows():
        if row.modality == "language":
            continue
        config = make_config(source.split_name(row.name)[0])
        preprocess = source._twins_preprocess(row.name, config, "image")
        size = (3, row.input_size, row.input_size)
        if row.modality == "video":
            found = preprocess(np.zeros((40, 60, 80, 3), np.uint8))
            assert found.shape == (config.num_frames, *size), row.name
            continue
        if isinstance(preprocess, TensorPreprocess):
            assert preprocess.input_size == row.input_size, row.name
            found = preprocess(plain)
        else:
            found = preprocess(plain, return_tensors="pt")["pixel_values"][0]
            kept.add(row.name)
        assert found.shape == size, row.name
    assert kept == {"kakaobrain/align-base"}


# --------------------------------------------------------------------------- random twins


@pytest.mark.parametrize(
    "name", ["nvidia/mit-b0", "facebook/convnextv2-atto-1k-224", "facebook/dinov2-small"]
)
def test_a_twin_is_the_librarys_own_network_and_is_surveyed(name):
    model = load_model(f"hf/{name}", weights=None, seed=3)
    assert model.uid == f"transformers/{name}@random-3"
    with torch.random.fork_rng(devices=[]), quiet_library():
        torch.manual_seed(3)
        library = transformers.AutoModel.from_config(model.module.config).eval()
    pictures = torch.rand(6, 3, 64, 64)
    with torch.inference_mode():
        expected = library(pixel_values=pictures).last_hidden_state
        assert torch.equal(model(pictures).last_hidden_state, expected)
    plan = FeatureExtractor(model, pictures, progress=False).plan
    assert len(plan.distinct) > 50
    assert sum(bool(layer.left_out) for layer in plan.layers) <= 2
    found = extract_features(model, pictures, "(root)[[]last_hidden_state]", progress=False)
    assert torch.allclose(next(iter(found.values())), expected, atol=1e-5)


def test_a_twin_is_the_same_in_another_process():
    model = load_model("hf/google/electra-small-discriminator", weights=None, seed=5)
    code = "from isomorph.zoo import load_model\n" + (
        "m = load_model('hf/google/electra-small-discriminator@random-5', progress=False)\n"
        "print(m.weights_hash())\nprint(m.preprocess_spec)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [model.weights_hash(), model.preprocess_spec]
    assert "google/electra-small-discriminator" in model.preprocess_spec


def test_a_masked_autoencoder_sees_whole_pictures_in_order(hub):
    library = tiny("ViTMAEModel", **VIT)
    lay_out(hub, "org/mae", library)
    model = load_model("hf/org/mae")
    pictures = torch.rand(5, 3, 32, 32)
    with torch.inference_mode():
        first, again = model(pictures), model(pictures)
        # In the pictures' own order: what a plain ViT makes of the same weights.
        plain = transformers.ViTModel(transformers.ViTConfig(**VIT), add_pooling_layer=False)
        plain.load_state_dict(model.module.state_dict())
        expected = plain.eval()(pictures).last_hidden_state
    assert first.last_hidden_state.shape == (5, 17, 16)
    assert torch.equal(first.last_hidden_state, again.last_hidden_state)
    assert torch.allclose(first.last_hidden_state, expected, atol=1e-6)


# --------------------------------------------------------------------------- published weights


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_weights_are_read_from_the_hubs_cache(form, hub, caplog):
    caplog.set_level(logging.WARNING)
    library = tiny("ViTForImageClassification", seed=4, **VIT)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    lay_out(hub, "org/vit", library, processor, form=form)
    model = load_model("hf/org/vit")
    assert model.uid == "transformers/org/vit@main"
    assert load_model("hf/org/vit@main").uid == model.uid
    image = picture(60, 40)
    inputs = model.preprocess(image)[None]
    assert torch.equal(inputs, processor(image, return_tensors="pt")["pixel_values"])
    with torch.inference_mode():
        found = model(inputs)
        assert torch.equal(found.last_hidden_state, library.vit(inputs).last_hidden_state)
    # The file of a classifier holds no pooling layer: one with random weights must not be there.
    assert model.module.pooler is None
    assert found.pooler_output is None
    assert not caplog.records


def test_half_precision_files_become_float32(hub):
    library = tiny("GPT2Model", n_embd=16, n_layer=2, n_head=2, vocab_size=30).to(torch.bfloat16)
    lay_out(hub, "org/half", library, tokenizer())
    module = load_model("hf/org/half").module
    assert {weight.dtype for weight in module.parameters()} == {torch.float32}
    assert not module.config.use_cache


def test_both_encoders_of_a_pair(hub):
    library = tiny("CLIPModel", seed=2, **CLIP)
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    lay_out(hub, "org/clip", library, processor, tokenizer())
    image, text = load_model("hf/org/clip"), load_model("hf/org/clip/text")
    assert {name.partition(".")[0] for name, _ in image.module.named_parameters()} == {
        "vision_model",
        "visual_projection",
    }
    pictures = torch.stack([image.preprocess(picture(50, 40, seed)) for seed in range(6)])
    tokens = tokenizer()(TEXTS, padding=True, return_tensors="pt")
    given = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        expected = library.get_image_features(pixel_values=pictures).pooler_output
        assert torch.equal(image(pictures).pooler_output, expected)
        assert torch.equal(
            text(dict(tokens)).pooler_output, library.get_text_features(**given).pooler_output
        )
    plan = FeatureExtractor(image, pictures, progress=False).plan
    assert all(layer.path.startswith("vis") for layer in plan.distinct)
    last = extract_features(image, pictures, "visual_projection", progress=False)
    assert torch.allclose(last["visual_projection"], expected, atol=1e-6)


def test_of_an_encoder_decoder_the_encoder(hub):
    options = {"d_model": 16, "d_ff": 24, "num_layers": 2, "num_heads": 2, "d_kv": 8}
    library = tiny("T5ForConditionalGeneration", vocab_size=60, **options)
    lay_out(hub, "org/t5", library, tokenizer())
    model = load_model("hf/org/t5")
    assert not hasattr(model.module, "decoder")
    tokens = dict(tokenizer()(TEXTS, padding=True, return_tensors="pt"))
    tokens.pop("token_type_ids", None)
    with torch.inference_mode():
        expected = library.encoder(**tokens).last_hidden_state
        assert torch.equal(model(tokens).last_hidden_state, expected)


def test_folders_are_names_and_weights(hub, tmp_path, monkeypatch):
    library = tiny("BertModel", seed=6, vocab_size=60, **SMALL)
    folder = tmp_path / "mine"
    library.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    monkeypatch.chdir(tmp_path)
    tokens = dict(tokenizer()(TEXTS, padding=True, return_tensors="pt"))
    with torch.inference_mode():
        expected = library(**tokens).last_hidden_state
        for uid, weights in (
            ("hf/./mine", "default"),
            (f"hf/{folder}", "default"),
            ("hf/org/mine", str(folder)),
            ("hf/org/mine", folder),
        ):
            model = load_model(uid, weights=weights)
            assert torch.equal(model(tokens).last_hidden_state, expected)
            assert len(model.uid.rpartition("@file-")[2]) == 8
    twin = load_model("hf/./mine", weights=None, seed=6)
    assert twin.weights_hash() == model.weights_hash()
    with pytest.raises(ValueError, match=r"with model_type gpt2, got bert in"):
        load_model("hf/openai-community/gpt2", weights=str(folder))
    with pytest.raises(ValueError, match=r"with hidden_size 768, got 16 in .*another network"):
        load_model("hf/google-bert/bert-base-uncased", weights=folder)
    with pytest.raises(FileNotFoundError, match=r"expected a folder that save_pretrained.*got no"):
        load_model("hf/./none")


def test_folders_that_have_the_name_of_a_revision_are_left_alone(hub, tmp_path, monkeypatch):
    published = tiny("BertModel", seed=6, vocab_size=60, **SMALL)
    lay_out(hub, "org/bert", published, tokenizer())
    mine = tiny("BertModel", seed=7, vocab_size=60, **SMALL)
    for word in ("main", COMMIT, "mine"):
        mine.save_pretrained(tmp_path / word)
    (tmp_path / "default").write_text("a file")
    monkeypatch.chdir(tmp_path)
    name = "embeddings.word_embeddings.weight"
    for uid in ("hf/org/bert", "hf/org/bert@main", f"hf/org/bert@{COMMIT}"):
        found = load_model(uid).module.state_dict()[name]
        assert torch.equal(found, published.state_dict()[name])
    for weights in ("mine", Path("mine"), Path("main")):
        found = load_model("hf/org/bert", weights=weights).module.state_dict()[name]
        assert torch.equal(found, mine.state_dict()[name])


@pytest.mark.parametrize("name", ["a/b/c", "ü/ö", "org/two words", "org/-x"])
def test_names_that_no_repository_can_have(name, hub):
    for weights in ("default", None):
        with pytest.raises(ValueError, match=r"expected a repository of the Hugging Face hub, ORG"):
            load_model(f"hf/{name}", weights=weights)


@pytest.mark.parametrize("text", ['{"model_type": ', "[1, 2]", '"bert"', "\udcff"])
def test_a_broken_configuration_says_so(text, hub):
    snapshot = lay_out(hub, "org/broken", tiny("BertModel", vocab_size=60, **SMALL))
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    for weights in ("default", None):
        with pytest.raises(ValueError, match=r"expected a config\.json with one object") as caught:
            load_model("hf/org/broken", weights=weights)
        assert str(snapshot) in str(caught.value)


def test_a_file_of_a_network_with_a_head_fits(tmp_path, hub):
    lay_out(hub, "org/bert", tiny("BertModel", vocab_size=60, **SMALL), tokenizer())
    headed = tiny("BertForMaskedLM", seed=8, vocab_size=60, **SMALL)
    safetensors.torch.save_model(headed, tmp_path / "headed.safetensors")
    model = load_model("hf/org/bert", weights=tmp_path / "headed.safetensors")
    tokens = dict(tokenizer()(TEXTS, padding=True, return_tensors="pt"))
    with torch.inference_mode():
        found = model(tokens)
        assert torch.equal(found.last_hidden_state, headed.bert(**tokens).last_hidden_state)
    assert found.pooler_output is None


# --------------------------------------------------------------------------- bad input


def test_what_is_not_here_says_what_to_do(hub):
    with pytest.raises(FileNotFoundError) as caught:
        load_model("hf/facebook/dinov2-small")
    message = str(caught.value)
    assert f"the files of facebook/dinov2-small are not in {hub}" in message
    assert "copy the folder models--facebook--dinov2-small into" in message
    assert "weights=None gives the random twin" in message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError("no route"), r"could not be downloaded \(OSError\)"),
        (FileNotFoundError("gone"), r"could not be downloaded \(FileNotFoundError\)"),
        (type("GatedRepoError", (OSError,), {})("ask"), "asks you to accept terms"),
        (type("ConnectError", (Exception,), {"__module__": "httpx"})(), "could not be downloaded"),
    ],
)
def test_no_network_or_no_permission(error, words, hub, monkeypatch):
    import huggingface_hub

    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", fail)
    with pytest.raises(FileNotFoundError, match=words):
        load_model("hf/facebook/dinov2-small")
    assert not list(hub.rglob("*.safetensors"))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("ours")])
def test_other_errors_are_not_taken_for_a_missing_network(error, hub, monkeypatch):
    import huggingface_hub

    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", fail)
    with pytest.raises(type(error), match=str(error).rpartition("] ")[2]):
        load_model("hf/facebook/dinov2-small")


def test_missing_weights_are_an_error(hub):
    snapshot = lay_out(hub, "org/cut", tiny("BertModel", vocab_size=60, **SMALL), tokenizer())
    file = snapshot / "model.safetensors"
    state = safetensors.torch.load_file(file)
    del state["encoder.layer.1.output.dense.weight"]
    file.unlink()
    safetensors.torch.save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"got none for 1: encoder\.layer\.1\.output\.dense\.wei"):
        load_model("hf/org/cut")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "brand_new"}, r"that transformers \d.* knows, got 'brand_new'.*newer one"),
        (
            {"model_type": "odd", "auto_map": {"AutoModel": "modeling.Odd"}},
            "code of its publisher's, which is never run here",
        ),
    ],
)
def test_architectures_that_the_library_does_not_know(config, words, hub):
    snapshot = lay_out(hub, "org/new", tiny("BertModel", vocab_size=60, **SMALL))
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_text(json.dumps(config))
    (snapshot / "modeling.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ValueError, match=words):
        load_model("hf/org/new")


class Evil:
    def __reduce__(self):
        return (os.system, ("touch pwned",))


def test_nothing_is_unpickled(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    snapshot = lay_out(hub, "org/evil", tiny("BertModel", vocab_size=60, **SMALL))
    (snapshot / "model.safetensors").unlink()
    torch.save({"a": Evil()}, snapshot / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"the weights in .* could not be read"):
        load_model("hf/org/evil")
    assert not (tmp_path / "pwned").exists()


def test_what_is_downloaded():
    files = [
        "config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "vocab.txt",
        "onnx/model.onnx", "onnx/config.json", "README.md", "1_Pooling/config.json",
    ]  # fmt: skip
    assert wanted_files(files) == [
        "config.json", "vocab.txt", "1_Pooling/config.json", "model.safetensors",
    ]  # fmt: skip
    assert wanted_files(["config.json", "pytorch_model.bin"])[-1] == "pytorch_model.bin"


# --------------------------------------------------------------------------- preprocessing

PROCESSORS = {
    "ViTImageProcessor": {"size": {"height": 64, "width": 64}},
    "CLIPImageProcessor": {},
    "SiglipImageProcessor": {"size": {"height": 96, "width": 96}},
    "BitImageProcessor": {
        "size": {"shortest_edge": 256},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    "ConvNextImageProcessor": {"size": {"shortest_edge": 224}, "crop_pct": 0.875},
    "DeiTImageProcessor": {},
    "BeitImageProcessor": {},
    "SegformerImageProcessor": {"size": {"height": 128, "width": 128}},
    "DINOv3ViTImageProcessor": {},
    "BlipImageProcessor": {"size": {"height": 96, "width": 96}},
}


@pytest.mark.parametrize("kind", list(PROCESSORS))
def test_preprocessing_is_data_and_has_the_librarys_bits(kind, data_folder):
    processor = getattr(transformers, kind)(**PROCESSORS[kind])
    ours = as_data(processor)
    assert isinstance(ours, TensorPreprocess)
    pictures = [picture(*size) for size in ((640, 480), (201, 503), (37, 64), (224, 224))]
    for file in ("cat.bmp", "hot_dog.jpg", "grace_hopper.bmp"):
        with Image.open(data_folder / "photos" / file) as photo:
            pictures.append(photo.convert("RGB"))
    for image in pictures:
        theirs = processor(image, return_tensors="pt")["pixel_values"][0]
        assert torch.equal(ours(image), theirs), image.size


def test_a_processor_that_does_something_else_is_kept():
    processor = transformers.EfficientNetImageProcessor()
    assert as_data(processor) is processor


def test_clips_are_preprocessed_frame_by_frame(hub):
    library = tiny("TimesformerModel", num_frames=4, **VIT)
    processor = transformers.VideoMAEImageProcessor(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}, image_mean=[0.45] * 3
    )
    lay_out(hub, "org/video", library, processor)
    model = load_model("hf/org/video")
    assert isinstance(model.preprocess, FramesPreprocess)
    clips = [np.stack([np.asarray(picture(90, 70, 9 * n + i)) for i in range(8)]) for n in range(6)]
    found = torch.stack([model.preprocess(clip) for clip in clips])
    assert found.shape == (6, 4, 3, 32, 32)
    theirs = processor(list(clips[0][1::2]), return_tensors="pt")["pixel_values"]
    assert torch.equal(found[:1], theirs)
    assert torch.equal(model.preprocess(clips[0][:1])[0], model.preprocess(clips[0][:1])[3])
    with torch.inference_mode():
        expected = library(pixel_values=found).last_hidden_state
        assert torch.equal(model(found).last_hidden_state, expected)
    plan = FeatureExtractor(model, found, progress=False).plan
    assert len(plan.distinct) > 20


def test_a_twins_tokenizer_is_asked_for_when_it_is_used(hub):
    twin = load_model("hf/google/electra-small-discriminator", weights=None)
    assert twin.preprocess == HubTokenizer("google/electra-small-discriminator")
    with pytest.raises(FileNotFoundError, match="electra-small-discriminator are not in"):
        twin.preprocess("a cat")
    lay_out(hub, "google/electra-small-discriminator", twin.module.config, tokenizer())
    tokens = twin.preprocess("a cat sits")
    assert tokens["input_ids"] == tokenizer()("a cat sits")["input_ids"]
    found = extract_features(
        twin, from_texts(TEXTS), "encoder.layer.11", tokens="mean", progress=False
    )
    with torch.inference_mode():
        single = twin.module(**tokenizer()(TEXTS[0], return_tensors="pt")).last_hidden_state
    assert torch.allclose(found["encoder.layer.11"][0], single[0].mean(0), atol=1e-5)


def test_a_fingerprint_does_not_tell_where_files_lie(hub, monkeypatch, tmp_path):
    from huggingface_hub import constants

    library = tiny("BertModel", vocab_size=60, **SMALL)
    lay_out(hub, "org/bert", library, tokenizer())
    first = load_model("hf/org/bert")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    lay_out(tmp_path / "elsewhere", "org/bert", library, tokenizer())
    again = load_model("hf/org/bert")
    assert again.preprocess_spec == first.preprocess_spec
    assert again.fingerprint() == first.fingerprint()
    assert str(tmp_path) not in first.preprocess_spec


# --------------------------------------------------------------------------- own networks


def test_the_users_networks_bring_their_preprocessing(hub, tmp_path):
    library = tiny("ViTForImageClassification", seed=4, **VIT)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    lay_out(hub, "org/vit", library, processor)
    with quiet_library():
        mine = transformers.AutoModelForImageClassification.from_pretrained("org/vit").eval()
    model = as_model(mine)
    assert model.preprocess == TensorPreprocess(resize=(32, 32))
    assert model.module is mine
    with torch.inference_mode():
        image = model.preprocess(picture(40, 40))[None]
        assert torch.equal(model(image).logits, library(image).logits)

    tiny("BertModel", vocab_size=60, **SMALL).save_pretrained(tmp_path / "bert")
    tokenizer().save_pretrained(tmp_path / "bert")
    with quiet_library():
        bert = transformers.AutoModel.from_pretrained(tmp_path / "bert")
    words = as_model(bert)
    assert words.preprocess("a cat")["input_ids"] == tokenizer()("a cat")["input_ids"]
    assert "PreTrainedTokenizer" in describe_callable(words.preprocess) or words.preprocess_spec
    assert as_model(tiny("BertModel", vocab_size=60, **SMALL)).preprocess is None
    assert source.recognise(torch.nn.Linear(2, 2)) is None
