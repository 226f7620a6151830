"""Blocks of responses, RDM sets and presentations, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from isomorph.benchmarks import Block, RDMSet, responses_from_presentations
from isomorph.benchmarks.blocks import make_block
from isomorph.registry import UnknownNameError


def ragged(seed: int, shape: tuple[int, int, int] = (9, 4, 5), share: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(3, 2, shape)
    values[rng.random(shape) < share] = np.nan
    return values


def labelled(values: np.ndarray) -> Block:
    stimuli = [f"s{i}" for i in range(values.shape[0])]
    return make_block(values, stimuli, [f"n{i}" for i in range(values.shape[-1])])


@pytest.mark.parametrize("seed", range(3))
def test_means_equal_a_loop_over_what_is_there(seed: int) -> None:
    values = ragged(seed, share=0.5)
    block = labelled(values)
    found = block.mean_responses()
    assert found.dims == ("stimulus", "neuroid")
    missing = 0
    for i in range(values.shape[0]):
        for j in range(values.shape[2]):
            present = [x for x in values[i, :, j] if not math.isnan(x)]
            if present:
                expected = math.fsum(present) / len(present)
                assert float(found[i, j]) == pytest.approx(expected, rel=1e-12)
            else:
                missing += 1
                assert math.isnan(float(found[i, j]))
    assert missing > 0
    assert block.count_missing() == missing
    expected_repeats = [
        sum(any(not math.isnan(x) for x in values[i, r]) for r in range(values.shape[1]))
        for i in range(len(values))
    ]
    assert block.repeats().tolist() == expected_repeats


def test_means_keep_single_precision_but_are_summed_in_double() -> None:
    values = (1e4 + np.random.default_rng(0).random((5, 60, 3))).astype(np.float32)
    found = labelled(values).mean_responses()
    assert found.dtype == np.float32
    expected = values.astype(np.float64).mean(axis=1).astype(np.float32)
    np.testing.assert_array_equal(found.values, expected)


def test_a_block_without_repetitions_is_its_own_mean() -> None:
    values = ragged(0)[:, 0]
    block = labelled(values)
    assert block.n_repetitions == 1
    np.testing.assert_array_equal(block.mean_responses().values, values)
    assert block.count_missing() == np.isnan(values).sum()
    assert block.repeats().tolist() == [1] * 9


def test_counts_and_half_precision_are_converted() -> None:
    assert labelled(np.ones((2, 3), np.int64)).responses.dtype == np.float64
    assert labelled(np.ones((2, 3), np.float16)).responses.dtype == np.float32


def test_a_part_of_a_block() -> None:
    values = ragged(1)
    part = labelled(values).select(stimuli=[4, 1], neuroids=[2])
    assert part.stimulus_ids == ("s4", "s1")
    assert part.neuroid_ids == ("n2",)
    np.testing.assert_array_equal(part.responses.values, values[[4, 1]][:, :, [2]])


def test_a_fingerprint_follows_values_and_ids() -> None:
    values = ragged(2)
    first = labelled(values)
    changed = values.copy()
    changed[0, 0, 0] = 7
    renamed = make_block(values, first.stimulus_ids, [f"m{i}" for i in range(5)])
    prints = {x.fingerprint() for x in (first, labelled(values), labelled(changed), renamed)}
    assert len(prints) == 3


@pytest.mark.parametrize("single", [False, True])
def test_presentations_equal_a_loop(single: bool) -> None:
    rng = np.random.default_rng(3)
    shown = rng.choice(["a", "b", "c", "d"], size=25).tolist()
    values = rng.normal(size=(25, 3)).astype(np.float32 if single else np.float64)
    block = responses_from_presentations(values, pd.DataFrame({"stimulus_id": shown}))
    order: list[str] = []
    trials: dict[str, list[np.ndarray]] = {}
    for name, row in zip(shown, values, strict=True):
        if name not in trials:
            order.append(name)
        trials.setdefault(name, []).append(row)
    assert block.stimulus_ids == tuple(order)
    assert block.n_repetitions == max(len(rows) for rows in trials.values())
    assert block.responses.dtype == values.dtype
    for i, name in enumerate(order):
        rows = trials[name]
        np.testing.assert_array_equal(block.responses.values[i, : len(rows)], rows)
        assert np.isnan(block.responses.values[i, len(rows) :]).all()
    assert block.repeats().tolist() == [len(trials[name]) for name in order]


def test_presentations_in_a_given_order() -> None:
    table = pd.DataFrame({"stimulus_id": ["b", "a", "b"], "session": [1, 1, 2]})
    values = np.array([[1.0], [2.0], [3.0]])
    block = responses_from_presentations(
        values, table, stimulus_ids=["a", "b"], neuroid_ids=["unit"]
    )
    assert block.stimulus_ids == ("a", "b")
    assert block.neuroid_ids == ("unit",)
    assert block.responses.values[1, :, 0].tolist() == [1, 3]


def test_bad_presentations_are_refused() -> None:
    values = np.ones((3, 2))
    table = pd.DataFrame({"stimulus_id": ["a", "b", "a"]})
    with pytest.raises(ValueError, match=r"values of shape \(3 presentations, neuroids\), got \(2"):
        responses_from_presentations(values[:2], table)
    with pytest.raises(ValueError, match="expected a column stimulus_id, got \\['image'\\]"):
        responses_from_presentations(values, pd.DataFrame({"image": ["a", "b", "a"]}))
    with pytest.raises(ValueError, match=r"expected one subject, got 2. Make a block for each"):
        responses_from_presentations(values, table.assign(subj_id=["s1", "s2", "s1"]))
    with pytest.raises(ValueError, match="never presented: c; not in stimulus_ids: b"):
        responses_from_presentations(values, table, stimulus_ids=["a", "c"])
    with pytest.raises(ValueError, match="got 1 rows without one"):
        responses_from_presentations(values, pd.DataFrame({"stimulus_id": ["a", None, "b"]}))


def test_bad_responses_are_refused() -> None:
    good = labelled(ragged(0)).responses
    with pytest.raises(ValueError, match=r"dimensions \(stimulus, neuroid\).*got \('neuroid', 's"):
        Block(good[:, 0].T)
    with pytest.raises(ValueError, match="expected a coordinate 'neuroid' with ids, got none"):
        Block(good.drop_vars("neuroid"))
    with pytest.raises(ValueError, match="each stimulus once, but 1 come more often: s0"):
        Block(good.assign_coords(stimulus=["s0", "s0", *[f"s{i}" for i in range(2, 9)]]))
    with pytest.raises(ValueError, match="each neuroid once, but 1 come more often: n1"):
        Block(good.assign_coords(neuroid=["n1", "n1", "n2", "n3", "n4"]))
    infinite = ragged(0)
    infinite[0, 0, :2] = np.inf
    with pytest.raises(ValueError, match=r"got 2 infinite values. Set them to NaN"):
        labelled(infinite)
    with pytest.raises(ValueError, match="expected numbers, got dtype"):
        labelled(np.array([["a", "b"]]))
    with pytest.raises(ValueError, match=r"expected data, got shape \(0, 2\)"):
        labelled(np.ones((0, 2)))
    with pytest.raises(ValueError, match=r"expected 2 stimuli by 3 neuroids, got shape \(3, 2\)"):
        make_block(np.ones((3, 2)), ["a", "b"], ["x", "y", "z"])
    with pytest.raises(ValueError, match=r"n_neuroids\), got \(3,\)"):
        make_block(np.ones(3), ["a", "b", "c"], ["x"])


def random_rdms(k: int, n: int, seed: int = 0) -> np.ndarray:
    rdms = np.random.default_rng(seed).random((k, n, n))
    rdms = rdms + rdms.swapaxes(1, 2)
    rdms[:, np.arange(n), np.arange(n)] = 0
    return rdms


FRAME = pd.DataFrame({"region": ["IT", "IT", "V4"], "subj_id": ["s1", "group", "s1"]})


def test_rdms_are_found_by_region_and_subject() -> None:
    rdms = random_rdms(3, 6)
    found = RDMSet(rdms.astype(np.float32), FRAME)
    assert found.rdms.dtype == np.float64
    np.testing.assert_allclose(found.get("IT", "group"), rdms[1], rtol=1e-6)
    assert found.regions == ("IT", "V4")
    assert found.subjects == ("s1", "group")
    with pytest.raises(UnknownNameError, match=r"unknown region 'It'. Did you mean 'IT'"):
        found.get("It", "s1")
    with pytest.raises(UnknownNameError, match=r"unknown subject of V4 'group'. Known: s1"):
        found.get("V4", "group")


def test_a_part_of_an_rdm_set() -> None:
    rdms = random_rdms(3, 6)
    part = RDMSet(rdms, FRAME).select(rows=[2, 0], stimuli=[5, 0, 3])
    assert part.frame["region"].tolist() == ["V4", "IT"]
    for k, row in enumerate((2, 0)):
        for a, i in enumerate((5, 0, 3)):
            for b, j in enumerate((5, 0, 3)):
                assert part.rdms[k, a, b] == rdms[row, i, j]


def test_missing_pairs_are_kept() -> None:
    rdms = random_rdms(3, 4)
    rdms[0, 1, 2] = rdms[0, 2, 1] = np.nan
    assert np.isnan(RDMSet(rdms, FRAME).get("IT", "s1")).sum() == 2


def test_what_is_no_rdm_is_refused() -> None:
    rdms = random_rdms(3, 4)
    with pytest.raises(ValueError, match=r"shape \(n_rdms, n_stimuli, n_stimuli\), got \(3, 6\)"):
        RDMSet(np.ones((3, 6)), FRAME)
    with pytest.raises(ValueError, match=r"3 rows, got columns .* and 2 rows"):
        RDMSet(rdms, FRAME.iloc[:2])
    with pytest.raises(ValueError, match="each RDM once, but 1 come more often: IT of s1"):
        RDMSet(rdms, FRAME.assign(subj_id="s1"))
    lopsided = rdms.copy()
    lopsided[1, 0, 1] += 0.5
    with pytest.raises(ValueError, match=r"RDM IT of group: expected a symmetric .* up to 0.5"):
        RDMSet(lopsided, FRAME)
    half = rdms.copy()
    half[1, 0, 1] = np.nan
    with pytest.raises(ValueError, match="1 pairs missing in one half only"):
        RDMSet(half, FRAME)
    similarity = 1 - rdms
    with pytest.raises(ValueError, match=r"zeros on the diagonal, got up to 1. .*1 − similarity"):
        RDMSet(similarity, FRAME)
    infinite = rdms.copy()
    infinite[2, 0, 1] = infinite[2, 1, 0] = np.inf
    with pytest.raises(ValueError, match="RDM V4 of s1: expected finite numbers or NaN, got 2"):
        RDMSet(infinite, FRAME)


def test_labels_of_any_kind_become_text() -> None:
    array = xr.DataArray(
        np.ones((2, 2)), {"stimulus": [10, 11], "neuroid": [0, 1]}, dims=("stimulus", "neuroid")
    )
    assert Block(array).stimulus_ids == ("10", "11")
