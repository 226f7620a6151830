"""Inputs: named tensors, texts, data sets and loaders, groups, and stimuli that are broken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torchvision import datasets, transforms

from isomorph.extraction import FeatureExtractor, Model, extract_features
from isomorph.extraction.inputs import Inputs
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
def test_whatever_is_no_image_can_be_skipped(tmp_path, arrays, content):
    for name, array in zip("ac", arrays, strict=False):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(content)
    found = extract_features(
        Model(network(), to_tensor), tmp_path, "0", on_error="skip", progress=False
    )
    assert found.ids == ("a.png", "c.png")


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
    with pytest.raises(ValueError, match="workers: expected a whole number of 1 or more, got 0"):
        FeatureExtractor(model, stimuli, workers=0)


def test_named_tensors_must_be_of_one_length():
    batch = {"input_ids": torch.zeros(3, 4, dtype=int), "attention_mask": torch.ones(2, 4)}
    with pytest.raises(ValueError, match=r"named tensors of one length, got \[2, 3\]"):
        FeatureExtractor(Bag(), batch)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3))


@pytest.fixture
def rows():
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({"batch_sampler": [[7, 6], [1]]}, [7, 6, 1]),
        ({"sampler": [5, 2, 0, 3]}, [5, 2, 0, 3]),
        ({"batch_size": 4, "drop_last": True}, list(range(8))),
        ({"batch_sampler": BatchSampler(SequentialSampler(range(8)), 3, False)}, list(range(8))),
    ],
)
def test_a_loader_is_read_in_its_own_order(options, order, rows):
    loader = DataLoader(TensorDataset(rows), **options)
    module = linear()
    found = extract_features(module, loader, progress=False, batch_size=3)
    assert found.ids == tuple(f"stimulus-{i}" for i in order)
    given = torch.cat([batch for (batch,) in loader])
    torch.testing.assert_close(found["0"], module(given).detach())


class Turning(Sampler):
    """Another order each time, without drawing from torch."""

    def __init__(self):
        self.turn = 0

    def __iter__(self):
        self.turn += 1
        return iter([(i + self.turn) % 8 for i in range(8)])

    def __len__(self):
        return 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shuffle": True}, "got one that shuffles.* shuffle=False"),
        ({"sampler": SubsetRandomSampler([5, 1, 3])}, "got one that shuffles"),
        ({"sampler": WeightedRandomSampler([1.0] * 8, 8)}, "got one that shuffles"),
        (
            {"batch_sampler": BatchSampler(RandomSampler(range(8)), 3, False)},
            "got one that shuffles",
        ),
        ({"sampler": Turning()}, "got one that shuffles"),
        ({"batch_sampler": iter([[0, 1], [2]])}, "got one that shuffles"),
        ({"sampler": [0, 1, 1]}, "each stimulus once, got number 1 more than once. .*Subset"),
        ({"batch_size": 3, "drop_last": True}, r"drops the last 2 \(drop_last=True\). .*False"),
        (
            {"batch_sampler": BatchSampler(SequentialSampler(range(8)), 5, True)},
            "drops the last 3",
        ),
        ({"batch_size": None}, "batch_size=None, whose items may be batches already"),
    ],
)
def test_loaders_that_do_not_give_every_stimulus_in_a_fixed_order(options, message, rows):
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(linear(), DataLoader(TensorDataset(rows), **options), progress=False)


class Drawing(Sampler):
    """A sampler of one's own that shuffles."""

    def __iter__(self):
        return iter(torch.randperm(8).tolist())

    def __len__(self):
        return 8


def test_looking_at_the_order_moves_no_random_numbers(rows):
    module, loader = linear(), DataLoader(TensorDataset(rows), sampler=Drawing())
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with pytest.raises(ValueError, match="got one that shuffles"):
        FeatureExtractor(module, loader, progress=False)
    assert torch.equal(torch.rand(2), expected)


def test_a_collate_fn_of_ones_own_is_used_if_it_leaves_stimuli_alone(rows):
    class Loose(Dataset):
        def __len__(self):
            return len(rows)

        def __getitem__(self, i):
            return {"a": rows[i, :2], "b": rows[i, 2:]}

    def together(items):
        return torch.stack([torch.cat([item["b"], item["a"]]) for item in items])

    found = extract_features(linear(), DataLoader(Loose(), collate_fn=together), progress=False)
    expected = linear()(rows[:, [2, 3, 0, 1]]).detach()
    torch.testing.assert_close(found["0"], expected)

    def centred(items):
        batch = together(items)
        return batch - batch.mean(dim=0)

    with pytest.raises(ValueError, match="whatever batch it is in, but 'stimulus-0' differs"):
        extract_features(linear(), DataLoader(Loose(), collate_fn=centred), progress=False)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3, 5, 3, 3], "'stimulus-0' differs .* collate_fn pads to its batch"),
        ([5, 3, 3, 3], "'stimulus-1' differs .* collate_fn pads to its batch"),
        ([3, 3, 3, 5], r"stimulus 'stimulus-3': expected collate_fn .* \(3,\) .* \(5,\) .*pad all"),
    ],
)
def test_a_collate_fn_that_pads_is_named(lengths, message):
    class Sequences(Dataset):
        def __len__(self):
            return len(lengths)

        def __getitem__(self, i):
            return torch.arange(lengths[i]) + 1

    def padded(items):
        return nn.utils.rnn.pad_sequence(items, batch_first=True)

    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        extract_features(
            nn.Embedding(9, 2), DataLoader(Sequences(), collate_fn=padded), progress=False
        )


def flip_at_random(image):
    return transforms.RandomHorizontalFlip(1.0 if torch.rand(()) < 0.5 else 0.0)(to_tensor(image))


@pytest.mark.parametrize("where", ["preprocess", "data set", "folder"])
def test_random_stimuli_are_refused(where, arrays, class_folder):
    def noisy(image):
        return to_tensor(image) + torch.rand(())

    stimuli = {
        "preprocess": from_arrays(arrays),
        "data set": Numbered(arrays, lambda array, i: noisy(Image.fromarray(array))),
        "folder": datasets.ImageFolder(class_folder, transform=noisy),
    }[where]
    model = Model(network(), noisy) if where == "preprocess" else Model(network())
    with pytest.raises(ValueError, match="stimulus '.*': expected the same tensor .* augmentation"):
        FeatureExtractor(model, stimuli, progress=False)


def test_flips_are_found_in_most_cases(arrays):
    found = 0
    for seed in range(40):
        torch.manual_seed(seed)
        try:
            Inputs(Model(nn.Identity(), flip_at_random), from_arrays(arrays))
        except ValueError:
            found += 1
    assert found >= 28  # 35 expected, and 20 of two loads


def broken_at(*places):
    def give(array, i):
        if i in places:
            raise OSError("broken jpeg")
        return as_tensor(array)

    return give


@pytest.mark.parametrize("loader", [False, True])
def test_a_data_set_that_breaks_can_be_skipped(loader, arrays, expected):
    stimuli = Numbered(arrays, broken_at(0, 4))
    stimuli = DataLoader(stimuli, batch_size=2) if loader else stimuli
    extractor = FeatureExtractor(network(), stimuli, layers="0", on_error="skip", progress=False)
    assert extractor.skipped == ("stimulus-0", "stimulus-4")
    assert extractor.ids == tuple(f"stimulus-{i}" for i in (1, 2, 3, 5, 6))
    (maps,) = extractor
    torch.testing.assert_close(maps["0"], expected[[1, 2, 3, 5, 6]])
    with pytest.raises(ValueError, match="none of the 7 can be loaded. .*broken jpeg"):
        FeatureExtractor(network(), Numbered(arrays, broken_at(*range(7))), on_error="skip")
    wrong = Numbered(arrays, lambda array, i: "a text")
    with pytest.raises(TypeError, match="expected the data set to give a tensor"):
        FeatureExtractor(network(), wrong, on_error="skip")


def test_what_cannot_be_preprocessed_can_be_skipped(arrays, expected):
    def picky(image):
        if np.array_equal(np.asarray(image), arrays[4]):
            raise KeyError("red")
        return to_tensor(image)

    extractor = FeatureExtractor(
        Model(network(), picky), from_arrays(arrays), layers="0", on_error="skip", progress=False
    )
    assert extractor.skipped == ("image-4",)
    (maps,) = extractor
    torch.testing.assert_close(maps["0"], expected[[0, 1, 2, 3, 5, 6]])


def test_loose_tensors_and_arrays_of_floats_are_told_what_to_become(rows):
    with pytest.raises(TypeError, match="got 8 tensors. Stack them: torch.stack"):
        FeatureExtractor(linear(), list(rows))
    with pytest.raises(TypeError, match="array of float32. Give torch.from_numpy"):
        FeatureExtractor(linear(), rows.numpy())


def test_hashes_of_inputs_tell_shapes_types_and_names_apart(rows):
    def hashes(stimuli):
        return FeatureExtractor(nn.Identity(), stimuli, progress=False).inputs.content_hashes()

    class Named(nn.Module):
        def forward(self, a, b):
            return a + b

    base = hashes(rows)
    assert len(set(base)) == 8
    assert hashes(TensorDataset(rows)) == base
    assert not set(hashes(rows.reshape(8, 2, 2))) & set(base)
    assert not set(hashes(rows.view(torch.int32))) & set(base)
    one, other = rows[:, :2], rows[:, 2:]
    pair = FeatureExtractor(Named(), {"a": one, "b": other}, progress=False)
    turned = FeatureExtractor(Named(), {"b": one, "a": other}, progress=False)
    again = FeatureExtractor(Named(), {"b": other, "a": one}, progress=False)
    hashed = [set(e.inputs.content_hashes()) for e in (pair, turned, again)]
    assert hashed[0] == hashed[2]
    assert not hashed[0] & hashed[1]
