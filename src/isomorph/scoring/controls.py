"""Controls: the score that noise, shuffled stimuli and the random twin get in a layer's place."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from isomorph.alignment import Measured, MetricSpec, Representation, Score, null_scores
from isomorph.extraction import (
    FalseDuplicateError,
    GramNeed,
    Layer,
    Model,
    MomentsNeed,
    Need,
    read_apart,
    stream_layers,
)
from isomorph.geometry import noise_gram
from isomorph.resampling import Split, permutation_orders
from isomorph.scoring.job import Job
from isomorph.zoo import load_model
from isomorph.zoo.uid import parse_uid

logger = logging.getLogger(__name__)

N_SHUFFLES = 5
TWIN_SEEDS = 1_000_000
NOISE_VALUES = 16_000_000
"""Noise of more values than this is drawn as its Gram, where the Gram is all that is needed."""

Key = tuple[str, int, Split, str, str, str]


class Controls:
    """The controls of every score of a job.

    The random twin is run here, before the model itself: a pass of its own.
    """

    def __init__(self, job: Job, *, progress: bool = True) -> None:
        self._job = job
        self._orders = {
            id(block): permutation_orders(block.n_stimuli, N_SHUFFLES, seed=job.seed)
            for block in job.measured
        }
        self._twin = twin_scores(job, progress=progress)

    def of_layer(
        self,
        layer: Layer,
        representation: Representation,
        spec: MetricSpec,
        block: Measured,
        split: Split,
        scores: Sequence[Score],
    ) -> list[dict[str, float]]:
        """Give the three controls of each of a layer's scores."""
        if representation.undefined:
            return [dict.fromkeys(("score_noise", "score_shuffled", "score_twin"), np.nan)] * len(
                scores
            )
        noise = self._noise(layer, representation)
        of_noise = _values(spec.metric.compute(noise, block, split, **spec.options))
        shuffled = null_scores(spec, representation, block, split, self._orders[id(block)])
        twin = self._twin.get(layer.name) or {}
        found = []
        for score in scores:
            key = (score.region, score.subj_id, score.cv_split)
            several = shuffled.get(key, np.full(1, np.nan))
            found.append(
                {
                    "score_noise": of_noise.get(key, np.nan),
                    "score_shuffled": float(several.mean()),
                    "score_twin": twin.get((str(spec), id(block), split, *key), np.nan),
                }
            )
        return found

    def _noise(self, layer: Layer, representation: Representation) -> Representation:
        """Noise of the layer's width, the same for all metrics."""
        key = "noise of this layer's width"
        if key not in representation.memo:
            representation.memo[key] = noise_representation(
                self._job.needs,
                representation.n_stimuli,
                layer.n_features,
                seed=[self._job.seed, layer.index or 0],
            )
        return representation.memo[key]


def _values(scores: Iterable[Score]) -> dict[tuple[str, str, str], float]:
    return {(score.region, score.subj_id, score.cv_split): score.value for score in scores}


def noise_representation(
    needs: Sequence[Need], n_stimuli: int, n_features: int, *, seed: int | list[int]
) -> Representation:
    """Make Gaussian noise in the place of a layer.

    Parameters
    ----------
    needs : sequence of Need
        What the metrics ask. If that is Grams alone and the noise is wide, its Gram is drawn and
        not the noise. The scaled Gram is then taken to be the plain one: all features of the noise
        have the same spread, so that dividing by it changes nothing but a common factor and, by
        the sampling of the spread, terms of the order of 1/n_stimuli.
    n_stimuli, n_features : int
    seed : int or list of int

    Returns
    -------
    Representation
    """
    grams_alone = all(isinstance(need, GramNeed | MomentsNeed) for need in needs)
    if grams_alone and n_stimuli * n_features > NOISE_VALUES:
        gram = noise_gram(n_stimuli, n_features, seed=seed)
        given: Mapping[Need, Any] = {need: gram for need in needs if isinstance(need, GramNeed)}
        return Representation(given, n_stimuli)
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((n_stimuli, n_features), dtype=np.float32)
    return Representation.from_features(torch.from_numpy(drawn))


def twin_scores(job: Job, *, progress: bool = True) -> dict[str, dict[Key, float]]:
    """Score every layer of the random twin, with the model's own plan and preprocessing.

    Returns
    -------
    dict of layer name to dict
        Empty where the model has no random twin; the reason is logged.
    """
    try:
        twin = random_twin(job.model, seed=job.seed)
    except ValueError as error:
        logger.warning("score_twin is NaN: %s", error)
        return {}
    asked = replace(job, model=twin)
    while True:
        try:
            return {
                layer.name: _twin_layer(asked, representation)
                for layer, representation in _layers(asked, progress)
            }
        except FalseDuplicateError as error:
            asked = replace(asked, plan=read_apart(asked.plan, error.layer, asked.needs))


def _layers(job: Job, progress: bool) -> Iterable[tuple[Layer, Representation]]:
    for layer, given in stream_layers(
        job.model,
        job.inputs,
        job.plan,
        job.needs,
        device=job.device,
        progress=progress,
        spill=job.spill,
    ):
        yield layer, Representation(given, len(job.inputs))


def _twin_layer(job: Job, layer: Representation) -> dict[Key, float]:
    if layer.undefined:
        return {}
    return {
        (str(spec), id(block), split, score.region, score.subj_id, score.cv_split): score.value
        for spec in job.metrics
        for block, splits in zip(job.measured, job.splits, strict=True)
        if block.kind in spec.metric.data
        for split in splits
        for score in spec.metric.compute(layer, block, split, **spec.options)
    }


def random_twin(model: Model, *, seed: int = 0) -> Model:
    """Make the same network with its initial random weights, and the model's own preprocessing.

    Parameters
    ----------
    model : Model
    seed : int
        A model that is itself the twin of this seed gets that of the next one.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If the source cannot build it, and some module with weights cannot draw them anew.
    """
    try:
        name = parse_uid(model.uid)
    except ValueError:
        name = None
    if name is not None and name.random_seed == seed:
        seed += 1
    if name is not None and name.source != "own":
        like = "" if name.weights.startswith(("file-", "state-", "random-")) else name.weights
        try:
            found = load_model(str(replace(name, weights=like)), weights=None, seed=seed)
        except (ImportError, KeyError, OSError, ValueError) as error:
            logger.info("%s: its source gives no random twin (%s)", model.uid, error)
        else:
            if _shapes(found.module) == _shapes(model.module):
                return replace(model, module=found.module, uid=found.uid)
    module = copy.deepcopy(model.module)
    with torch.random.fork_rng(devices=[]):
        # Far from the seeds that people set themselves, or the twin would be the very weights that
        # the model was trained from.
        torch.manual_seed(TWIN_SEEDS + seed)
        for path, part in module.named_modules():
            _reset(path, part)
    return replace(model, module=module, uid=f"{model.uid.partition('@')[0]}@random-{seed}")


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _reset(path: str, part: nn.Module) -> None:
    reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
    if callable(reset):
        reset()
    elif any(True for _ in part.parameters(recurse=False)):
        raise ValueError(
            f"the random twin needs a reset_parameters() on every module with weights; "
            f"{path or 'the model'} ({type(part).__name__}) has none."
        )
