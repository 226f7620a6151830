"""Class folders, and the files that give an order."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isomorph.stimuli import as_stimuli, from_class_folders, from_folder, from_texts, write_order


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes; every image is of one colour, by which it is known."""
    root = tmp_path / "things"
    files = ["ox10/b2.png", "ox10/b10.png", "ox9/a.png", "ox9/more/c.jpg", "cat/1.png", "cat/2.png"]
    files += ["cat/10.png"]
    for i, name in enumerate(files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (10 * i, 0, 0)).save(root / name)
    (root / "ox9" / "notes.txt").write_text("no image")
    (root / ".git").mkdir()
    return root


IDS = ("cat/1.png", "cat/2.png", "cat/10.png", "ox9/a.png", "ox9/more/c.jpg", "ox10/b2.png")
IDS += ("ox10/b10.png",)


def test_class_folders_give_labels_in_natural_order(root: Path) -> None:
    images = from_class_folders(root)
    assert images.ids == IDS
    assert images.labels == ("cat",) * 3 + ("ox9",) * 2 + ("ox10",) * 2
    assert images.order_by_label().tolist() == list(range(7))
    assert np.asarray(images.load(5))[0, 0, 0] == 0
    assert np.asarray(images.load(6))[0, 0, 0] == 10
    assert "natural order" in images.origin
    assert as_stimuli(root).ids == images.ids
    assert as_stimuli(str(root)).labels == images.labels


def test_some_classes_and_some_of_each(root: Path) -> None:
    some = from_class_folders(root, classes=["ox10", "cat"], per_class=2, seed=1)
    assert some.labels == ("ox10", "ox10", "cat", "cat")
    assert some.ids == from_class_folders(root, classes=["ox10", "cat"]).per_class(2, 1).ids
    assert from_class_folders(root, per_class=1, seed=0).labels == ("cat", "ox9", "ox10")
    with pytest.raises(ValueError, match=r"3 or more images .* ox9 \(2\), ox10 \(2\)\. Ask for 2"):
        from_class_folders(root, per_class=3)
    with pytest.raises(
        ValueError, match=r"1 are not there or hold no image: cow\. It has cat, ox9"
    ):
        from_class_folders(root, classes=["cat", "cow"])


def test_folders_that_hold_no_classes_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"folders with images in .*got none.*use from_folder"):
        from_class_folders(root / "cat")
    with pytest.raises(FileNotFoundError, match="expected a folder of images"):
        from_class_folders(root / "nowhere")
    with pytest.raises(ValueError, match=r"no image.*not searched; from_class_folders takes one"):
        from_folder(root)


def test_what_lies_beside_the_classes_is_said(root: Path, caplog) -> None:
    (root / "empty").mkdir()
    Image.new("RGB", (4, 4)).save(root / "stray.png")
    with caplog.at_level(logging.WARNING):
        assert from_class_folders(root).ids == IDS
    assert "folders without images are no classes: empty" in caplog.text
    assert "1 images that lie beside the class folders are left out" in caplog.text
    # A folder that holds images itself is a plain folder, as before.
    assert as_stimuli(root).ids == ("stray.png",)


def test_an_order_is_written_and_read_back(root: Path, tmp_path: Path) -> None:
    images = from_class_folders(root)
    shuffled = images.subset([4, 0, 6, 2])
    path = write_order(shuffled, tmp_path / "out" / "file_names.txt")
    assert path.read_text() == "ox9/more/c.jpg\ncat/1.png\nox10/b10.png\ncat/10.png\n"
    again = from_folder(root, order=path)
    assert again.ids == shuffled.ids
    assert again.labels == shuffled.labels
    assert again.content_hashes() == shuffled.content_hashes()
    assert "in the order of file_names.txt" in again.origin
    with pytest.raises(ValueError, match=r"names of one line, got 'a\\nb'\. Give other ids="):
        write_order(from_texts(["x"], ids=["a\nb"]), tmp_path / "no.txt")


def test_the_order_file_of_thingsvision(root: Path, tmp_path: Path) -> None:
    """2.7.3 writes bare names for a flat folder, and whole paths for class folders."""
    flat = tmp_path / "file_names.txt"
    flat.write_text("2.png\n10.png\n1.png\n")
    images = from_folder(root / "cat", order=flat)
    assert images.ids == ("2.png", "10.png", "1.png")
    assert images.labels is None
    assert [np.asarray(images.load(i))[0, 0, 0] for i in range(3)] == [50, 60, 40]
    whole = tmp_path / "classes.txt"
    whole.write_text(f"{root}/ox10/b10.png\n{root}/cat/2.png\n")
    assert from_folder(root, order=whole).ids == ("ox10/b10.png", "cat/2.png")
    # The same file from another machine, or another system.
    whole.write_text("/home/lab/things/ox10/b10.png\r\nD:\\things\\cat\\2.png\r\n\r\n")
    elsewhere = from_folder(root, order=str(whole))
    assert elsewhere.ids == ("ox10/b10.png", "cat/2.png")
    assert elsewhere.labels == ("ox10", "cat")
    # As much of the path as there is decides, where a shorter end would mean another file.
    Image.new("RGB", (4, 4)).save(root / "2.png")
    assert from_folder(root, order=["cat/2.png"]).ids == ("cat/2.png",)
    assert from_folder(root, order=["/home/lab/things/cat/2.png"]).ids == ("cat/2.png",)
    assert from_folder(root, order=["/home/lab/2.png"]).ids == ("2.png",)
    (root / "cat" / "order.txt").write_text("10.png\n")
    assert from_folder(root / "cat", order="order.txt").ids == ("10.png",)


def test_real_thingsvision_agrees(root: Path, tmp_path: Path) -> None:
    source = pytest.importorskip("importlib.util").find_spec("thingsvision")
    if source is None:
        pytest.skip("thingsvision is not installed")
    helpers = Path(source.submodule_search_locations[0]) / "utils" / "data" / "helpers.py"
    # Its package imports TensorFlow; these functions need nothing of it.
    import importlib.util

    spec = importlib.util.spec_from_file_location("thingsvision_helpers", helpers)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = {name: i for i, name in enumerate(["cat", "ox10", "ox9"])}
    paths = module.make_class_dataset(str(root), str(tmp_path), classes)
    ours = from_folder(root, order=tmp_path / "file_names.txt")
    assert [str(root / name) for name in ours.ids] == paths
    module.make_instance_dataset(str(root / "cat"), str(tmp_path), ["2.png", "1.png"])
    assert from_folder(root / "cat", order=tmp_path / "file_names.txt").ids == ("2.png", "1.png")


def test_an_order_that_does_not_fit_is_refused(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "order.txt"
    path.write_text("1.png\n3.png\n4.png\n")
    with pytest.raises(FileNotFoundError, match=r"3 files in .*cat, but 2 that order.txt names are "
                       r"missing: 3\.png, 4\.png"):  # fmt: skip
        from_folder(root / "cat", order=path)
    path.write_text("1.png\n/other/1.png\n")
    with pytest.raises(
        ValueError, match=r"each file of .* once in order.txt, but 1 are named more"
    ):
        from_folder(root / "cat", order=path)
    path.write_text("\n")
    with pytest.raises(ValueError, match="one file name a line in order.txt, got none"):
        from_folder(root / "cat", order=path)
    with pytest.raises(FileNotFoundError, match="order: expected a text file at nowhere.txt"):
        from_folder(root / "cat", order="nowhere.txt")
    # An order cannot reach out of the folder.
    with pytest.raises(FileNotFoundError, match="1 that order= names are missing"):
        from_folder(root / "cat", order=["../ox9/a.png"])
