"""How right the noise ceilings are: simulated responses whose truth is known.

Encoding: what `normalise_encoding` gives a model that predicts the noise-free responses (it should
be 1), and how often the ceiling's interval holds the truth. RDMs and debiased CKA: what the
noise-free responses really score, against the estimated ceiling. Pattern norms are unequal, noise
depends on the stimulus or is correlated between neuroids.

    python -m bench.ceilings --seeds 20
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
from tqdm import tqdm

from isomorph.alignment.ceilings import (
    Ceiling,
    encoding_reliability,
    gram_ceiling,
    normalise_encoding,
    rdm_repeats_ceiling,
)
from isomorph.alignment.measure import compare_representations
from isomorph.geometry import compare_rdms, compute_rdm

N_REPEATS = 4
RELIABILITIES = (0.2, 0.5, 0.8)
# Distance and comparison of the RDMs.
RDMS = [("pearson", "pearson"), ("pearson", "spearman"), ("euclidean", "pearson")]
RDM_CEILINGS = ("calibrated", "split_half")
NOISES = ("independent", "correlated", "by stimulus")
MIXTURES = {
    "half 0, half .4": lambda v, rng: np.where(np.arange(v) % 2, 0.4, 0.0),
    "Beta(.5, 2)": lambda v, rng: rng.beta(0.5, 2, v),
    "a tenth .5": lambda v, rng: np.where(np.arange(v) % 10, 0.0, 0.5),
}


def simulate_signal(
    n_stimuli: int, n_neuroids: int, rank: int | str | None, rng: np.random.Generator
) -> np.ndarray:
    """Noise-free responses of unit variance: read-outs of latents, or independent (None).

    The latents are `rank` alike, or as many as there can be, their variances a power law. Then
    the pattern norms are unequal.
    """
    if rank is None:
        return rng.normal(size=(n_stimuli, n_neuroids))
    k = rank if isinstance(rank, int) else min(n_stimuli, n_neuroids)
    spread = np.ones(k) if isinstance(rank, int) else np.arange(1, k + 1) ** -0.5
    signal = (rng.normal(size=(n_stimuli, k)) * spread) @ rng.normal(size=(k, n_neuroids))
    signal *= rng.lognormal(sigma=0.5, size=(n_stimuli, 1))
    return signal / signal.std(axis=0)


def simulate_noise(
    n_stimuli: int, n_neuroids: int, kind: str, rng: np.random.Generator
) -> np.ndarray:
    """Noise of unit variance for one repeat, (n_stimuli, N_REPEATS, n_neuroids)."""
    noise = rng.normal(size=(n_stimuli, N_REPEATS, n_neuroids))
    if kind == "correlated":
        shared = rng.normal(size=(n_stimuli, N_REPEATS, 3)) @ rng.normal(size=(3, n_neuroids))
        return (noise + shared / np.sqrt(3)) / np.sqrt(2)
    if kind == "by stimulus":
        size = rng.lognormal(sigma=0.5, size=(n_stimuli, 1, 1))
        return noise * size / np.sqrt((size**2).mean())
    return noise


def simulate(
    reliability: np.ndarray, n_stimuli: int, rank: int | str | None, kind: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Signal and repeated responses whose mean has the given reliability, per neuroid."""
    rng = np.random.default_rng(seed)
    signal = simulate_signal(n_stimuli, len(reliability), rank, rng)
    noise = simulate_noise(n_stimuli, len(reliability), kind, rng) * np.sqrt(N_REPEATS)
    responses = np.sqrt(reliability) * signal[:, None] + np.sqrt(1 - reliability) * noise
    return signal, responses


def column_correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson r of each pair of columns."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return (x * y).sum(axis=0) / np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))


def encoding_rows(seeds: int, sizes: list[tuple[int, int]]) -> Iterator[dict]:
    """The odd stimuli are scored; the reliability is taken from them or from all."""
    kinds = {f"equal {r}": lambda v, rng, r=r: np.full(v, r) for r in RELIABILITIES} | MIXTURES
    for (n_stimuli, v), (name, draw) in product(sizes, kinds.items()):
        found: dict[str, list[tuple[float, float, float, bool]]] = {"scored": [], "all": []}
        for seed in range(seeds):
            reliability = draw(v, np.random.default_rng(seed))
            signal, responses = simulate(reliability, n_stimuli, None, "independent", seed)
            scored = slice(1, None, 2)
            scores = column_correlations(signal[scored], responses[scored].mean(axis=1))
            truth = np.sqrt(reliability.mean())
            for stimuli, used in (("scored", responses[scored]), ("all", responses)):
                estimate = encoding_reliability(used, seed=seed)
                ceiling = estimate.ceiling()
                normalised = normalise_encoding(scores, n_stimuli // 2, estimate.reliability)
                inside = ceiling.lower <= truth <= ceiling.upper
                found[stimuli].append((truth, ceiling.value, normalised, inside))
        for stimuli, values in found.items():
            yield _row("encoding", values) | {
                "n_stimuli": n_stimuli,
                "n_neuroids": v,
                "reliability": name,
                "ceiling_from": stimuli,
            }


def similarity_rows(
    seeds: int, sizes: list[tuple[int, int]], ranks: list[int | str]
) -> Iterator[dict]:
    """The noise-free responses are scored against the mean over repeats."""
    for (n_stimuli, v), rank, noise, reliability in product(sizes, ranks, NOISES, RELIABILITIES):
        found: dict[tuple[str, str], list[tuple[float, float, float, bool]]] = {}
        for seed in range(seeds):
            signal, responses = simulate(np.full(v, reliability), n_stimuli, rank, noise, seed)
            for name, method, truth, ceiling in _similarity_ceilings(signal, responses, seed):
                inside = ceiling.lower <= truth <= ceiling.upper
                row = (truth, ceiling.value, truth / ceiling.value, inside)
                found.setdefault((name, method), []).append(row)
        for (name, method), values in found.items():
            row = _row(name, values)
            # The ratio of means: a ceiling near zero has no mean ratio.
            row["perfect_model"] = row["true"] / row["estimated"]
            yield row | {
                "method": method,
                "n_stimuli": n_stimuli,
                "n_neuroids": v,
                "rank": rank,
                "noise": noise,
                "reliability": f"equal {reliability}",
                "ceiling_from": "all",
            }


def _similarity_ceilings(
    signal: np.ndarray, responses: np.ndarray, seed: int
) -> Iterator[tuple[str, str, float, Ceiling]]:
    mean = responses.mean(axis=1)
    for distance, compare in RDMS:
        truth = compare_rdms(compute_rdm(signal, distance), compute_rdm(mean, distance), compare)
        for method in RDM_CEILINGS:
            ceiling = rdm_repeats_ceiling(
                responses, distance=distance, compare=compare, method=method, seed=seed
            )
            yield f"RDM {distance}, {compare}", method, float(truth), ceiling
    truth = float(compare_representations(signal, mean, "CKA"))
    yield "debiased CKA", "closed form", truth, gram_ceiling(responses, centring="u", seed=seed)


def _row(ceiling: str, values: list[tuple[float, float, float, bool]]) -> dict:
    table = np.array(values, dtype=float)
    defined = np.isfinite(table[:, 1])
    truth, estimate, perfect, inside = (
        table[defined].T if defined.any() else np.full((4, 1), np.nan)
    )
    return {
        "ceiling": ceiling,
        "true": truth.mean(),
        "estimated": estimate.mean(),
        "perfect_model": perfect.mean(),
        "sd": perfect.std(),
        "coverage": inside.mean(),
        "undefined": int((~defined).sum()),
    }


def run(
    seeds: int = 5,
    encoding_sizes: list[tuple[int, int]] | None = None,
    rdm_sizes: list[tuple[int, int]] | None = None,
    ranks: list[int | str] | None = None,
) -> pd.DataFrame:
    """Simulate every scenario.

    Returns
    -------
    DataFrame
        One row a scenario: the ``true`` and ``estimated`` ceiling, what a ``perfect_model`` scores
        relative to the estimate with its ``sd`` over seeds, how often the 95 % interval
        holds the truth, and in how many seeds the ceiling was undefined (left out of the means).
    """
    encoding_sizes = encoding_sizes or [(200, 100), (200, 300), (500, 300)]
    rdm_sizes = rdm_sizes or [(100, 100), (200, 300)]
    rows = [
        *tqdm(encoding_rows(seeds, encoding_sizes), desc="encoding"),
        *tqdm(similarity_rows(seeds, rdm_sizes, ranks or [5, 20, "power law"]), desc="RDM, CKA"),
    ]
    first = [
        "ceiling",
        "method",
        "n_stimuli",
        "n_neuroids",
        "rank",
        "noise",
        "reliability",
        "ceiling_from",
    ]
    table = pd.DataFrame(rows)
    return table.reindex(columns=[*first, *(name for name in table if name not in first)])


def main() -> None:
    """Print the table, and for RDMs and CKA its spread over scenarios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sizes", default="100x100,200x300", help="stimuli x neuroids, of RDMs")
    arguments = parser.parse_args()
    sizes = [(int(n), int(v)) for n, v in (size.split("x") for size in arguments.sizes.split(","))]
    table = run(arguments.seeds, rdm_sizes=sizes)
    for _, part in table.groupby("ceiling"):
        print(_text(part.dropna(axis=1, how="all")))
    similarity = table[table["ceiling"] != "encoding"]
    grouped = similarity.groupby(["ceiling", "method", "reliability"])
    ratio = grouped["perfect_model"].quantile([0.05, 0.5, 0.95]).unstack()
    print(_text(ratio.join(grouped[["coverage", "undefined"]].mean()).reset_index()))


def _text(table: pd.DataFrame) -> str:
    return table.to_string(index=False, float_format=lambda value: f"{value:.3f}") + "\n"


if __name__ == "__main__":
    main()
