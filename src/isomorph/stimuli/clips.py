"""Reading the frames of one video file: their times, a choice of them, one after the other."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from isomorph.stimuli.colour import to_rgb
from isomorph.storage import hash_file

_OPEN_CLIPS = 8  # files that stay open for the next frame
_KEPT_FRAMES = 16  # decoded frames a clip keeps for threads that run behind


def clip_times(path: Path) -> np.ndarray:
    """Give the time of each frame of a video, and that of its end: (n_frames + 1,) seconds.

    The file's packets are read, not decoded.

    Raises
    ------
    ValueError
        If it is no video, or holds none.
    """
    if path.suffix.lower() == ".gif":
        with Image.open(path) as image:
            shown = [frame.info.get("duration", 0) for frame in ImageSequence.Iterator(image)]
        # Browsers show a frame without a time for a tenth of a second.
        return np.concatenate([[0], np.cumsum([(ms or 100) / 1000 for ms in shown])])
    with _opened(path) as container:
        stream = container.streams.video[0]
        base = float(stream.time_base)
        packets = []
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise ValueError(
                    f"a video that is damaged or breaks off after {len(packets)} frames"
                )
            start = packet.dts if packet.pts is None else packet.pts  # AVI files have no pts
            if start is not None and packet.size and not packet.is_discard:
                packets.append((start, packet.duration or 0))
        rate = stream.average_rate
    if not packets:
        raise ValueError("a video stream without frames")
    packets.sort()
    starts = np.array([start for start, _ in packets]) * base
    last = packets[-1][1] * base or (1 / float(rate) if rate else 0.04)
    return np.append(starts, starts[-1] + last) - starts[0]


def choose_frames(times: np.ndarray, n_frames: int | None, fps: float | None) -> np.ndarray:
    """Choose frames of a video.

    Parameters
    ----------
    times : ndarray
        (n + 1,) seconds at which its n frames begin, and its end.
    n_frames : int, optional
        This many: the middles of equal parts.
    fps : float, optional
        Those visible at 0, 1 / fps, 2 / fps … By default, without `n_frames` too, all.

    Returns
    -------
    ndarray
        Ascending positions. At a rate, a frame that stays for long is there more than once.

    Raises
    ------
    ValueError
        If there are fewer frames than asked for.

    Examples
    --------
    >>> choose_frames(np.arange(11) / 10, 2, None)
    array([2, 7])
    """
    n = len(times) - 1
    if n_frames is not None:
        if n_frames > n:
            raise ValueError(f"{n} frames where n_frames={n_frames} asks for more")
        return (2 * np.arange(n_frames) + 1) * n // (2 * n_frames)
    if fps is None:
        return np.arange(n)
    # A frame's time is rounded to the file's clock: what begins half a millisecond later counts.
    asked = np.arange(int(np.ceil((times[-1] - times[0]) * fps - 1e-3))) / fps
    if len(asked) > n:
        rate = n / (times[-1] - times[0])
        raise ValueError(f"{rate:.4g} frames a second where fps={fps:g} asks for more")
    return np.searchsorted(times[:-1] - times[0], asked + 5e-4, side="right") - 1


def decode(path: Path, chosen: np.ndarray) -> np.ndarray:
    """Decode frames of a video, given by ascending positions: (n, height, width, 3) uint8, RGB."""
    found: dict[int, np.ndarray] = {}
    wanted = set(chosen.tolist())
    with _frames(path) as running:
        for i, frame in enumerate(running):
            if i in wanted:
                found[i] = _as_array(frame)
            if len(found) == len(wanted):
                break
    if len(found) < len(wanted):
        raise ValueError(f"a video that breaks off: {len(found)} of {len(wanted)} frames decoded")
    shapes = {frame.shape for frame in found.values()}
    if len(shapes) > 1:
        raise ValueError(f"frames of different sizes: {sorted(shapes)}")
    return np.stack([found[i] for i in chosen.tolist()])


@dataclass
class Clip:
    """A video that is read frame after frame, with the last few kept; one thread at a time."""

    path: Path
    _lock: Any = field(default_factory=threading.Lock, repr=False)
    _running: Any = None
    _context: Any = None
    _next: int = 0
    _recent: OrderedDict[int, np.ndarray] = field(default_factory=OrderedDict, repr=False)

    def frame(self, position: int) -> np.ndarray:
        """Decode the frame at a position; those before it are decoded on the way."""
        with self._lock:
            if position in self._recent:
                return self._recent[position]
            if self._running is None or position < self._next:
                self.close()
                self._context = _frames(self.path)
                self._running, self._next = enumerate(self._context.__enter__()), 0
            for i, frame in self._running:
                self._next = i + 1
                # Close behind the one asked for are those that other threads will ask for.
                if i > position - _KEPT_FRAMES:
                    self._recent[i] = _as_array(frame)
                    if len(self._recent) > _KEPT_FRAMES:
                        self._recent.popitem(last=False)
                if i == position:
                    return self._recent[i]
            count = self._next
            self.close()
            raise ValueError(f"a video that breaks off after {count} frames")

    def close(self) -> None:
        """Close the file; the next frame opens it again."""
        if self._context is not None:
            self._context.__exit__(None, None, None)
        self._context = self._running = None


@dataclass
class Clips:
    """Videos that stay open between frames, the least recently used closed when many are."""

    _lock: Any = field(default_factory=threading.Lock, repr=False)
    _clips: OrderedDict[Path, Clip] = field(default_factory=OrderedDict, repr=False)
    _hashes: dict[Path, str] = field(default_factory=dict, repr=False)
    _left_behind: Any = field(default=None, repr=False)
    _process: int = field(default_factory=os.getpid)

    def frame(self, path: Path, position: int) -> np.ndarray:
        """Decode a frame of a video: (height, width, 3) uint8, RGB."""
        if self._process != os.getpid():
            # A forked process must not read on in its parent's files, nor wait for threads that
            # it does not have: neither for one that holds the lock, nor, by closing the files, for
            # those of the decoders.
            self._left_behind, self._clips = self._clips, OrderedDict()
            self._lock, self._process = threading.Lock(), os.getpid()
        with self._lock:
            clip = self._clips.pop(path, None) or Clip(path)
            self._clips[path] = clip
            if len(self._clips) > _OPEN_CLIPS:
                self._clips.popitem(last=False)  # closed when no thread holds it any more
        return clip.frame(position)

    def content_hash(self, path: Path) -> str:
        """Hash a file once for all its frames."""
        if path not in self._hashes:
            self._hashes[path] = hash_file(path)
        return self._hashes[path]

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file that holds a video."""
    import av
    from av.error import FFmpegError

    try:
        container = av.open(str(path))
    except FFmpegError as error:
        raise ValueError(f"not a video that can be read ({error.strerror})") from error
    try:
        if not container.streams.video:
            raise ValueError("a file without a video stream that can be read")
        yield container
    finally:
        container.close()


@contextmanager
def _frames(path: Path) -> Iterator[Iterator[Any]]:
    """Open a video to decode one frame after the other."""
    if path.suffix.lower() == ".gif":
        with Image.open(path) as image:
            yield ImageSequence.Iterator(image)
        return
    with _opened(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        yield container.decode(container.streams.video[0])


def _as_array(frame: Any) -> np.ndarray:
    """Give a decoded frame as (height, width, 3) uint8, upright."""
    if isinstance(frame, Image.Image):
        # A copy: Pillow draws the next frame into the same image.
        return np.asarray(to_rgb(frame.copy()))
    if frame.is_corrupt:
        raise ValueError(f"a damaged frame at {frame.time} s")
    array = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(array, turns)) if turns else array
