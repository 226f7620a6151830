"""Stimuli in the columns of DataFrames and Hugging Face datasets, and what `as_stimuli` takes."""

from __future__ import annotations

import ast
import io
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from isomorph.registry import UnknownNameError
from isomorph.stimuli import (
    ImageSet,
    TextSet,
    as_stimuli,
    from_files,
    from_frame,
    from_huggingface,
    from_texts,
)


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 7, 3), dtype=np.uint8)


@pytest.fixture
def table(tmp_path: Path) -> tuple[pd.DataFrame, Path, np.ndarray]:
    """Paths in two folders, with names that repeat."""
    arrays = pixels(4)
    names = ["b/2.png", "a/1.png", "a/2.png", "b/1.png"]
    for name, array in zip(names, arrays, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(array).save(tmp_path / name)
    frame = pd.DataFrame(
        {"file": names, "animal": list("xyxy"), "code": [7, 3, 5, 1], "clip": [1, 2, 1, 2]},
        index=[10, 20, 30, 40],
    )
    return frame, tmp_path, arrays


def test_a_column_of_paths(table) -> None:
    frame, root, arrays = table
    images = from_frame(frame, "file", root=root, label_column="animal", group_column="clip")
    assert images.ids == tuple(frame["file"])  # the names alone repeat
    assert images.labels == ("x", "y", "x", "y")
    assert images.groups == (1, 2, 1, 2)
    assert images.metadata["code"].tolist() == [7, 3, 5, 1]
    assert images.metadata.index.tolist() == [0, 1, 2, 3]
    for i in range(4):
        np.testing.assert_array_equal(np.asarray(images.load(i)), arrays[i])
    assert from_frame(frame.iloc[:2], "file", root=root).ids == ("2.png", "1.png")
    coded = from_frame(frame, "file", root=root, id_column="code")
    assert coded.ids == ("7", "3", "5", "1")
    frame["stimulus_id"] = list("pqrs")
    assert from_frame(frame, "file", root=root).ids == tuple("pqrs")
    absolute = frame.assign(file=[str(root / name) for name in frame["file"]])
    assert as_stimuli(absolute).ids == tuple("pqrs")
    assert as_stimuli(absolute.assign(file=[root / x for x in frame["file"]])).ids == tuple("pqrs")


def test_columns_of_pictures_arrays_and_texts(table) -> None:
    frame, _, arrays = table
    for column in ([Image.fromarray(a) for a in arrays], list(arrays)):
        held = frame.drop(columns="file").assign(picture=pd.Series(column, index=frame.index))
        for images in (from_frame(held, "picture"), as_stimuli(held)):
            assert images.ids == ("image-0", "image-1", "image-2", "image-3")
            assert images.metadata.columns.tolist() == ["stimulus_id", "animal", "code", "clip"]
            np.testing.assert_array_equal(np.asarray(images.load(2)), arrays[2])
    texts = from_frame(frame, "animal", kind="text", id_column="code", group_column="clip")
    assert isinstance(texts, TextSet)
    assert texts.texts == ("x", "y", "x", "y")
    assert texts.ids == ("7", "3", "5", "1")
    assert texts.groups == (1, 2, 1, 2)


def test_frames_that_do_not_fit_are_refused(table) -> None:
    frame, root, _ = table
    with pytest.raises(UnknownNameError, match=r"unknown column 'files'. Did you mean 'file'"):
        from_frame(frame, "files")
    with pytest.raises(UnknownNameError, match="unknown column 'animals'"):
        from_frame(frame, "file", label_column="animals")
    gaps = frame.assign(file=["b/2.png", None, float("nan"), "b/1.png"])
    with pytest.raises(ValueError, match=r"each of the 4 rows, but 2 are empty: row 20, 30\. Drop"):
        from_frame(gaps, "file", root=root)
    with pytest.raises(
        FileNotFoundError, match=r"4 files, but 4 are missing: .*relative ones start"
    ):
        from_frame(frame, "file")
    with pytest.raises(
        TypeError, match=r"expected paths, Pillow images or arrays, .*got int\. Name"
    ):
        from_frame(frame, "code")
    with pytest.raises(TypeError, match="expected str, got int"):
        from_frame(frame, "code", kind="text")
    with pytest.raises(
        ValueError, match='kind: expected "image", "text" or "video", got \'sound\''
    ):
        from_frame(frame, "file", kind="sound")
    with pytest.raises(ValueError, match="2 are there more than once: x, y"):
        from_frame(frame, "file", root=root, id_column="animal")
    with pytest.raises(
        ValueError, match=r"one column of image or video .*got 0 among .*from_frame"
    ):
        as_stimuli(frame.drop(columns="file"))
    with pytest.raises(ValueError, match=r"got 2 \(file, other\) among file, animal"):
        as_stimuli(frame.assign(other=frame["file"]))


def test_the_captions_of_nsd_in_their_table(data_folder: Path) -> None:
    frame = pd.read_csv(data_folder / "nsd_captions" / "shared1000.csv")
    first = frame.assign(caption=[ast.literal_eval(c)[0] for c in frame["coco_captions"]])
    texts = from_frame(first, "caption", kind="text", id_column="image_name")
    assert len(texts) == 1000
    assert texts.load(1) == "A cup of coffee on a plate with a spoon."
    assert texts.ids[1] == "605.jpg"
    assert texts.metadata["image_id"].iloc[1] == 605


# Hugging Face datasets.


@pytest.fixture
def rows(tmp_path: Path):
    datasets = pytest.importorskip("datasets", reason="needs Hugging Face's datasets")
    features = datasets.Features(
        {
            "photo": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "caption": datasets.Value("string"),
            "key": datasets.Value("int64"),
        }
    )
    arrays = pixels(5, seed=3)
    Image.fromarray(arrays[4]).save(tmp_path / "file.png")
    photos = [*(Image.fromarray(array) for array in arrays[:4]), str(tmp_path / "file.png")]
    content = {"photo": photos, "label": [0, 1, 1, 0, 1], "key": [5, 4, 3, 2, 1]}
    content["caption"] = list("abcde")
    return datasets.Dataset.from_dict(content, features=features), arrays, datasets


def test_the_images_of_a_dataset(rows) -> None:
    dataset, arrays, _ = rows
    for images in (as_stimuli(dataset), from_huggingface(dataset.with_format("numpy"), "photo")):
        assert isinstance(images, ImageSet)
        assert images.ids == tuple(f"image-{i}" for i in range(5))
        assert images.labels == ("cat", "dog", "dog", "cat", "dog")
        for i in range(5):
            np.testing.assert_array_equal(np.asarray(images.load(i)), arrays[i])
    images.check()
    images.verify(progress=False)
    assert from_huggingface(dataset, id_column="key").ids == tuple("54321")
    assert from_huggingface(dataset, label_column="key").labels == tuple("54321")
    part = from_huggingface(dataset.select([4, 1]))
    np.testing.assert_array_equal(np.asarray(part.load(0)), arrays[4])
    copy = pickle.loads(pickle.dumps(images))  # noqa: S301  our own object
    np.testing.assert_array_equal(np.asarray(copy.load(3)), arrays[3])


def test_the_hash_is_that_of_the_file(rows, tmp_path: Path) -> None:
    dataset, arrays, _ = rows
    hashes = from_huggingface(dataset).content_hashes()
    assert hashes[4] == from_files([tmp_path / "file.png"]).content_hashes()[0]
    assert len(set(hashes)) == 5
    # A dataset of another make, which gives decoded images.
    plain = Plain([{"image": Image.fromarray(array)} for array in arrays])
    images = from_huggingface(plain)
    assert images.labels is None
    assert len(set(images.content_hashes())) == 5
    np.testing.assert_array_equal(np.asarray(images.load(1)), arrays[1])


class Plain:
    """The least that a dataset offers."""

    column_names = ("image",)
    features = {"image": type("Image", (), {})()}  # noqa: RUF012

    def __init__(self, rows: list) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict:
        return self.rows[i]


def test_the_texts_of_a_dataset(rows) -> None:
    dataset, _, _ = rows
    texts = from_huggingface(dataset, "caption")
    assert isinstance(texts, TextSet)
    assert texts.texts == tuple("abcde")
    assert texts.ids[0] == "text-0"
    assert texts.labels[:2] == ("cat", "dog")
    assert as_stimuli(dataset.remove_columns("photo")).texts == tuple("abcde")


def test_broken_rows_and_missing_labels(rows, tmp_path: Path) -> None:
    dataset, arrays, datasets = rows
    stored = io.BytesIO()
    Image.fromarray(arrays[0]).save(stored, "PNG")
    content = {
        "photo": [{"bytes": stored.getvalue()}, {"bytes": b"text"}, None],
        "label": [1, -1, 0],
    }
    features = {name: dataset.features[name] for name in content}
    broken = datasets.Dataset.from_dict(content, features=datasets.Features(features))
    images = from_huggingface(broken)
    with pytest.raises(
        ValueError, match=r"2 cannot: image-1 \(column 'photo', row 1: not an image"
    ):
        images.check()
    assert list(images.broken(progress=False)) == [1, 2]
    (tmp_path / "0.png").write_bytes(stored.getvalue())
    as_file = from_files([tmp_path / "0.png"])
    assert images.subset([0]).content_hashes() == as_file.content_hashes()
    with pytest.raises(ValueError, match=r"label: .*1 have none: image-1"):
        _ = images.labels


def test_datasets_that_do_not_fit_are_refused(rows) -> None:
    dataset, _, datasets = rows
    splits = datasets.DatasetDict({"train": dataset, "test": dataset})
    for call in (as_stimuli, from_huggingface):
        with pytest.raises(
            TypeError, match=r"one split .*dictionary of train, test\. .*\['train'\]"
        ):
            call(splits)
        with pytest.raises(TypeError, match=r"rows to choose from.*without streaming=True"):
            call(dataset.to_iterable_dataset())
    with pytest.raises(UnknownNameError, match=r"unknown column 'foto'. Did you mean 'photo'"):
        from_huggingface(dataset, "foto")
    two = dataset.add_column("again", dataset["caption"]).remove_columns("photo")
    with pytest.raises(ValueError, match=r"got 0 and 2 among .*Name it with column="):
        as_stimuli(two)


# What else `as_stimuli` takes or refuses.


def test_strings_that_are_no_files_are_texts_perhaps(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"2 strings that are no files, such as 'a cat'\. For texts"
    ):
        as_stimuli(["a cat", "a dog. It barks"])
    with pytest.raises(FileNotFoundError, match=r"2 files, but 2 are missing: a\.png, b\.png"):
        as_stimuli(["a.png", "b.png"])
    (tmp_path / "captions.txt").write_text("a cat\n")
    with pytest.raises(TypeError, match=r"got a text file\. .*from_text_file.*order=.*from_frame"):
        as_stimuli(tmp_path / "captions.txt")
    captions = as_stimuli({"img": ["a cat", "an animal"], "other": "a dog"})
    assert captions.ids == from_texts({"img": ["a cat", "an animal"], "other": "a dog"}).ids
    assert captions.load(1) == "an animal"
    with pytest.raises(TypeError, match=r"got dict\. Make a set with .*from_texts"):
        as_stimuli({"img": 3})
    with pytest.raises(TypeError, match=r"got int\. Make a set with stimuli\.from_arrays"):
        as_stimuli(3)
    texts = from_texts(["a"])
    assert as_stimuli(texts) is texts
    with pytest.raises(ValueError, match="got none"):
        as_stimuli([])
