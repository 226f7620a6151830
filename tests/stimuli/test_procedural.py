"""Images drawn from a seed: the same everywhere, varied, and quick."""

from __future__ import annotations

import time

import numpy as np
import pytest

from isomorph.stimuli import procedural_images


def stack(n: int, seed: int, size: int = 48) -> np.ndarray:
    images = procedural_images(n, seed=seed, size=size)
    return np.stack([np.asarray(images.load(i)) for i in range(n)])


def test_a_seed_gives_the_same_images_again() -> None:
    np.testing.assert_array_equal(stack(20, 3), stack(20, 3))
    first = procedural_images(5, seed=3, size=48)
    assert first.content_hashes() == procedural_images(5, seed=3, size=48).content_hashes()
    assert not (stack(20, 3) == stack(20, 4)).all(axis=(1, 2, 3)).any()


def test_image_i_depends_on_seed_and_i_alone() -> None:
    np.testing.assert_array_equal(stack(30, 1)[:10], stack(10, 1))
    images = procedural_images(30, seed=1, size=48)
    late = images.subset([25])
    np.testing.assert_array_equal(np.asarray(late.load(0)), np.asarray(images.load(25)))
    assert images.ids[:10] == procedural_images(10, seed=1, size=48).ids


def test_global_random_state_neither_matters_nor_changes() -> None:
    np.random.seed(5)  # noqa: NPY002  the global state itself is tested
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    first = stack(5, 0)
    assert np.random.random() == expected  # noqa: NPY002
    np.testing.assert_array_equal(first, stack(5, 0))


def test_ids_name_the_kind_and_all_kinds_come_in_both_halves() -> None:
    images = procedural_images(300, seed=0, size=48)
    kinds = images.metadata["kind"].tolist()
    assert images.ids[7] == f"{kinds[7]}-0007"
    assert len(set(kinds)) == 7
    # Even stimuli train and odd ones test: a cycle of kinds would tear them apart.
    assert set(kinds[::2]) == set(kinds[1::2]) == set(kinds)


def test_no_image_is_flat_and_no_two_are_alike() -> None:
    images = stack(300, 0).astype(float)
    assert images.std(axis=(1, 2)).max(axis=1).min() > 2
    flat = images.reshape(300, -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    similar = flat @ flat.T - np.eye(300)
    assert similar.max() < 0.98
    # Varied: means and contrasts spread, and pixels span many directions.
    assert images.mean(axis=(1, 2, 3)).std() > 20
    eigenvalues = np.linalg.eigvalsh(flat @ flat.T)
    assert eigenvalues.sum() ** 2 / (eigenvalues**2).sum() > 40


@pytest.mark.parametrize("size", [8, 31, 224])
def test_any_size_is_drawn(size: int) -> None:
    images = procedural_images(40, seed=2, size=size)
    for i in range(40):
        assert images.load(i).size == (size, size)
        assert images.load(i).mode == "RGB"


def test_drawing_is_quick() -> None:
    images = procedural_images(100, seed=0)
    start = time.process_time()
    for i in range(100):
        images.load(i)
    # 3 ms each on a quiet core; ten times as much would be a mistake and not a busy machine.
    assert time.process_time() - start < 3


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="n of 1 or more and a size of 8 pixels or more, got n=0"):
        procedural_images(0, seed=0)
    with pytest.raises(ValueError, match="size=4"):
        procedural_images(3, seed=0, size=4)
