"""Gram ceilings: moments against loops over repeats, and what a perfect model really scores."""

import itertools

import numpy as np
import pytest

from isomorph.alignment import Measured, Part, compare_representations
from isomorph.alignment.ceilings import cka_ceiling, gram_ceiling
from isomorph.alignment.ceilings.gram import _moments, _signal_share, disjoint_products


def simulate(
    reliability=0.5, n_stimuli=100, n_neuroids=100, rank=5, kind="stimulus", seed=0, n_repeats=4
):
    """Noise-free responses with unequal pattern norms, and repeats with unequal noise."""
    rng = np.random.default_rng([seed, n_stimuli, n_neuroids])
    if rank is None:
        scale = 1 / np.sqrt(np.arange(1, n_neuroids + 1))
        latents = rng.normal(size=(n_stimuli, n_neuroids)) * scale
        signal = latents @ rng.normal(size=(n_neuroids, n_neuroids))
    else:
        signal = rng.normal(size=(n_stimuli, rank)) @ rng.normal(size=(rank, n_neuroids))
    signal *= rng.lognormal(sigma=0.5, size=(n_stimuli, 1))
    signal /= signal.std(axis=0)
    noise = rng.normal(size=(n_stimuli, n_repeats, n_neuroids))
    if kind == "correlated":
        shared = rng.normal(size=(n_stimuli, n_repeats, 3)) @ rng.normal(size=(3, n_neuroids))
        noise = (noise + shared / np.sqrt(3)) / np.sqrt(2)
    else:
        size = rng.lognormal(sigma=0.5, size=(n_stimuli, 1, 1))
        noise *= size / np.sqrt(np.mean(size**2))
    signal = np.sqrt(reliability) * signal
    return signal, signal[:, None] + np.sqrt((1 - reliability) * n_repeats) * noise


def unbiased_product(values, present, i, j, k, m):
    """Mean of y_i·y_j × y_k·y_m over all choices of repeats that differ for the same stimulus."""
    found = []
    for repeats in itertools.product(*(np.flatnonzero(present[one]) for one in (i, j, k, m))):
        chosen = list(zip((i, j, k, m), repeats, strict=True))
        if len(set(chosen)) == 4:
            a, b, c, d = (values[one] for one in chosen)
            found.append((a @ b) * (c @ d))
    return np.mean(found)


def test_moments_equal_loops_over_disjoint_repeats():
    rng = np.random.default_rng(0)
    n = 6
    present = rng.random((n, 4)) < 0.7
    present[:, :2] = True
    values = np.where(present[:, :, None], 1 + rng.normal(size=(n, 4, 3)), 0.0)
    whole = np.ones((n, 1))
    signal, observed = _moments(values, present, whole)
    others = [(i, j) for i in range(n) for j in range(n) if i != j]
    squares = {(i, j): unbiased_product(values, present, i, j, i, j) for i, j in others}
    found = disjoint_products(values, present)
    assert found[2, 4] == pytest.approx(squares[2, 4], rel=1e-10)
    assert (found.diagonal() == 0).all()
    rows = sum(
        unbiased_product(values, present, i, j, i, k) for i, j in others for k in range(n) if k != i
    )
    total = sum(unbiased_product(values, present, *one, *two) for one in others for two in others)
    assert signal.squares[0] == pytest.approx(sum(squares.values()), rel=1e-10)
    assert signal.rows[0] == pytest.approx(rows, rel=1e-10)
    assert signal.total[0] == pytest.approx(total, rel=1e-10)
    mean = values.sum(axis=1) / present.sum(axis=1)[:, None]
    gram = mean @ mean.T - np.diag((mean @ mean.T).diagonal())
    assert observed.squares[0] == pytest.approx((gram**2).sum(), rel=1e-12)
    assert observed.rows[0] == pytest.approx((gram.sum(axis=1) ** 2).sum(), rel=1e-12)
    assert observed.total[0] == pytest.approx(gram.sum() ** 2, rel=1e-12)
    # A subset is what these stimuli alone would give.
    subset = np.array([1.0, 1, 0, 1, 1, 1])[:, None]
    kept = subset[:, 0] == 1
    for part, alone in zip(
        _moments(values, present, subset),
        _moments(values[kept], present[kept], np.ones((5, 1))),
        strict=True,
    ):
        for name in ("squares", "rows", "total"):
            assert getattr(part, name)[0] == pytest.approx(getattr(alone, name)[0], rel=1e-9)


def test_observed_moments_are_those_of_debiased_cka():
    # Without noise the share is the squared norm of the same U-centred Gram, so it is one.
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20, 7)) + 3
    values = np.repeat(features[:, None], 3, axis=1)
    for centring in ("u", "none"):
        share = _signal_share(values, np.ones((20, 3), bool), np.ones((20, 1)), centring)
        assert share[0] == pytest.approx(1, rel=1e-10)
    assert gram_ceiling(values, centring="u").value == pytest.approx(1, rel=1e-10)
    assert gram_ceiling(values).value == pytest.approx(1, rel=1e-10)


def test_u_centring_is_that_of_szekely_and_rizzo():
    n, rng = 9, np.random.default_rng(2)
    features = rng.normal(size=(n, 4)) + 1
    gram = features @ features.T
    np.fill_diagonal(gram, 0)
    centred = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                means = (gram[i].sum() + gram[j].sum()) / (n - 2)
                centred[i, j] = gram[i, j] - means + gram.sum() / ((n - 1) * (n - 2))
    values = np.repeat(features[:, None], 2, axis=1)
    _, observed = _moments(values, np.ones((n, 2), bool), np.ones((n, 1)))
    assert observed.u_centred(np.array([n]))[0] == pytest.approx((centred**2).sum(), rel=1e-10)
    pairs = gram[~np.eye(n, dtype=bool)]
    expected = np.square(pairs - pairs.mean()).sum()
    assert observed.centred(np.array([n]))[0] == pytest.approx(expected, rel=1e-10)


def scored(signal, mean, centring):
    """What the noise-free responses score against the mean over repeats."""
    if centring == "u":
        return compare_representations(signal, mean, "CKA")
    pairs = np.triu_indices(len(signal), 1)
    return np.corrcoef((signal @ signal.T)[pairs], (mean @ mean.T)[pairs])[0, 1]


@pytest.mark.parametrize("centring", ["u", "none"])
@pytest.mark.parametrize("rank", [5, 20, None])
@pytest.mark.parametrize("kind", ["stimulus", "correlated"])
def test_a_perfect_model_scores_the_gram_ceiling(centring, rank, kind):
    truths, ceilings, inside = [], [], []
    for seed in range(8):
        signal, repeats = simulate(rank=rank, kind=kind, seed=seed)
        truths.append(scored(signal, repeats.mean(axis=1), centring))
        found = gram_ceiling(repeats, centring=centring, seed=seed)
        ceilings.append(found.value)
        inside.append(found.lower <= truths[-1] <= found.upper)
    assert np.mean(truths) / np.mean(ceilings) == pytest.approx(1, abs=0.03)
    assert np.mean(inside) >= 0.85


@pytest.mark.parametrize("centring", ["u", "none"])
def test_the_gram_interval_holds_the_truth_at_low_reliability(centring):
    inside = []
    for seed in range(40):
        rank = (5, 20, None)[seed % 3]
        signal, repeats = simulate(
            0.2, rank=rank, kind=("stimulus", "correlated")[seed % 2], seed=seed
        )
        truth = scored(signal, repeats.mean(axis=1), centring)
        found = gram_ceiling(repeats, centring=centring, seed=seed)
        inside.append(found.lower <= truth <= found.upper)
    assert np.mean(inside) >= 0.9


@pytest.mark.parametrize("n_repeats", [2, 3, 7])
def test_any_number_of_repeats_will_do(n_repeats):
    ratios = []
    for seed in range(8):
        signal, repeats = simulate(n_stimuli=80, seed=seed, n_repeats=n_repeats)
        rng = np.random.default_rng(seed)
        gone = rng.random(repeats.shape[:2]) < 0.2
        gone[:, :2] = False
        repeats[gone] = np.nan
        truth = scored(signal, np.nanmean(repeats, axis=1), "u")
        ratios.append(truth / gram_ceiling(repeats, centring="u").value)
    assert np.mean(ratios) == pytest.approx(1, abs=0.04)


def test_the_origin_leaves_the_centred_ceiling():
    _, repeats = simulate(n_stimuli=40)
    near = gram_ceiling(repeats, centring="u")
    far = gram_ceiling(repeats + 1e4, centring="u")
    assert far.value == pytest.approx(near.value, rel=1e-7)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(100, 100)))[0]
    turned = gram_ceiling(repeats @ rotation * 3, centring="u")
    assert turned.value == pytest.approx(near.value, rel=1e-9)
    single = gram_ceiling(repeats.astype(np.float32), centring="u")
    assert single.value == pytest.approx(near.value, rel=1e-5)


def test_two_halves_of_v4_agree_as_their_ceilings_say(data_folder):
    # If the ceilings are right, CKA between two disjoint sets of repeats is their product.
    raw = np.load(data_folder / "macaque_v4" / "responses_raw_210325.npy").transpose(1, 2, 0)
    complete = raw[(~np.isnan(raw[:, :8]).any(axis=(1, 2)))][:, :8]
    assert len(complete) > 100
    first, second = complete[:, :4], complete[:, 4:]
    observed = compare_representations(first.mean(axis=1), second.mean(axis=1), "CKA")
    expected = gram_ceiling(first, centring="u").value * gram_ceiling(second, centring="u").value
    assert observed == pytest.approx(expected, rel=0.05)


def test_undefined_gram_ceilings_say_why():
    rng = np.random.default_rng(0)
    few = gram_ceiling(rng.normal(size=(4, 3, 5)))
    assert few.reason == "4 stimuli with two or more repeats, at least 5 are needed"
    constant = gram_ceiling(np.ones((10, 3, 5)))
    assert constant.reason == "the Gram of the responses is constant"
    noise = [gram_ceiling(rng.normal(size=(20, 2, 8)), centring="u") for _ in range(10)]
    undefined = [found for found in noise if np.isnan(found.value)]
    assert undefined
    assert all("not above 0" in found.reason for found in undefined)
    with pytest.raises(ValueError, match="centring: expected 'none' or 'u', got 'rows'"):
        gram_ceiling(np.ones((10, 3, 5)), centring="rows")
    with pytest.raises(ValueError, match=r"expected one of \('none', 'zscore'\), got 'z'"):
        gram_ceiling(np.ones((10, 3, 5)), response_scale="z")


def measured(repeats):
    n_stimuli, _, n_neuroids = repeats.shape
    return Measured(
        positions=np.arange(n_stimuli),
        responses=repeats.mean(axis=1),
        repeats=repeats,
        neuroid_ids=np.arange(n_neuroids).astype(str),
        groups={("V4", "monkey"): np.arange(0, n_neuroids, 2)},
    )


def test_the_ceiling_of_debiased_cka_is_that_of_the_scored_stimuli_and_neuroids():
    _, repeats = simulate(n_stimuli=60, n_neuroids=40)
    part = Part("test", np.arange(1, 60, 2), "stimuli")
    options = {"kernel": "linear", "estimator": "debiased", "form": "score"}
    found = cka_ceiling(measured(repeats), ("V4", "monkey"), part, options, seed=2)
    assert found == gram_ceiling(repeats[1::2, :, ::2], centring="u", seed=2)
    scaled = options | {"response_scale": "zscore"}
    found = cka_ceiling(measured(repeats), ("V4", "monkey"), part, scaled, seed=2)
    expected = gram_ceiling(repeats[1::2, :, ::2], centring="u", response_scale="zscore", seed=2)
    assert found == expected


@pytest.mark.parametrize("other", [{"kernel": "rbf"}, {"estimator": "biased"}, {"form": "angular"}])
def test_other_forms_of_cka_have_no_ceiling(other):
    # The diagonal of the biased one holds the noise; kernels bend it.
    _, repeats = simulate(n_stimuli=20, n_neuroids=6)
    part = Part("all", np.arange(20), "in_sample")
    found = cka_ceiling(measured(repeats), ("V4", "monkey"), part, other)
    [(name, value)] = other.items()
    assert np.isnan(found.value)
    assert found.reason == f"no validated ceiling is known for CKA with {name}={value}"
    alone = Measured(
        positions=np.arange(20),
        responses=repeats.mean(axis=1),
        neuroid_ids=np.arange(6).astype(str),
        groups={("V4", "monkey"): np.arange(6)},
    )
    once = cka_ceiling(alone, ("V4", "monkey"), part, {})
    assert once.reason == "one repetition: no products of disjoint repeats"
