"""What all sets share: labels, groups, seeded subsets, and the check before long work."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from isomorph.stimuli import (
    ImageSet,
    from_arrays,
    from_files,
    from_folder,
    from_texts,
    from_zip,
    group_order,
)

RNG = np.random.default_rng(0)


def labelled(n: int = 40) -> ImageSet:
    arrays = np.random.default_rng(1).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    labels = np.random.default_rng(2).choice(["cat", "dog", "ox 10", "ox 9"], n)
    return from_arrays(arrays, metadata=pd.DataFrame({"label": labels}))


def test_labels_come_from_the_metadata() -> None:
    images = labelled()
    assert images.labels == tuple(images.metadata["label"])
    assert from_texts(["a", "b"]).labels is None
    texts = from_texts(["a", "b"]).with_labels([1, 2])
    assert texts.labels == ("1", "2")
    assert texts.metadata.columns.tolist() == ["stimulus_id", "label"]
    assert texts.with_labels(None).labels is None
    with pytest.raises(ValueError, match=r"labels: expected one label for each of the 2 .*got 3"):
        texts.with_labels("abc")
    gaps = from_arrays(
        np.zeros((3, 4, 4, 3), np.uint8), metadata=pd.DataFrame({"label": ["a", None, "b"]})
    )
    with pytest.raises(ValueError, match=r"1 have none: image-1\. Leave them out"):
        _ = gaps.labels


def test_a_sample_is_seeded_and_keeps_the_order() -> None:
    images = labelled()
    first, again, other = images.sample(7, 3), images.sample(7, 3), images.sample(7, 4)
    assert first.ids == again.ids != other.ids
    positions = [images.position(name) for name in first.ids]
    assert positions == sorted(set(positions))
    assert len(first) == 7
    assert "7 of seed 3" in first.origin
    assert images.sample(40, 0).ids == images.ids
    # Every stimulus has its chance: each of 40 is drawn in 2000 samples of 10 about 500 times.
    counts = np.zeros(40)
    for seed in range(2000):
        counts[[images.position(name) for name in images.sample(10, seed).ids]] += 1
    assert (np.abs(counts - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)).all()
    for n in (0, 41):
        with pytest.raises(ValueError, match=f"n: expected 1 to 40, the number of .*got {n}"):
            images.sample(n, 0)


def test_n_of_each_class_in_the_original_order() -> None:
    images = labelled()
    few = images.per_class(3, seed=5)
    assert few.metadata["label"].value_counts().to_dict() == dict.fromkeys(set(images.labels), 3)
    positions = [images.position(name) for name in few.ids]
    assert positions == sorted(set(positions))
    assert few.ids == images.per_class(3, seed=5).ids
    assert few.ids != images.per_class(3, seed=6).ids
    # What is drawn of one class does not depend on which others there are.
    cats = np.array([label == "cat" for label in images.labels])
    without_dogs = images.subset(np.array([label != "dog" for label in images.labels]))
    drawn = [name for name in few.ids if cats[images.position(name)]]
    again = without_dogs.per_class(3, seed=5)
    assert [n for n, label in zip(again.ids, again.labels, strict=True) if label == "cat"] == drawn
    # And of classes of one size not the same places are drawn.
    even = from_arrays(np.zeros((80, 2, 2, 3), np.uint8)).with_labels([i // 10 for i in range(80)])
    places = [even.position(name) % 10 for name in even.per_class(2, seed=5).ids]
    assert len({tuple(places[i : i + 2]) for i in range(0, 16, 2)}) > 3
    with pytest.raises(ValueError, match=r"label: expected a class .* from_class_folders"):
        from_texts(["a"]).per_class(1, 0)
    with pytest.raises(ValueError, match=r"30 or more images in each of the 4 classes, but 4 have"):
        images.per_class(30, 0)
    small = min(images.metadata["label"].value_counts())
    with pytest.raises(ValueError, match=rf"fewer: .*\({small}\).*Ask for {small} or fewer"):
        images.per_class(small + 1, 0)


def test_positions_by_class_in_natural_order() -> None:
    images = labelled()
    order = images.order_by_label()
    rank = {"cat": 0, "dog": 1, "ox 9": 2, "ox 10": 3}
    expected = sorted(range(40), key=lambda i: (rank[images.labels[i]], i))
    assert order.tolist() == expected
    assert images.subset(order).labels == tuple(images.labels[i] for i in expected)


def test_groups_need_not_be_contiguous() -> None:
    names, index = group_order(["b", "a", "b", "c", "a"])
    assert names == ("b", "a", "c")
    assert index.tolist() == [0, 1, 0, 2, 1]
    assert index.dtype == np.int64
    labels = RNG.integers(0, 9, 200).tolist()
    names, index = group_order(labels)
    assert [names[i] for i in index] == labels
    assert len(set(names)) == len(names)
    grouped = labelled(4).with_groups([1, 2, 1, 2])
    assert grouped.groups == (1, 2, 1, 2)
    assert grouped.subset([3, 0]).groups == (2, 1)
    assert grouped.with_groups(None).groups is None
    with pytest.raises(ValueError, match="groups: expected one label for each of the 4"):
        grouped.with_groups([1])


# The check before long work.


def write(folder: Path, n: int) -> list[Path]:
    paths = [folder / f"{i}.png" for i in range(n)]
    for path in paths:
        Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(path)
    return paths


def test_the_check_finds_what_is_missing_empty_or_no_image(tmp_path: Path) -> None:
    paths = write(tmp_path, 6)
    images = from_folder(tmp_path)
    images.check()
    paths[1].write_bytes(b"")
    paths[2].write_text("text")
    paths[3].unlink()
    paths[4].unlink()
    paths[4].mkdir()
    with pytest.raises(ValueError) as caught:
        images.check()
    message = str(caught.value)
    assert "expected 6 images that can be read, but 4 cannot" in message
    assert "1.png: an empty file" in message
    assert "2.png: not an image in a known format" in message
    assert "3.png: No such file or directory" in message
    assert "4.png: Is a directory" in message
    assert "Replace these files, or leave them out" in message
    images.subset([0, 5]).check()


def test_the_check_decodes_nothing_and_broken_everything(tmp_path: Path) -> None:
    paths = write(tmp_path, 4)
    whole = paths[2].read_bytes()
    paths[2].write_bytes(whole[: len(whole) // 2])
    images = from_folder(tmp_path)
    images.check()
    found = images.broken(progress=False)
    assert list(found) == [2]
    assert "2.png: " in found[2]
    paths[0].write_bytes(b"")
    assert list(images.broken(progress=False)) == [0, 2]
    kept = images.subset([i for i in range(4) if i not in images.broken(progress=False)])
    assert kept.ids == ("1.png", "3.png")
    kept.verify(progress=False)
    assert kept.broken(progress=False) == {}


def test_the_check_shows_up_to_five(tmp_path: Path) -> None:
    for path in write(tmp_path, 8):
        path.write_bytes(b"")
    images = from_folder(tmp_path)
    with pytest.raises(ValueError, match=r"but 8 cannot: 0\.png .*4\.png .*; and 3 more\.") as e:
        images.check()
    assert "5.png" not in str(e.value)


def test_the_check_reads_archives_and_pixel_types(tmp_path: Path) -> None:
    import zipfile

    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tiff")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "float.tiff", "float.tiff")
        archive.writestr("empty.png", b"")
    with pytest.raises(ValueError, match=r"2 cannot: empty.png .*an empty file.*mode 'F'"):
        from_zip(tmp_path / "a.zip").check()
    pillow = [Image.new("F", (2, 2))]
    from isomorph.stimuli import from_images

    with pytest.raises(ValueError, match=r"1 cannot: image-0 \(a Pillow image: .*mode 'F'"):
        from_images(pillow).check()
    labelled().check()
    from_texts(["a"]).check()


def test_sets_survive_pickling(tmp_path: Path) -> None:
    images = from_files(write(tmp_path, 3)).with_labels("aab").with_groups([1, 1, 2])
    copy = pickle.loads(pickle.dumps(images))  # noqa: S301  our own object
    assert copy.ids == images.ids
    assert copy.labels == images.labels
    assert copy.groups == images.groups
    assert copy.content_hashes() == images.content_hashes()
    assert copy.kind == "image"
