"""Videos: colours, the choice of frames, frames as images, and files that cannot be read."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isomorph.stimuli import VideoSet, as_stimuli, frames, from_folder, from_videos
from isomorph.stimuli.clips import choose_frames, clip_times

av = pytest.importorskip("av", reason="videos need PyAV")


def levels(n: int) -> np.ndarray:
    """One grey level a frame, by which a frame is known after lossy coding."""
    return 20 + np.arange(n) * (210 // max(n - 1, 1))


def write_video(
    path: Path, arrays: np.ndarray, fps: int = 10, codec: str = "mpeg4", times: list | None = None
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = arrays.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        if codec != "mjpeg":
            stream.codec_context.max_b_frames = 2
        for i, array in enumerate(arrays):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
                stream.codec_context.time_base = Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def grey_video(path: Path, n: int, **options) -> Path:
    arrays = np.broadcast_to(levels(n)[:, None, None, None], (n, 32, 48, 3)).astype(np.uint8)
    return write_video(path, arrays, **options)


def level_of(picture: object) -> float:
    return float(np.asarray(picture).mean())


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.mov"])
def test_every_frame_in_order(tmp_path: Path, name: str) -> None:
    videos = from_videos([grey_video(tmp_path / name, 21)])
    assert videos.ids == (name,)
    assert videos.kind == "video"
    found = videos.load(0)
    assert found.shape == (21, 32, 48, 3)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), levels(21), atol=3)
    times = clip_times(tmp_path / name)
    np.testing.assert_allclose(times, np.arange(22) / 10, atol=1e-3)
    videos.check()
    videos.verify(progress=False)


def test_red_is_red(tmp_path: Path) -> None:
    array = np.zeros((5, 32, 48, 3), np.uint8)
    array[:, :, :24, 0] = 250  # red on the left, blue on the right
    array[:, :, 24:, 2] = 250
    found = from_videos([write_video(tmp_path / "a.mp4", array)]).load(0).astype(int)
    np.testing.assert_allclose(found[:, :, 4:20].mean(axis=(0, 1, 2)), [250, 0, 0], atol=12)
    np.testing.assert_allclose(found[:, :, 28:44].mean(axis=(0, 1, 2)), [0, 0, 250], atol=12)
    image = frames(from_videos([tmp_path / "a.mp4"], n_frames=1)).load(0)
    assert image.getpixel((8, 16))[0] > 200
    assert image.getpixel((40, 16))[2] > 200


def test_frames_are_chosen_evenly_or_by_rate(tmp_path: Path) -> None:
    path = grey_video(tmp_path / "a.mp4", 20)
    for n in (1, 2, 3, 7, 20):
        middles = [int((k + 0.5) * 20 / n) for k in range(n)]
        found = from_videos([path], n_frames=n).load(0)
        np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), levels(20)[middles], atol=3)
    found = from_videos([path], fps=5).load(0)
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), levels(20)[::2], atol=3)
    found = from_videos([path], fps=4).load(0)  # at 0, .25, .5, .75 … of frames each .1 long
    np.testing.assert_allclose(
        found.mean(axis=(1, 2, 3)), levels(20)[[0, 2, 5, 7, 10, 12, 15, 17]], atol=3
    )
    np.testing.assert_array_equal(from_videos([path], fps=10).load(0), from_videos([path]).load(0))
    with pytest.raises(ValueError, match=r"20 frames where n_frames=21 asks for more .*a\.mp4"):
        from_videos([path], n_frames=21).load(0)
    with pytest.raises(ValueError, match=r"10 frames a second where fps=12 asks for more"):
        from_videos([path], fps=12).check()
    with pytest.raises(ValueError, match=r"1 cannot: a\.mp4 \(.*n_frames=99 asks"):
        frames(from_videos([path], n_frames=99))


def test_a_rate_follows_the_clock_where_frames_last_differently(tmp_path: Path) -> None:
    shown = [0, 100, 200, 1200, 1300, 1400]  # ms: the third frame stays for a second
    path = grey_video(tmp_path / "a.mkv", 6, times=shown)
    np.testing.assert_allclose(clip_times(path)[:-1] * 1000, shown, atol=1)
    chosen = choose_frames(np.array([*shown, 1500]) / 1000, None, 2)  # at 0, .5 and 1 s
    assert chosen.tolist()[0] == 0
    assert set(chosen.tolist()[1:]) == {2}


def test_choices_against_a_loop() -> None:
    times = np.append(np.cumsum(np.random.default_rng(0).uniform(0.03, 0.05, 200)), 9.0)
    times = np.sort(times - times[0])
    for fps in (0.5, 3.0, 11.0):
        expected, k = [], 0
        while k / fps < times[-1] - 1e-3 / fps:
            expected.append(max(i for i in range(200) if times[i] <= k / fps + 5e-4))
            k += 1
        assert choose_frames(times, None, fps).tolist() == expected
    for n in range(1, 30):
        chosen = choose_frames(np.arange(31.0), n, None)
        assert len(set(chosen.tolist())) == n
        np.testing.assert_allclose(chosen + 0.5, (np.arange(n) + 0.5) * 30 / n, atol=0.51)


def test_frames_are_images_in_groups(tmp_path: Path) -> None:
    for i in (2, 10):
        grey_video(tmp_path / f"clip{i}.mp4", i + 4)
    videos = from_videos(tmp_path, n_frames=3).with_labels(["walk", "run"])
    assert videos.ids == ("clip2.mp4", "clip10.mp4")
    images = frames(videos)
    assert images.ids == (
        *("clip2.mp4#0001", "clip2.mp4#0003", "clip2.mp4#0005"),
        *("clip10.mp4#0002", "clip10.mp4#0007", "clip10.mp4#0011"),
    )
    assert images.groups == ("clip2.mp4",) * 3 + ("clip10.mp4",) * 3
    assert images.labels == ("walk",) * 3 + ("run",) * 3
    assert images.metadata["frame"].tolist() == [1, 3, 5, 2, 7, 11]
    np.testing.assert_allclose(images.metadata["time"], [0.1, 0.3, 0.5, 0.2, 0.7, 1.1], atol=1e-3)
    stacked = np.concatenate([videos.load(0), videos.load(1)])
    for i in (5, 0, 3, 1, 4, 2, 2):
        np.testing.assert_array_equal(np.asarray(images.load(i)), stacked[i])
    assert len(set(images.content_hashes())) == 6
    images.check()
    images.verify(progress=False)


def test_frames_from_threads_and_other_processes(tmp_path: Path) -> None:
    for i in range(12):  # more than stay open
        grey_video(tmp_path / f"{i}.mp4", 30)
    images = frames(from_videos(tmp_path))
    assert len(images) == 360
    expected = np.tile(levels(30), 12)
    order = np.random.default_rng(0).permutation(360)[:120].tolist()
    with ThreadPoolExecutor(6) as pool:
        straight = [level_of(x) for x in pool.map(images.load, range(360))]
        shuffled = [level_of(x) for x in pool.map(images.load, order)]
    np.testing.assert_allclose(straight, expected, atol=3)
    np.testing.assert_allclose(shuffled, expected[order], atol=3)
    copy = pickle.loads(pickle.dumps(images))  # noqa: S301  our own object
    assert level_of(copy.load(7)) == pytest.approx(levels(30)[7], abs=3)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_opens_videos_anew(tmp_path: Path) -> None:
    images = frames(from_videos([grey_video(tmp_path / "a.mp4", 30)]))
    images.load(3)
    ours, theirs = multiprocessing.Pipe()
    with images.sources[0].clips._lock:
        child = multiprocessing.get_context("fork").Process(
            target=lambda: theirs.send([level_of(images.load(i)) for i in range(4, 9)])
        )
        child.start()
    answered = ours.poll(20)
    if not answered:
        child.kill()
    assert answered, "the child waits for a thread that it does not have"
    np.testing.assert_allclose(ours.recv(), levels(30)[4:9], atol=3)
    child.join(20)
    assert child.exitcode == 0
    assert level_of(images.load(4)) == pytest.approx(levels(30)[4], abs=3)


def test_hashes_know_which_frames_are_shown(tmp_path: Path) -> None:
    path = grey_video(tmp_path / "a.mp4", 20)
    copy = tmp_path / "b.mp4"
    copy.write_bytes(path.read_bytes())
    every = from_videos([path, copy]).content_hashes()
    assert every[0] == every[1]
    others = [from_videos([path], n_frames=4), from_videos([path], n_frames=5)]
    others += [from_videos([path], fps=5)]
    assert len({every[0], *(one.content_hashes()[0] for one in others)}) == 4


def test_a_film_that_was_held_upright(tmp_path: Path) -> None:
    """A telephone stores lying frames, and in the track header a matrix that turns them."""
    array = np.full((3, 32, 48, 3), 30, np.uint8)
    array[:, :, :24] = 220  # light on the left
    path = write_video(tmp_path / "a.mp4", array)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    # ISO 14496-12: (x, y) is shown at (a x + c y, b x + d y), y downwards; {a b u c d v x y w}.
    # a = 0, b = 1, c = -1, d = 0 turns clockwise: what was left is then above.
    matrix = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30], dtype=">i4")
    content[at : at + 36] = matrix.tobytes()
    path.write_bytes(bytes(content))
    found = from_videos([path]).load(0)
    assert found.shape == (3, 48, 32, 3)
    assert found[:, :20].mean() > 200
    assert found[:, 28:].mean() < 50


def test_animated_gifs_are_videos_too(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (8, 6), (int(v), 0, 0)) for v in levels(5)]
    pages[0].save(
        tmp_path / "a.gif",
        save_all=True,
        append_images=pages[1:],
        duration=[100, 100, 300, 100, 100],
    )
    pages[0].save(tmp_path / "still.gif")
    videos = from_videos(tmp_path)
    assert videos.ids == ("a.gif",)
    np.testing.assert_array_equal(videos.load(0)[:, 0, 0, 0], levels(5))
    assert videos.load(0).shape == (5, 6, 8, 3)
    np.testing.assert_allclose(clip_times(tmp_path / "a.gif"), [0, 0.1, 0.2, 0.5, 0.6, 0.7])
    half = from_videos([tmp_path / "a.gif"], fps=5).load(0)  # at 0, .2, .4 and .6 s
    np.testing.assert_array_equal(half[:, 0, 0, 0], levels(5)[[0, 2, 2, 4]])
    assert len(frames(from_videos([tmp_path / "a.gif"], fps=5))) == 3
    images = frames(videos)
    assert [np.asarray(images.load(i))[0, 0, 0] for i in (4, 0, 2)] == levels(5)[[4, 0, 2]].tolist()
    # As an image it stays one.
    assert from_folder(tmp_path).ids == ("a.gif", "still.gif")


def test_files_that_are_no_video(tmp_path: Path) -> None:
    good = grey_video(tmp_path / "0.mp4", 8)
    (tmp_path / "1.mp4").write_bytes(b"")
    (tmp_path / "2.mp4").write_text("text" * 100)
    whole = good.read_bytes()
    (tmp_path / "3.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(str(tmp_path / "4.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silent = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silent.sample_rate = 8000
        for packet in [*stream.encode(silent), *stream.encode()]:
            container.mux(packet)
    videos = from_videos(tmp_path)
    with pytest.raises(ValueError) as caught:
        videos.check()
    message = str(caught.value)
    assert "expected 5 videos that can be read, but 4 cannot" in message
    assert "1.mp4: an empty file" in message
    assert "2.mp4: not a video that can be read" in message
    assert "3.mp4: a file without a video stream that can be read" in message
    assert "4.mp4: a file without a video stream" in message
    assert list(videos.broken(progress=False)) == [1, 2, 3, 4]
    with pytest.raises(
        ValueError, match=r"stimulus '2\.mp4': expected a video that can be decoded"
    ):
        videos.load(2)


def test_a_damaged_video_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.mkv", arrays)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    # A Matroska file that breaks off still opens; it has fewer frames, or a damaged one.
    videos = from_videos([path], n_frames=20)
    with pytest.raises(ValueError, match=r"1 cannot: a\.mkv .*(frames where|breaks off)"):
        videos.check()


def test_bad_arguments(tmp_path: Path) -> None:
    path = grey_video(tmp_path / "a.mp4", 4)
    with pytest.raises(ValueError, match=r"n_frames= or fps=, got both \(2, 3\)\. Leave one out"):
        from_videos([path], n_frames=2, fps=3)
    with pytest.raises(ValueError, match="n_frames: expected 1 or more, got 0"):
        from_videos([path], n_frames=0)
    with pytest.raises(ValueError, match="more than 0, got -1"):
        from_videos([path], fps=-1)
    with pytest.raises(FileNotFoundError, match=r"1 files, but 1 are missing: .*b\.mp4"):
        from_videos(tmp_path / "b.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"video files in .*empty, got none \(\.mp4"):
        from_videos(tmp_path / "empty")


def test_without_pyav_it_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    path = grey_video(tmp_path / "a.mp4", 4)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ImportError, match=r"PyAV.*pip install 'isomorph\[video\]'"):
        from_videos([path])


def test_as_stimuli_knows_videos(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    paths = [grey_video(folder / f"{i}.mp4", 4) for i in range(2)]
    for given in (folder, paths, [str(path) for path in paths]):
        videos = as_stimuli(given)
        assert isinstance(videos, VideoSet)
        assert videos.ids == ("0.mp4", "1.mp4")
        assert as_stimuli(videos) is videos
    assert as_stimuli(paths[0]).ids == ("0.mp4",)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"got both: 2 of 3 files are videos .*stimuli\.frames"):
        as_stimuli([*paths, tmp_path / "a.png"])
