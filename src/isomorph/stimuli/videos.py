"""`VideoSet`: an ordered, named set of videos, and the frames of videos as images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from PIL import Image

from isomorph.stimuli.clips import Clips, choose_frames, clip_times, decode
from isomorph.stimuli.images import ImageSet
from isomorph.stimuli.names import natural_key
from isomorph.stimuli.protocol import Kind
from isomorph.stimuli.readers import existing_files
from isomorph.stimuli.sets import SourceSet, in_threads
from isomorph.storage import hash_file, hash_json

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ogv", ".wmv", ".flv"),
    ".gif",
)


@dataclass(frozen=True)
class VideoSource:
    """A video file, and which of its frames are shown."""

    path: Path
    n_frames: int | None = None
    fps: float | None = None

    @property
    def where(self) -> str:
        return str(self.path)

    def chosen(self) -> np.ndarray:
        """Give the positions of the frames that are shown."""
        return choose_frames(clip_times(self.path), self.n_frames, self.fps)

    def read(self) -> np.ndarray:
        return decode(self.path, self.chosen())

    def check(self) -> None:
        """Read the file's index: that there is a video with enough frames in it."""
        if self.path.stat().st_size == 0:
            raise ValueError("an empty file")
        self.chosen()

    def content_hash(self) -> str:
        stored = hash_file(self.path)
        if self.n_frames is None and self.fps is None:
            return stored
        return hash_json([stored, self.n_frames, self.fps])


@dataclass(frozen=True)
class FrameSource:
    """One frame of a video file."""

    clips: Clips
    path: Path
    frame: int

    @property
    def where(self) -> str:
        return f"{self.path}, frame {self.frame}"

    def read(self) -> Image.Image:
        return Image.fromarray(self.clips.frame(self.path, self.frame))

    def check(self) -> None:
        """Look whether the file is still there; its frames were counted when the set was made."""
        self.path.stat()

    def content_hash(self) -> str:
        return hash_json([self.clips.content_hash(self.path), self.frame])


@dataclass(frozen=True, eq=False, repr=False)
class VideoSet(SourceSet):
    """An ordered set of named videos; nothing is decoded before it is asked for.

    Make one with `from_videos`. The parameters are those of `ImageSet`. For models of single
    images, `frames` makes an `ImageSet` of the frames.

    Examples
    --------
    >>> videos = from_videos("clips/", n_frames=16)  # doctest: +SKIP
    >>> videos.load(0).shape  # doctest: +SKIP
    (16, 360, 640, 3)
    """

    kind: ClassVar[Kind] = "video"

    def load(self, i: int) -> np.ndarray:
        """Decode video `i`: (n_frames, height, width, 3) uint8, RGB.

        Raises
        ------
        ValueError
            If it cannot be decoded; names the stimulus and the file.
        """
        return super().load(i)


def from_videos(
    paths: str | Path | Iterable[str | Path],
    *,
    n_frames: int | None = None,
    fps: float | None = None,
    ids: Sequence[str] | None = None,
) -> VideoSet:
    """Take video files, in the order given, or those of a folder in natural order.

    PyAV decodes them (``pip install 'isomorph[video]'``), Pillow animated GIFs. A rotation that a
    file asks for, as those of telephones do, is applied.

    Parameters
    ----------
    paths : str, Path or iterable of these
        A folder, a file, or files.
    n_frames : int, optional
        Show this many frames: the middles of as many equal parts of the video, so that one frame
        is the middle one.
    fps : float, optional
        Show frames at this rate (a second): those visible at 0, 1 / fps, 2 / fps …, at most as
        many as the video has. By default, without `n_frames` too, all frames.
    ids : sequence of str, optional
        By default the file names, which then must be unique.

    Returns
    -------
    VideoSet

    Raises
    ------
    FileNotFoundError, ValueError
        If files are missing, the folder holds no video, or both `n_frames` and `fps` are given.
    ImportError
        If PyAV is needed and not installed.

    Examples
    --------
    >>> videos = from_videos("clips/", fps=5)  # doctest: +SKIP
    """
    if n_frames is not None and fps is not None:
        raise ValueError(
            f"videos: expected n_frames= or fps=, got both ({n_frames}, {fps}). Leave one out."
        )
    if n_frames is not None and n_frames < 1:
        raise ValueError(f"n_frames: expected 1 or more, got {n_frames}.")
    if fps is not None and not 0 < fps < float("inf"):
        raise ValueError(f"fps: expected frames a second, more than 0, got {fps}.")
    origin = "video files, as given"
    if isinstance(paths, str | Path):
        folder = Path(paths).expanduser()
        origin = f"folder {folder.name}, natural order" if folder.is_dir() else origin
        paths = _videos_in(folder) if folder.is_dir() else [folder]
    files = existing_files(paths)
    if any(path.suffix.lower() != ".gif" for path in files):
        import_av()
    shown = f"{n_frames} frames each" if n_frames else f"{fps:g} frames a second" if fps else ""
    return VideoSet(
        tuple(ids if ids is not None else [path.name for path in files]),
        tuple(VideoSource(path, n_frames, fps) for path in files),
        origin=f"{origin}, {shown}" if shown else origin,
    )


def frames(videos: VideoSet) -> ImageSet:
    """Take each frame that is shown of each video as an image of its own.

    Parameters
    ----------
    videos : VideoSet
        Whose `n_frames` or `fps` choose the frames. Every file is looked through once. A frame
        that stays for so long that `fps` shows it several times is one image.

    Returns
    -------
    ImageSet
        Ids such as ``clip.mp4#0003``: the number is the frame's position in the file. The groups
        are the videos' ids, so that features can be averaged or stacked within clips. Metadata:
        ``video``, ``frame``, ``time`` (seconds), and the videos' own columns.

    Raises
    ------
    ValueError
        If a video cannot be read or has fewer frames than asked for.

    Examples
    --------
    >>> images = frames(from_videos("clips/", n_frames=4))  # doctest: +SKIP
    """
    videos.check()
    sources = [source for source in videos.sources if isinstance(source, VideoSource)]
    times = in_threads(lambda source: clip_times(source.path), sources)
    clips = Clips()
    found, ids, rows = [], [], []
    for i, (source, when) in enumerate(zip(sources, times, strict=True)):
        chosen = np.unique(choose_frames(when, source.n_frames, source.fps))
        digits = max(4, len(str(len(when) - 1)))
        for frame in chosen.tolist():
            found.append(FrameSource(clips, source.path, frame))
            ids.append(f"{videos.ids[i]}#{frame:0{digits}d}")
            rows.append((i, frame, when[frame] - when[0]))
    table = pd.DataFrame(rows, columns=["row", "frame", "time"])
    own = videos.metadata.iloc[table["row"]].reset_index(drop=True)
    metadata = pd.concat([own.rename(columns={"stimulus_id": "video"}), table], axis=1)
    return ImageSet(
        tuple(ids),
        tuple(found),
        metadata=metadata.drop(columns="row"),
        groups=tuple(metadata["video"]),
        origin=f"frames of {videos.origin}",
    )


def is_video(name: str | Path) -> bool:
    """Say whether a file's name is that of a video; a GIF is taken for an image."""
    suffix = Path(name).suffix.lower()
    return suffix in VIDEO_SUFFIXES and suffix != ".gif"


def import_av() -> None:
    """Refuse to go on without PyAV."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "videos: expected PyAV, which decodes them, and it is not installed. "
            "pip install 'isomorph[video]'."
        ) from error


def _videos_in(folder: Path) -> list[Path]:
    found = [
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and _moves(path)
    ]
    if not found:
        raise ValueError(
            f"videos: expected video files in {folder}, got none ({' '.join(VIDEO_SUFFIXES)}). "
            f"Folders inside it are not searched; pass a list of paths to take videos from several."
        )
    return sorted(found, key=lambda path: natural_key(path.name))


def _moves(path: Path) -> bool:
    """Say whether a file is a video; of GIFs those are that have more than one frame."""
    if path.suffix.lower() != ".gif":
        return is_video(path)
    try:
        with Image.open(path) as image:
            return getattr(image, "is_animated", False)
    except OSError:
        return True  # so that `check` names it
