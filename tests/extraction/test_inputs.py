"""Inputs: named tensors, texts, data sets and loaders, groups, and stimuli that are broken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchvision import datasets, transforms

from isomorph.extraction import FeatureExtractor, Model, extract_features
from isomorph.registry import UnknownNameError
from isomorph.stimuli import from_arrays, from_folder, from_texts

SIDE = 8
to_tensor = transforms.Compose([transforms.Resize((SIDE, SIDE)), transforms.ToTensor()])


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))


@pytest.fixture
def arrays():
    return np.random.default_rng(0).integers(0, 255, (7, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def expected(arrays):
    batch = torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255
    module = network()
    with torch.no_grad():
        return module[0](batch)


@pytest.fixture
def class_folder(tmp_path, arrays):
    for i, array in enumerate(arrays):
        folder = tmp_path / ("cats" if i % 2 else "dogs")
        folder.mkdir(exist_ok=True)
        Image.fromarray(array).save(folder / f"{i}.png")
    return tmp_path


class Numbered(Dataset):
    def __init__(self, arrays, give):
        self.arrays, self.give = arrays, give

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, i):
        return self.give(self.arrays[i], i)


def as_tensor(array):
    return torch.from_numpy(array).permute(2, 0, 1).float() / 255


TENSORS = {
    "tensor": lambda array, i: as_tensor(array),
    "pair": lambda array, i: (as_tensor(array), i),
    "named": lambda array, i: {"input": as_tensor(array), "label": i},
}
PICTURES = {
    "image": lambda array, i: Image.fromarray(array),
    "image pair": lambda array, i: (Image.fromarray(array), i),
}


def check_loaded(stimuli, expected):
    features = extract_features(
        Model(network(), to_tensor), stimuli, "0", progress=False, batch_size=3
    )
    torch.testing.assert_close(features["0"], expected)
    assert features.ids == tuple(f"stimulus-{i}" for i in range(7))


@pytest.mark.parametrize("kind", [*TENSORS, *PICTURES])
def test_data_sets_give_what_arrays_give(arrays, expected, kind):
    check_loaded(Numbered(arrays, (TENSORS | PICTURES)[kind]), expected)


@pytest.mark.parametrize("kind", TENSORS)
def test_loaders_give_what_arrays_give(arrays, expected, kind):
    check_loaded(DataLoader(Numbered(arrays, TENSORS[kind]), batch_size=2), expected)


def test_an_image_folder_brings_its_paths(class_folder, arrays, expected):
    dataset = datasets.ImageFolder(class_folder, transform=to_tensor)
    features = extract_features(Model(network()), dataset, "0", progress=False)
    order = [1, 3, 5, 0, 2, 4, 6]  # cats before dogs
    assert features.ids == tuple(f"{'cats' if i % 2 else 'dogs'}/{i}.png" for i in order)
    torch.testing.assert_close(features["0"], expected[order])


def test_what_has_no_fixed_order_is_refused(arrays):
    shuffled = DataLoader(TensorDataset(torch.zeros(4, 3, SIDE, SIDE)), shuffle=True)
    with pytest.raises(ValueError, match="got one that shuffles.* shuffle=False"):
        FeatureExtractor(network(), shuffled)

    class Stream(IterableDataset):
        def __iter__(self):
            yield torch.zeros(3, SIDE, SIDE)

    with pytest.raises(ValueError, match=r"got a stream \(Stream\)"):
        FeatureExtractor(network(), Stream())


def test_a_data_set_that_breaks_names_the_stimulus(arrays):
    def give(array, i):
        if i == 5:
            raise OSError("the disk is gone")
        return as_tensor(array)

    with pytest.raises(ValueError, match="stimulus 'stimulus-5': .*OSError: the disk is gone"):
        extract_features(network(), Numbered(arrays, give), progress=False)


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(40, 6)

    def forward(self, input_ids, attention_mask=None):
        return self.embed(input_ids)


class Letters:
    """A tokenizer of another length for every text, as Hugging Face's are called."""

    model_max_length = 12
    pad_token_id = 39
    padding_side = "right"

    def __call__(self, text, truncation=False):
        assert truncation
        ids = [ord(letter) - 96 for letter in text][: self.model_max_length]
        return {"input_ids": ids, "attention_mask": [1] * len(ids)}


@pytest.mark.parametrize("side", ["right", "left"])
def test_texts_are_padded_to_the_longest_and_pooled_under_the_mask(side):
    tokenizer = Letters()
    tokenizer.padding_side = side
    texts = ["cat", "horse", "a", "aaaaaaaaaaaaaaaaaaaaaaa"]
    model = Model(Bag(), tokenizer)
    raw = extract_features(model, from_texts(texts), "embed", progress=False, batch_size=2)
    assert raw["embed"].shape == (4, 12, 6)
    found = extract_features(model, from_texts(texts), "embed", tokens="mean", progress=False)
    table = model.module.embed.weight.detach()
    cat, padding = [3, 1, 20], [39] * 9
    assert torch.equal(raw["embed"][0], table[padding + cat if side == "left" else cat + padding])
    for row, text in enumerate(texts):
        rows = table[[ord(letter) - 96 for letter in text[:12]]]
        torch.testing.assert_close(found["embed"][row], rows.mean(dim=0))


def test_captions_are_averaged_within_their_image():
    captions = ["cat", "dog", "cow", "ant", "bee"]
    groups = ["b", "a", "b", "a", "b"]  # not side by side
    model = Model(Bag(), Letters())
    stimuli = from_texts(captions, groups=groups)
    single = extract_features(model, stimuli, "embed", tokens="last", progress=False)["embed"]
    for batch_size in (1, 2, 5):
        found = extract_features(
            model,
            stimuli,
            "embed",
            tokens="last",
            group="mean",
            batch_size=batch_size,
            progress=False,
        )
        assert found.ids == ("b", "a")
        torch.testing.assert_close(found["embed"][0], single[[0, 2, 4]].mean(dim=0))
        torch.testing.assert_close(found["embed"][1], single[[1, 3]].mean(dim=0))


def test_stacking_keeps_each_stimulus_and_needs_equal_groups():
    stimuli = from_texts(["cat", "dog", "cow", "ant"], groups=["b", "a", "b", "a"])
    model = Model(Bag(), Letters())
    single = extract_features(model, stimuli, "embed", progress=False)["embed"]
    found = extract_features(model, stimuli, "embed", group="stack", batch_size=3, progress=False)
    assert found["embed"].shape == (2, 2, 3, 6)
    assert torch.equal(found["embed"], single[[0, 2, 1, 3]].unflatten(0, (2, 2)))
    uneven = from_texts(["cat", "dog", "cow"], groups=["b", "a", "b"])
    with pytest.raises(ValueError, match="expected groups of one size, got 1 to 2"):
        FeatureExtractor(model, uneven, group="stack")
    with pytest.raises(ValueError, match="expected stimuli with groups"):
        FeatureExtractor(model, from_texts(["cat"]), group="mean")
    with pytest.raises(UnknownNameError, match="unknown way of grouping 'average'"):
        FeatureExtractor(model, uneven, group="average")


@pytest.fixture
def half_broken(tmp_path, arrays):
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{i}.png")
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path


def test_a_truncated_image_is_an_error_that_names_it(half_broken):
    with pytest.raises(ValueError, match=r"stimulus '3.png': .* Replace the file or leave it out"):
        extract_features(Model(network(), to_tensor), half_broken, progress=False, batch_size=2)


def test_a_truncated_image_can_be_skipped(half_broken, expected, caplog):
    extractor = FeatureExtractor(
        Model(network(), to_tensor), half_broken, layers="0", on_error="skip", progress=False
    )
    assert extractor.skipped == ("3.png",)
    assert "1 stimuli cannot be decoded and are left out: 3.png" in caplog.text
    assert extractor.ids == tuple(f"{i}.png" for i in (0, 1, 2, 4, 5, 6))
    (maps,) = extractor
    torch.testing.assert_close(maps["0"], expected[[0, 1, 2, 4, 5, 6]])


@pytest.mark.parametrize("content", [b"", b"this is no image"])
def test_what_is_no_image_is_found_before_the_model_runs(tmp_path, arrays, content):
    Image.fromarray(arrays[0]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(content)
    ran = []
    module = network()
    module[0].register_forward_hook(lambda *_: ran.append(1))
    with pytest.raises(ValueError, match=r"b\.png"):
        FeatureExtractor(Model(module, to_tensor), tmp_path)
    assert not ran


def test_preprocessing_that_breaks_names_the_stimulus(arrays):
    def picky(image):
        if np.asarray(image)[0, 0, 0] == arrays[4][0, 0, 0]:
            raise KeyError("red")
        return to_tensor(image)

    with pytest.raises(ValueError, match=r"stimulus 'image-4': .* cannot preprocess it \(KeyError"):
        extract_features(Model(network(), picky), from_arrays(arrays), progress=False)


def test_images_of_several_shapes_are_refused():
    images = from_arrays([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)])
    with pytest.raises(ValueError, match="expected preprocessing to give every stimulus one shape"):
        extract_features(Model(network(), transforms.ToTensor()), images, progress=False)


def test_the_number_of_workers_changes_nothing(class_folder):
    stimuli = from_folder(class_folder / "cats")
    model = Model(network(), to_tensor)
    one = extract_features(model, stimuli, workers=1, batch_size=2, progress=False)
    many = extract_features(model, stimuli, workers=7, batch_size=2, progress=False)
    assert all(torch.equal(one[name], many[name]) for name in one)
    with pytest.raises(ValueError, match="workers: expected 1 or more, got 0"):
        FeatureExtractor(model, stimuli, workers=0)


def test_named_tensors_must_be_of_one_length():
    batch = {"input_ids": torch.zeros(3, 4, dtype=int), "attention_mask": torch.ones(2, 4)}
    with pytest.raises(ValueError, match=r"named tensors of one length, got \[2, 3\]"):
        FeatureExtractor(Bag(), batch)
