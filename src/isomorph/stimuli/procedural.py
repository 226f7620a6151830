"""Images drawn from a seed: gratings, textures, shapes and mixtures of them, without any data."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy import fft

from isomorph.stimuli.images import ImageSet
from isomorph.stimuli.sources import DrawnSource

VERSION = 1  # a change of what a seed draws needs a new one
_KINDS = ("grating", "plaid", "checkerboard", "texture", "camouflage", "shapes", "composite")
_WEIGHTS = (0.15, 0.09, 0.08, 0.21, 0.11, 0.18, 0.18)
_SHARPER = 2  # shapes are drawn this many times larger, then averaged down: smooth edges


def procedural_images(n: int, *, seed: int, size: int = 224) -> ImageSet:
    """Draw a varied set of images: gratings, plaids, checkerboards, textures, shapes, mixtures.

    Their variety (orientation, spatial frequency, phase, contrast, colour, contour, layout) makes
    the layers of a network differ in what they represent, as photographs do, with nothing to
    download. Textures have 1/f^a spectra, like natural scenes (Field 1987).

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Image i depends on (seed, i) alone: 100 images are the first 100 of 200.
    size : int
        Width and height in pixels.

    Returns
    -------
    ImageSet
        Ids such as ``texture-0007``; the metadata column ``kind`` names the generator.

    Examples
    --------
    >>> images = procedural_images(3, seed=0, size=64)
    >>> images.load(0).size
    (64, 64)
    """
    if n < 1 or size < 8:
        raise ValueError(
            f"procedural images: expected n of 1 or more and a size of 8 pixels or more, got "
            f"n={n}, size={size}."
        )
    kinds = [_begin(seed, i)[1] for i in range(n)]
    ids = tuple(f"{kind}-{i:04d}" for i, kind in enumerate(kinds))
    return ImageSet(
        ids=ids,
        sources=tuple(
            DrawnSource(draw_image, (seed, i, size), f"seed {seed}, image {i}") for i in range(n)
        ),
        metadata=pd.DataFrame({"kind": kinds}),
        origin=f"drawn from seed {seed}, {size} × {size} pixels, version {VERSION}",
    )


def draw_image(seed: int, i: int, size: int = 224) -> np.ndarray:
    """Draw image `i` of a seed: (size, size, 3) uint8."""
    rng, kind = _begin(seed, i)
    return _to_uint8(_GENERATORS[kind](rng, size))


def _begin(seed: int, i: int) -> tuple[np.random.Generator, str]:
    """Choose the kind of image i; the generator then goes on to draw it."""
    rng = np.random.default_rng([VERSION, seed, i])
    # Drawn and not cycled: a cycle would give even and odd stimuli different kinds.
    return rng, _KINDS[rng.choice(len(_KINDS), p=_WEIGHTS)]


def _to_uint8(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)


def _palette(rng: np.random.Generator, n: int) -> np.ndarray:
    """Choose n colours that differ in lightness, hues in a random harmony: (n, 3) in 0–1."""
    base = rng.random()
    spread = rng.choice([0.06, 0.33, 0.5])
    grey = rng.random() < 0.15
    lightness = rng.permutation(np.linspace(0.12, 0.95, n) + rng.uniform(-0.08, 0.08, n))
    colours = []
    for k in range(n):
        hue = (base + spread * k + rng.normal(0, 0.02)) % 1
        saturation = 0.0 if grey else rng.uniform(0.2, 0.9)
        value = float(np.clip(lightness[k], 0, 1))
        colours.append(colorsys.hls_to_rgb(hue, 0.1 + 0.8 * value, saturation))
    return np.asarray(colours, dtype=np.float32)


def _blend(mix: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Colour a map of 0–1 along a path through the colours: (h, w) → (h, w, 3)."""
    table = np.linspace(0, 1, 256, dtype=np.float32)
    stops = np.linspace(0, 1, len(colours))
    lookup = np.stack([np.interp(table, stops, colours[:, c]) for c in range(3)], axis=1)
    return lookup.astype(np.float32)[np.clip(mix * 255 + 0.5, 0, 255).astype(np.uint8)]


def _axes(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Give pixel coordinates from −.5 to .5 that broadcast: (1, size) and (size, 1)."""
    line = ((np.arange(size, dtype=np.float32) + 0.5) / size) - np.float32(0.5)
    return line[None, :], line[:, None]


def _cycles(rng: np.random.Generator, low: float = 2.0, high: float = 28.0) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _wave(rng: np.random.Generator, size: int, *, linear: bool = False) -> np.ndarray:
    """Draw one sine-like wave in −1 to 1: straight, concentric, spiral or fan."""
    x, y = _axes(size)
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    form = "straight" if linear else rng.choice(["straight", "straight", "rings", "spiral", "fan"])
    if form == "straight":
        cycles = _cycles(rng)
        argument = 2 * np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)) + phase
    else:
        x, y = x - rng.uniform(-0.3, 0.3), y - rng.uniform(-0.3, 0.3)
        radius, polar = np.hypot(x, y), np.arctan2(y, x)
        rings = 2 * np.pi * _cycles(rng, 3, 20) * radius
        arms = int(rng.integers(2, 13))
        argument = (
            phase
            + {
                "rings": rings,
                "spiral": rings + int(rng.integers(1, 6)) * polar,
                "fan": arms * polar,
            }[str(form)]
        )
    wave = np.sin(argument.astype(np.float32))
    if rng.random() < 0.4:  # towards a square wave
        wave = np.tanh(wave * rng.uniform(2, 8))
    return wave


def _grating(rng: np.random.Generator, size: int) -> np.ndarray:
    mix = 0.5 + 0.5 * rng.uniform(0.25, 1) * _wave(rng, size)
    if rng.random() < 0.35:  # a Gabor patch: the wave under a soft window
        x, y = _axes(size)
        cx, cy = rng.uniform(-0.2, 0.2, 2)
        window = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * rng.uniform(0.08, 0.25) ** 2))
        mix = 0.5 + (mix - 0.5) * window
    return _blend(mix, _palette(rng, int(rng.integers(2, 4))))


def _plaid(rng: np.random.Generator, size: int) -> np.ndarray:
    first, second = _wave(rng, size, linear=True), _wave(rng, size, linear=True)
    share = rng.uniform(0.3, 0.7)
    mix = share * first + (1 - share) * second if rng.random() < 0.6 else first * second
    return _blend(0.5 + 0.5 * mix, _palette(rng, int(rng.integers(2, 5))))


def _checkerboard(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = _axes(size)
    angle = rng.choice([0.0, rng.uniform(0, np.pi)])
    cells = _cycles(rng, 3, 24)
    u = (x * np.cos(angle) + y * np.sin(angle)) * cells + rng.random()
    v = (y * np.cos(angle) - x * np.sin(angle)) * cells * rng.uniform(0.5, 1.5) + rng.random()
    if rng.random() < 0.35:  # bent lines
        u = u + rng.uniform(0.2, 0.8) * np.sin(2 * np.pi * rng.uniform(1, 3) * y)
    u, v = np.broadcast_arrays(np.floor(u).astype(np.int64), np.floor(v).astype(np.int64))
    if rng.random() < 0.6:
        return _palette(rng, 2)[(u + v) % 2]
    # A mosaic: every cell takes a colour of its own.
    table = rng.integers(0, 5, size=(64, 64))
    return _palette(rng, 5)[table[u % 64, v % 64]]


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw noise with a 1/f^a spectrum, often of one band or orientation; mean 0, sd 1."""
    fy, fx = fft.fftfreq(size).astype(np.float32)[:, None], fft.rfftfreq(size).astype(np.float32)
    radius = np.hypot(fx, fy)
    radius[0, 0] = 1
    amplitude = radius ** -np.float32(rng.uniform(0.6, 2.2))
    if rng.random() < 0.5:  # one band of spatial frequencies
        centre = _cycles(rng, 3, 24) / size
        width = np.float32(rng.uniform(0.25, 0.7))
        amplitude = np.exp(-0.5 * (np.log(radius / np.float32(centre)) / width) ** 2)
    if rng.random() < 0.5:  # one orientation
        turn = np.arctan2(fy, fx) - np.float32(rng.uniform(0, np.pi))
        amplitude = amplitude * np.exp(np.float32(rng.uniform(0.5, 5)) * (np.cos(2 * turn) - 1))
    amplitude[0, 0] = 0
    parts = rng.standard_normal((2, *radius.shape), dtype=np.float32)
    field = np.asarray(fft.irfft2((parts[0] + 1j * parts[1]) * amplitude, s=(size, size)))
    return field / (field.std() + np.float32(1e-12))


def _texture(rng: np.random.Generator, size: int) -> np.ndarray:
    contrast = rng.uniform(0.15, 0.35)
    mix = 0.5 + contrast * _noise(rng, size)
    image = _blend(mix, _palette(rng, int(rng.integers(2, 5))))
    if rng.random() < 0.5:  # a second texture tints the first
        tint = _palette(rng, 1)[0] - np.float32(0.5)
        image = image + (np.float32(0.25) * _noise(rng, size))[:, :, None] * tint
    return image


def _camouflage(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw blobs: a texture cut into a few flat colours."""
    colours = _palette(rng, int(rng.integers(2, 6)))
    cuts = np.sort(rng.uniform(-1, 1, len(colours) - 1))
    return colours[np.searchsorted(cuts, _noise(rng, size))]


def _outline(rng: np.random.Generator, centre: np.ndarray, radius: float) -> np.ndarray:
    """Draw a closed contour: a polygon, a star, an ellipse or a soft blob; (k, 2) pixels."""
    form = rng.choice(["polygon", "star", "ellipse", "blob"])
    k = {"polygon": int(rng.integers(3, 8)), "star": 2 * int(rng.integers(4, 9))}.get(str(form), 72)
    turn = 2 * np.pi * np.arange(k) / k
    reach = np.ones(k)
    if form == "polygon":
        reach = rng.uniform(0.6, 1, k)
    elif form == "star":
        reach[1::2] = rng.uniform(0.3, 0.6)
    elif form == "blob":
        for harmonic in (2, 3, 5):
            reach = reach + rng.uniform(0, 0.25) * np.sin(harmonic * turn + rng.uniform(0, 6.3))
    points = np.stack([np.cos(turn), np.sin(turn) * rng.uniform(0.35, 1)], axis=1) * reach[:, None]
    angle = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return centre + radius * points @ rotation.T


def _place(rng: np.random.Generator, size: int) -> tuple[np.ndarray, float]:
    return rng.uniform(0.1, 0.9, 2) * size, rng.uniform(0.08, 0.34) * size


def _shapes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw flat shapes, some with an outline, before a flat or shaded background."""
    count = int(rng.integers(3, 10))
    colours = _palette(rng, count + 3)
    large = size * _SHARPER
    inks = [tuple(int(c) for c in colour) for colour in _to_uint8(colours)]
    canvas = Image.new("RGB", (large, large), inks[0])
    draw = ImageDraw.Draw(canvas)
    for k in range(count):
        centre, radius = _place(rng, large)
        points = [tuple(point) for point in _outline(rng, centre, radius)]
        edge = rng.random() < 0.4
        width = int(rng.integers(2, 6)) * _SHARPER * size // 224 or 1
        draw.polygon(points, fill=inks[k + 2], outline=inks[1] if edge else None, width=width)
    image = np.asarray(canvas.reduce(_SHARPER), dtype=np.float32) / 255
    if rng.random() < 0.5:  # light from one side
        x, y = _axes(size)
        angle = rng.uniform(0, 2 * np.pi)
        shade = 1 + rng.uniform(0.2, 0.7) * (x * np.cos(angle) + y * np.sin(angle))
        image = image * shade[:, :, None]
    return image


def _composite(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw shapes filled with a pattern before another pattern, some with a flat one in front."""
    patterns: tuple[Callable[..., np.ndarray], ...] = (_texture, _camouflage, _grating, _plaid)
    image = patterns[rng.choice(4, p=[0.5, 0.2, 0.2, 0.1])](rng, size)
    filling = patterns[rng.choice(4, p=[0.4, 0.2, 0.25, 0.15])](rng, size)
    image = _paint(rng, image, filling, count=int(rng.integers(1, 4)))
    if rng.random() < 0.4:
        image = _paint(rng, image, _palette(rng, 1)[0], count=1)
    return image


def _paint(
    rng: np.random.Generator, image: np.ndarray, filling: np.ndarray, *, count: int
) -> np.ndarray:
    """Lay a filling over an image inside the contours of `count` random shapes."""
    size = len(image)
    mask = Image.new("L", (size * _SHARPER, size * _SHARPER), 0)
    for _ in range(count):
        centre, radius = _place(rng, size * _SHARPER)
        points = [tuple(point) for point in _outline(rng, centre, radius)]
        ImageDraw.Draw(mask).polygon(points, fill=255)
    share = np.asarray(mask.reduce(_SHARPER), dtype=np.float32)[:, :, None] / 255
    return image + share * (filling - image)


_GENERATORS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "grating": _grating,
    "plaid": _plaid,
    "checkerboard": _checkerboard,
    "texture": _texture,
    "camouflage": _camouflage,
    "shapes": _shapes,
    "composite": _composite,
}
