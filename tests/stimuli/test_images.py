"""Image sets: order, names, conversion to RGB, and errors that say what to do."""

from __future__ import annotations

import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from isomorph.registry import UnknownNameError
from isomorph.stimuli import (
    ImageSet,
    as_stimuli,
    from_arrays,
    from_files,
    from_folder,
    from_images,
    from_zip,
    natural_key,
)
from isomorph.stimuli.sources import to_rgb


def pixels(n: int, size: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def write_folder(folder: Path, names: list[str], seed: int = 0) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = pixels(len(names), seed=seed)
    for name, array in zip(names, arrays, strict=True):
        Image.fromarray(array).save(folder / name)
    return arrays


def write_zip(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"images/{file.name}")
    return path


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    names = ["img10.png", "img2.png", "img1.PNG", "b.bmp"]
    arrays = write_folder(tmp_path, names)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    images = from_folder(tmp_path)
    assert images.ids == ("b.bmp", "img1.PNG", "img2.png", "img10.png")
    assert "natural order" in repr(images)
    for i, name in enumerate(images.ids):
        np.testing.assert_array_equal(np.asarray(images.load(i)), arrays[names.index(name)])
    assert images.metadata["stimulus_id"].tolist() == list(images.ids)
    assert images.metadata.index.tolist() == [0, 1, 2, 3]


def test_natural_order_equals_order_by_number() -> None:
    numbers = np.random.default_rng(0).permutation(2000)[:200].tolist()
    names = [f"face_{number}.jpg" for number in numbers]
    assert sorted(names, key=natural_key) == [f"face_{number}.jpg" for number in sorted(numbers)]


def test_natural_order_does_not_depend_on_where_it_starts() -> None:
    names = ["a1", "a01", "A1", "1a", "a", "a1b", "a1b2"]
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_folder_zip_files_and_paths_give_the_same_set(tmp_path: Path) -> None:
    write_folder(tmp_path / "faces", ["f2.png", "f10.png", "f1.png"])
    archive = write_zip(tmp_path / "faces.zip", tmp_path / "faces")
    folder = from_folder(tmp_path / "faces")
    paths = [tmp_path / "faces" / name for name in folder.ids]
    for other in (from_zip(archive), as_stimuli(archive), from_files(paths), as_stimuli(paths)):
        assert other.ids == folder.ids
        assert other.content_hashes() == folder.content_hashes()
        for i in range(3):
            np.testing.assert_array_equal(np.asarray(other.load(i)), np.asarray(folder.load(i)))


def test_content_hashes_follow_content_and_not_names(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", ["x.png", "y.png"], seed=1)
    write_folder(tmp_path / "b", ["p.png", "q.png"], seed=1)
    write_folder(tmp_path / "c", ["x.png", "y.png"], seed=2)
    first, second, third = (from_folder(tmp_path / name).content_hashes() for name in "abc")
    assert first == second
    assert len({*first, *third}) == 4
    arrays = pixels(3)
    assert len(set(from_arrays(arrays).content_hashes())) == 3
    assert from_arrays(arrays).content_hashes() == from_arrays(list(arrays)).content_hashes()


def test_a_zip_is_read_from_many_threads_and_survives_pickling(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(40)]
    arrays = write_folder(tmp_path / "many", names)
    images = from_zip(write_zip(tmp_path / "many.zip", tmp_path / "many"))
    copy = pickle.loads(pickle.dumps(images))  # noqa: S301  our own object
    with ThreadPoolExecutor(8) as pool:
        for read in (images.load, copy.load):
            found = list(pool.map(read, list(range(40)) * 3))
            for k, image in enumerate(found):
                np.testing.assert_array_equal(np.asarray(image), arrays[k % 40])


def test_chosen_members_of_a_zip_keep_their_order(tmp_path: Path) -> None:
    write_folder(tmp_path / "f", ["a.png", "b.png", "c.png"])
    archive = write_zip(tmp_path / "f.zip", tmp_path / "f")
    assert from_zip(archive, ["images/c.png", "images/a.png"]).ids == ("c.png", "a.png")
    with pytest.raises(ValueError, match=r"expected 2 members .* 1 are not there: images/z\.png"):
        from_zip(archive, ["images/z.png", "images/a.png"])


def test_subset_keeps_ids_images_metadata_and_groups() -> None:
    arrays = pixels(5)
    images = from_arrays(arrays, ids="abcde", metadata=pd.DataFrame({"size": range(5)}))
    images = ImageSet(images.ids, images.sources, images.metadata, groups=(0, 0, 1, 1, 2))
    part = images.subset([3, 0])
    assert part.ids == ("d", "a")
    assert part.groups == (1, 0)
    assert part.metadata["size"].tolist() == [3, 0]
    assert part.metadata.index.tolist() == [0, 1]
    np.testing.assert_array_equal(np.asarray(part.load(1)), arrays[0])
    assert images.subset(np.array([False, True, False, False, True])).ids == ("b", "e")
    with pytest.raises(IndexError, match="positions from 0 to 4, got 2 to 5"):
        images.subset([2, 5])
    with pytest.raises(ValueError, match=r"a mask of shape \(5,\), got \(2,\)"):
        images.subset(np.array([True, False]))
    with pytest.raises(ValueError, match="one or more whole numbers"):
        images.subset([])


def test_as_stimuli_takes_what_holds_images(tmp_path: Path) -> None:
    arrays = write_folder(tmp_path / "f", ["a.png", "b.png"])
    one_file = tmp_path / "f" / "a.png"
    pillow = [Image.fromarray(array) for array in arrays]
    given = as_stimuli(pillow)
    assert as_stimuli(given) is given
    for source in (tmp_path / "f", str(tmp_path / "f"), arrays, list(arrays), pillow, [one_file]):
        images = as_stimuli(source)
        np.testing.assert_array_equal(np.asarray(images.load(0)), arrays[0])
    assert as_stimuli(one_file).ids == ("a.png",)
    assert given.ids == ("image-0", "image-1")
    with pytest.raises(TypeError, match=r"expected an ImageSet, a folder.*got dict"):
        as_stimuli({"a": 1})


def test_a_stimulus_is_found_by_its_id() -> None:
    images = from_arrays(pixels(3), ids=["cat.png", "dog.png", "cow.png"])
    assert images.position("dog.png") == 1
    with pytest.raises(UnknownNameError, match=r"unknown stimulus 'cat\.jpg'.*'cat\.png'"):
        images.position("cat.jpg")


# Conversion to 8-bit RGB, against arithmetic done by hand.


def test_transparency_is_laid_on_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0], rgba[0, :, 3] = 200, [0, 51, 255]
    found = np.asarray(to_rgb(Image.fromarray(rgba, "RGBA"))).astype(float)[0]
    share = np.array([0, 0.2, 1])[:, None]
    expected = share * np.array([200, 0, 0]) + (1 - share) * 255
    np.testing.assert_allclose(found, expected, atol=1)


def test_a_palette_with_a_transparent_entry_is_laid_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putdata([0, 1])
    image.info["transparency"] = 0
    assert np.asarray(to_rgb(image))[0].tolist() == [[255, 255, 255], [10, 20, 30]]


def test_sixteen_bits_become_eight_by_rounding(tmp_path: Path) -> None:
    values = np.array([[0, 257, 128 * 257, 65535, 300]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = np.asarray(from_folder(tmp_path).load(0))[0, :, 0]
    np.testing.assert_array_equal(found, np.round(values[0] / 257).astype(int))


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "YCbCr", "LA", "RGBA", "P"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(pixels(1)[0]).convert(mode)
    assert to_rgb(image).mode == "RGB"
    assert to_rgb(image).size == image.size


def test_grey_has_three_equal_channels() -> None:
    grey = pixels(1)[0, :, :, 0]
    found = np.asarray(from_arrays([grey]).load(0))
    np.testing.assert_array_equal(found, np.repeat(grey[:, :, None], 3, axis=2))


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    array = np.zeros((4, 8, 3), np.uint8)
    array[:, :4] = 255  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90° clockwise
    Image.fromarray(array).save(tmp_path / "turned.png", exif=exif)
    found = np.asarray(from_folder(tmp_path).load(0))
    np.testing.assert_array_equal(found, np.rot90(array, k=-1))


def test_pixels_of_unknown_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(ValueError, match=r"mode 'F', whose range is not known.*8 bits a channel"):
        from_folder(tmp_path).load(0)


def test_wide_integers_must_show_whether_they_have_eight_bits_or_sixteen(tmp_path: Path) -> None:
    values = np.array([[0, 100, 255]])
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "dark.tiff")
    with pytest.raises(
        ValueError, match=r"up to 255: 8 or 16 bits\? Save .* \('L'\) or 16-bit \('I;1"
    ):
        from_folder(tmp_path).load(0)
    wide = to_rgb(Image.fromarray((values * 257).astype(np.int32)))
    assert np.asarray(wide)[0, :, 0].tolist() == [0, 100, 255]
    # Sixteen bits that say so may be as dark as they like.
    narrow = to_rgb(Image.fromarray(values.astype(np.uint16)))
    assert np.asarray(narrow)[0, :, 0].tolist() == [0, 0, 1]


# Bad input.


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a folder of images at .*nowhere, got nothing"):
        from_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"a folder of images at .*nowhere, got nothing"):
        as_stimuli(str(tmp_path / "nowhere"))


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write_folder(tmp_path / "more", ["a.png"])
    with pytest.raises(ValueError, match=r"1 other entries and no image.*Folders inside it"):
        from_folder(tmp_path)


def test_missing_files_are_listed(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a.png", "b.png"])
    paths = [tmp_path / name for name in ("a.png", "c.png", "b.png")]
    with pytest.raises(FileNotFoundError, match=r"3 files, but 1 are missing: .*c\.png"):
        from_files(paths)


def test_two_stimuli_with_one_name_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "one", ["a.png", "b.png"])
    write_folder(tmp_path / "two", ["a.png"])
    paths = [*(tmp_path / "one").iterdir(), *(tmp_path / "two").iterdir()]
    with pytest.raises(ValueError, match=r"1 are there more than once: a\.png\. .*ids="):
        from_files(paths)
    assert len(from_files(paths, ids=["x", "y", "z"])) == 3
    with pytest.raises(ValueError, match="2 are there more than once: a, b"):
        from_arrays(pixels(4), ids=list("abab"))


def test_images_that_cannot_be_decoded_are_found_in_one_go(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(10)]
    write_folder(tmp_path, names)
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "5.png").write_bytes(b"")
    (tmp_path / "7.png").write_text("text")
    images = from_folder(tmp_path)
    with pytest.raises(ValueError, match=r"10 images .* but 3 cannot: 3\.png \(.*3\.png: .*7\.png"):
        images.verify(progress=False)
    with pytest.raises(
        ValueError, match=r"stimulus '7\.png'.*not an image in a known format.*7\.p"
    ):
        images.load(7)
    images.subset([0, 1, 2]).verify(progress=False)


def test_at_most_five_broken_images_are_shown(tmp_path: Path) -> None:
    for i in range(8):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"8 cannot: 0\.png .*4\.png .*; and 3 more\. Replace"
    ) as e:
        from_folder(tmp_path).verify(progress=False)
    assert "5.png" not in str(e.value)


def test_a_corrupt_member_of_a_zip_is_found(tmp_path: Path) -> None:
    write_folder(tmp_path / "f", ["a.png", "b.png", "c.png"])
    archive = write_zip(tmp_path / "f.zip", tmp_path / "f")
    content = bytearray(archive.read_bytes())
    at = content.index((tmp_path / "f" / "b.png").read_bytes())
    content[at + 60] ^= 0xFF
    archive.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"1 cannot: b\.png \(.*f\.zip:images/b\.png: Bad CRC-32"):
        from_zip(archive).verify(progress=False)


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.zip").write_text("text")
    with pytest.raises(
        ValueError, match=r"expected a zip file .* cannot be read .* Fetch it again"
    ):
        from_zip(tmp_path / "f.zip")
    with pytest.raises(FileNotFoundError, match="expected a zip file at"):
        from_zip(tmp_path / "g.zip")
    with zipfile.ZipFile(tmp_path / "h.zip", "w") as archive:
        archive.writestr("readme.txt", "text")
    with pytest.raises(ValueError, match=r"expected images in .*got 1 other members"):
        from_zip(tmp_path / "h.zip")


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 4, 4, 3)), np.zeros((2, 3, 4, 4), np.uint8), np.zeros((2, 4, 4, 4), np.uint8)],
)
def test_arrays_of_another_kind_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(height, width, 3\) and dtype uint8, got .* at positi"):
        from_arrays(array)


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2 ids for 3 images"):
        from_arrays(pixels(3), ids=["a", "b"])
    with pytest.raises(ValueError, match="one row for each of the 3 stimuli, got 2"):
        from_arrays(pixels(3), metadata=pd.DataFrame({"x": [1, 2]}))
    with pytest.raises(ValueError, match="stimulus_id to hold the ids in their order"):
        from_arrays(pixels(2), ["a", "b"], metadata=pd.DataFrame({"stimulus_id": ["b", "a"]}))
    with pytest.raises(ValueError, match="one label for each of the 2 stimuli, got 1"):
        ImageSet(("a", "b"), from_arrays(pixels(2)).sources, groups=("g",))
    with pytest.raises(ValueError, match="expected one or more images, got none"):
        from_images([])


def test_real_photographs_are_read(data_folder: Path) -> None:
    images = from_folder(data_folder / "photos")
    assert len(images) == 6
    images.verify(progress=False)
    for i, name in enumerate(images.ids):
        with Image.open(data_folder / "photos" / name) as original:
            np.testing.assert_array_equal(
                np.asarray(images.load(i)), np.asarray(original.convert("RGB"))
            )
