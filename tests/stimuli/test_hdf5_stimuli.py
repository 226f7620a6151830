"""Images stacked in HDF5 files, as NSD's are."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from isomorph.stimuli import as_stimuli, from_arrays, from_hdf5


@pytest.fixture
def brick(tmp_path: Path) -> tuple[Path, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (120, 17, 17, 3), dtype=np.uint8)
    path = tmp_path / "nsd_stimuli.hdf5"
    with h5py.File(path, "w") as file:
        file["imgBrick"] = images
        file["other/grey"] = images[..., 0]
        file["other/maps"] = images.astype(np.float32)
        file["other/first"] = images.transpose(0, 3, 1, 2)
    return path, images


def test_images_are_read_by_index(brick) -> None:
    path, arrays = brick
    images = from_hdf5(path, indices=[42, 7, 119])
    assert images.ids == ("nsd-042", "nsd-007", "nsd-119")
    assert images.metadata["index"].tolist() == [42, 7, 119]
    for i, index in enumerate([42, 7, 119]):
        np.testing.assert_array_equal(np.asarray(images.load(i)), arrays[index])
    everything = as_stimuli(path)
    assert len(everything) == 120
    assert everything.ids[42] == "nsd-042"
    assert "in its order" in everything.origin
    hashes = everything.content_hashes()
    assert hashes == from_arrays(arrays).content_hashes()
    assert images.content_hashes() == (hashes[42], hashes[7], hashes[119])
    images.check()
    images.verify(progress=False)
    grey = from_hdf5(path, "other/grey", np.array([3]))
    assert grey.ids == ("other-grey-003",)
    np.testing.assert_array_equal(np.asarray(grey.load(0))[..., 1], arrays[3, ..., 0])
    assert from_hdf5(path, indices=[5], ids=["five"]).ids == ("five",)


def _means(images) -> list[float]:
    return [float(np.asarray(images.load(i)).mean()) for i in range(len(images))]


def test_threads_and_pickling(brick) -> None:
    path, arrays = brick
    images = from_hdf5(path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(images.load, list(range(120)) * 4))
    for k, image in enumerate(found):
        np.testing.assert_array_equal(np.asarray(image), arrays[k % 120])
    expected = arrays.mean(axis=(1, 2, 3)).tolist()
    assert _means(pickle.loads(pickle.dumps(images))) == pytest.approx(expected)  # noqa: S301


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_opens_the_file_anew(brick) -> None:
    path, arrays = brick
    images = from_hdf5(path)
    images.load(0)  # the file is open, and the lock held, when the process forks
    lock = images.sources[0].brick._lock
    ours, theirs = multiprocessing.Pipe()

    def child() -> None:
        theirs.send([np.asarray(images.load(i)) for i in range(5)])

    with lock:
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
    answered = ours.poll(20)
    if not answered:
        process.kill()
    assert answered, "the child waits for a lock that nobody holds there"
    np.testing.assert_array_equal(ours.recv(), arrays[:5])
    process.join(20)
    np.testing.assert_array_equal(np.asarray(images.load(9)), arrays[9])


def test_bad_files_and_indices_are_refused(brick, tmp_path: Path) -> None:
    path, _ = brick
    with pytest.raises(
        ValueError, match=r"data set 'bricks' in .*got imgBrick \(120, 17, 17, 3\) ui"
    ):
        from_hdf5(path, "bricks")
    with pytest.raises(
        ValueError, match=r"'other/maps' .*dtype uint8, got \(120, 17, 17, 3\) float3"
    ):
        from_hdf5(path, "other/maps")
    with pytest.raises(ValueError, match=r"got \(120, 3, 17, 17\) uint8\. The file holds imgBrick"):
        from_hdf5(path, "other/first")
    with pytest.raises(IndexError, match=r"0 to 119 for 'imgBrick' .*got 120, -1\. If they count"):
        from_hdf5(path, indices=[0, 120, -1])
    with pytest.raises(
        ValueError, match=r"each image once, got 3 more than once\. Take numpy.uniq"
    ):
        from_hdf5(path, indices=[3, 1, 3])
    with pytest.raises(ValueError, match="one or more whole numbers"):
        from_hdf5(path, indices=[0.5])
    with pytest.raises(FileNotFoundError, match="an HDF5 file at"):
        from_hdf5(tmp_path / "none.hdf5")
    (tmp_path / "text.hdf5").write_text("text")
    with pytest.raises(ValueError, match=r"an HDF5 file at .*cannot be read .*Fetch it again"):
        from_hdf5(tmp_path / "text.hdf5")
    images = from_hdf5(path)
    path.unlink()
    with pytest.raises(ValueError, match=r"120 cannot: nsd-000 .*No such file"):
        images.check()
