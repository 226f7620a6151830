"""Every common format and pixel type comes out as upright 8-bit RGB."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from isomorph.stimuli import from_arrays, from_files, from_folder, from_images
from isomorph.stimuli.colour import to_rgb


def picture(seed: int = 0, height: int = 12, width: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def load(path: Path) -> np.ndarray:
    return np.asarray(from_files([path]).load(0))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.apng", {"format": "PNG"}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("a.webp", {"lossless": True}),
        ("a.ppm", {}),
        ("a.jp2", {"irreversible": False}),
    ],
)
def test_lossless_formats_keep_every_pixel(tmp_path: Path, name: str, options: dict) -> None:
    array = picture()
    Image.fromarray(array).save(tmp_path / name, **options)
    assert from_folder(tmp_path).ids == (name,)
    np.testing.assert_array_equal(load(tmp_path / name), array)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.jfif", "a.webp", "a.gif", "a.avif"])
def test_lossy_formats_come_close(tmp_path: Path, name: str) -> None:
    ramp = np.linspace(0, 255, 64)
    array = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 128.0), -1).astype(np.uint8)
    Image.fromarray(array).save(tmp_path / name, **({} if name == "a.gif" else {"quality": 95}))
    found = from_folder(tmp_path).load(0)
    assert found.mode == "RGB"
    assert np.abs(np.asarray(found).astype(int) - array).mean() < 12


def test_of_several_pages_the_first_is_taken(tmp_path: Path) -> None:
    pages = [Image.fromarray(picture(seed)) for seed in range(3)]
    for name in ("pages.tif", "pages.gif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(load(tmp_path / "pages.tif"), picture(0))
    first = np.asarray(pages[0].convert("P").convert("RGB"))
    distances = [
        np.abs(load(tmp_path / "pages.gif").astype(int) - picture(s)).mean() for s in range(3)
    ]
    assert np.argmin(distances) == 0
    assert first.shape == load(tmp_path / "pages.gif").shape


def tiff_with(array: np.ndarray, **tags: int) -> io.BytesIO:
    """A TIFF of 16-bit greyscale, written field by field after TIFF 6.0, section 4."""
    import struct

    height, width = array.shape
    fields = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 0, 277: 1, 278: height}
    fields[279] = array.size * 2
    fields |= {int(tag.removeprefix("t")): value for tag, value in tags.items()}
    fields[273] = 8 + 2 + 12 * len(fields) + 4
    out = struct.pack("<2sHIH", b"II", 42, 8, len(fields))
    for tag, value in sorted(fields.items()):
        out += struct.pack("<HHII", tag, 4, 1, value)
    return io.BytesIO(out + struct.pack("<I", 0) + array.astype("<u2").tobytes())


def test_sixteen_bit_tiffs_know_which_end_is_white(tmp_path: Path) -> None:
    values = np.array([[0, 257, 128 * 257, 65535, 300]])
    expected = np.round(values / 257).astype(int)
    for photometric, wanted in ((1, expected), (0, 255 - expected)):
        path = tmp_path / f"{photometric}.tif"
        path.write_bytes(tiff_with(values, t262=photometric).getvalue())
        np.testing.assert_array_equal(load(path)[..., 0], wanted)
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(from_images([image]).load(0))[..., 0], wanted)


def test_twelve_bit_tiffs(tmp_path: Path) -> None:
    values = np.array([[0, 4095, 2048, 16]])
    first, second = values[0, ::2], values[0, 1::2]  # two pixels in three bytes
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1)
    content = tiff_with(values, t258=12, t279=6).getvalue()[: -values.size * 2]
    (tmp_path / "a.tif").write_bytes(content + packed.astype(np.uint8).tobytes())
    expected = np.round(values * 255 / 4095).astype(int)
    np.testing.assert_array_equal(load(tmp_path / "a.tif")[..., 0], expected)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("mode", ["L", "I;16", "RGB"])
def test_turned_tiffs_of_every_kind(tmp_path: Path, mode: str, compression: str | None) -> None:
    """Pillow scrambles some of these when it is given their path."""
    array = picture() if mode == "RGB" else picture()[..., 0]
    stored = array.astype(np.uint16) * 257 if mode == "I;16" else array
    path = tmp_path / "a.tif"
    Image.fromarray(stored).save(path, tiffinfo={274: 6}, compression=compression)
    found = load(path) if mode == "RGB" else load(path)[..., 0]
    np.testing.assert_array_equal(found, np.rot90(array, k=-1))


def test_sixteen_bit_tiffs_are_turned_upright(tmp_path: Path) -> None:
    values = np.arange(12).reshape(3, 4) * 257 * 20
    path = tmp_path / "turned.tif"
    path.write_bytes(tiff_with(values, t274=6).getvalue())
    np.testing.assert_array_equal(load(path)[..., 0], np.rot90(values // 257, k=-1))


@pytest.mark.parametrize(
    ("orientation", "restore"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_every_exif_orientation(tmp_path: Path, orientation: int, restore) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load(tmp_path / "a.png"), restore(picture()))


def test_cmyk_and_grey_with_alpha(tmp_path: Path) -> None:
    cmyk = np.zeros((1, 3, 4), np.uint8)
    cmyk[0, 1, 0] = 255  # cyan ink takes the red away
    cmyk[0, 2, 3] = 255  # black ink takes everything
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "a.tif")
    assert load(tmp_path / "a.tif")[0].tolist() == [[255, 255, 255], [0, 255, 255], [0, 0, 0]]
    grey = np.array([[[0, 255], [0, 0], [100, 255]]], np.uint8)
    Image.fromarray(grey, "LA").save(tmp_path / "b.png")
    assert load(tmp_path / "b.png")[0, :, 0].tolist() == [0, 255, 100]


def test_a_transparent_gif_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putdata([0, 1])
    image.save(tmp_path / "a.gif", transparency=0)
    assert load(tmp_path / "a.gif")[0].tolist() == [[255, 255, 255], [10, 20, 30]]


def test_floats_are_refused_with_a_remedy(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 1, 4, dtype=np.float32)[None]).save(tmp_path / "f.tiff")
    with pytest.raises(ValueError, match=r"values from 0 to 1: multiply by 255 and round"):
        load(tmp_path / "f.tiff")
    with pytest.raises(ValueError, match=r"from 0 to 1: multiply by 255"):
        to_rgb(Image.new("F", (2, 2)))


def test_eps_without_ghostscript_says_so(tmp_path: Path, monkeypatch) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.eps")
    images = from_folder(tmp_path)
    assert images.ids == ("a.eps",)
    monkeypatch.setattr(EpsImagePlugin, "has_ghostscript", lambda: False)
    for action in (images.check, lambda: images.load(0), lambda: images.verify(progress=False)):
        with pytest.raises(ValueError, match=r"Ghostscript.*Install it .* or convert .* to PNG"):
            action()


@pytest.mark.skipif(not EpsImagePlugin.has_ghostscript(), reason="no Ghostscript here")
def test_eps_is_drawn(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.eps")
    found = load(tmp_path / "a.eps")
    assert found.shape == picture().shape
    assert np.abs(found.astype(int) - picture()).mean() < 8


def test_arrays_without_a_channel_axis_are_grey() -> None:
    grey = picture(height=40)[..., 0]
    stack = np.stack([grey, 255 - grey])
    images = from_arrays(stack)
    assert len(images) == 2
    np.testing.assert_array_equal(np.asarray(images.load(1)), np.repeat(stack[1][..., None], 3, -1))


@pytest.mark.parametrize(
    ("array", "remedy"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), r"channels come first: move them last with np\.movea"),
        (np.zeros((2, 3, 8, 8), np.float32), r"Its channels come first: .*; multiply by 255, roun"),
        (
            np.zeros((2, 8, 8, 1), np.uint8),
            r"Take grey without an axis for channels: array\[\.\.\.",
        ),
        (np.zeros((2, 8, 8, 4), np.uint8), r"Lay transparent images on white"),
        (np.full((2, 8, 8, 3), 99.0), r"Scale to 0–255, round and convert"),
        (np.zeros((2, 8, 8, 3), np.int64), r"Scale to 0–255 and convert"),
        (np.zeros((2, 0, 8, 3), np.uint8), r"Give one array an image, channels last"),
        (np.zeros((224, 224, 3), np.uint8), r"looks like one image. Pass array\[None\]"),
    ],
)
def test_other_arrays_are_refused_with_a_remedy(array: np.ndarray, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        from_arrays(array)
