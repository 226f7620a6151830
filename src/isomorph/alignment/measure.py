"""What a measure between two representations is, and two ways to use one.

A measure compares two sets of features over the same stimuli, whatever they are: two layers, two
models, a layer and a brain. `compare_representations` takes arrays; `as_metric` makes of every
measure a metric, so that `score` puts it into the results table beside the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from isomorph.alignment.ceilings import Ceiling
from isomorph.alignment.measured import Measured, scale_responses
from isomorph.alignment.metric import (
    METRICS,
    Metric,
    Option,
    Part,
    Score,
    read_written_options,
    split_parts,
)
from isomorph.alignment.prepared import Prepared as Prepared
from isomorph.alignment.prepared import UndefinedScoreError as UndefinedScoreError
from isomorph.alignment.prepared import compare_prepared as compare_prepared
from isomorph.alignment.prepared import finite_features as finite_features
from isomorph.alignment.prepared import prepare_item as prepare_item
from isomorph.alignment.prepared import value_of as value_of
from isomorph.alignment.prepared import value_of_prepared as value_of_prepared
from isomorph.alignment.representation import Representation
from isomorph.extraction import FeaturesNeed, GramNeed, Need
from isomorph.geometry import Gram, as_tensor, grams
from isomorph.registry import Registry, unknown_name
from isomorph.resampling import Split

logger = logging.getLogger(__name__)

INVARIANCES = frozenset(
    {"permutation", "rotation", "isotropic scaling", "translation", "invertible linear"}
)
"""Changes of the features that can leave a measure: the order of the features, an orthogonal map,
one factor for all, one vector added to all stimuli, any invertible linear map."""

AXIOMS = frozenset({"identity", "symmetry", "triangle"})
"""What makes a distance a metric in the mathematical sense."""

NEEDS = ("gram", "features")

RESPONSE_SCALE = Option(
    "none",
    ("none", "zscore"),
    summary="z-score each neuroid over the scored stimuli before it is compared",
)


@dataclass(frozen=True)
class Measure:
    """A named comparison of two representations.

    Parameters
    ----------
    name : str
        As in metric strings, ``CKA``.
    compute : callable
        ``compute(first, second, **options)`` gives a float. The two are `Gram` or float64/float32
        tensors (n_stimuli, n_features), as `needs` says, or what `prepare` made of them, over the
        same stimuli in the same order; they are never changed. Raises `UndefinedScoreError` where
        there is no value.
    needs : {"gram", "features"}
        ``"gram"`` wherever the Gram suffices: then a layer is never held whole.
    options : mapping of str to Option
    range : (float, float)
        Lowest and highest value with the default options.
    symmetric : bool
        Whether exchanging the two leaves the value, whatever the options.
    invariances : frozenset of str
        Of `INVARIANCES`: changes of the *first* representation that leave the value with the
        default options (of either one if the measure is symmetric).
    larger_is_better : bool
        False for distances.
    axioms : frozenset of str
        Of `AXIOMS`, for distances with the default options.
    min_stimuli : int
        With fewer it is undefined.
    summary, reference : str
    version : int
        Goes up when the definition changes.
    ceiling : callable or None
        As in `Metric`; None where no validated ceiling is known.
    check : callable
        ``check(options)`` raises for options that contradict one another.
    prepare : callable or None
        ``prepare(item, **options)`` does what needs one of the two alone (a centred Gram, its
        eigenvectors), once for an item that is compared with many. May raise
        `UndefinedScoreError`.
    table : callable or None
        ``table(firsts, seconds, **options)`` gives the (n_first, n_second) values of two sequences
        of prepared items at once, for measures that are matrix products. NaN where undefined.
    distance_forms : frozenset of str
        Values of the option ``form`` that are distances, whatever the default is.
    reorder : callable or None
        ``reorder(content, order)`` gives what `prepare` would make of the item with its stimuli in
        another order, by index arithmetic: permutation nulls use it.
    """

    name: str
    compute: Callable[..., float]
    needs: str
    options: Mapping[str, Option]
    range: tuple[float, float]
    symmetric: bool
    invariances: frozenset[str]
    summary: str
    reference: str
    larger_is_better: bool = True
    axioms: frozenset[str] = frozenset()
    min_stimuli: int = 4
    version: int = 1
    ceiling: Callable[..., Ceiling] | None = None
    check: Callable[[Mapping[str, Any]], None] = field(default=lambda _options: None)
    prepare: Callable[..., Any] | None = None
    table: Callable[..., np.ndarray] | None = None
    distance_forms: frozenset[str] = frozenset()
    reorder: Callable[[Any, np.ndarray], Any] | None = None

    def __post_init__(self) -> None:
        if self.needs not in NEEDS:
            raise unknown_name("need of a measure", self.needs, NEEDS)
        for found, known in ((self.invariances, INVARIANCES), (self.axioms, AXIOMS)):
            for name in found - known:
                raise unknown_name("declaration of a measure", name, known)


MEASURES: Registry[Measure] = Registry("measure", "list_metrics() shows them all.")


def add_measure(measure: Measure) -> Measure:
    """Add a measure, and the metric that it makes."""
    MEASURES.add(measure.name, measure)
    METRICS.add(measure.name, as_metric(measure))
    return measure


def compare_representations(
    first: Any, second: Any, measure: str = "CKA", **options: Any
) -> float | np.ndarray:
    """Compare two representations of the same stimuli, or two lists of representations.

    Parameters
    ----------
    first, second : array, tensor or Gram, or a list of these
        Features (n_stimuli, n_features, ...), stimuli in the same order. What needs no more than
        the Gram also takes one.
    measure : str
        A name of `list_metrics`, with options in brackets if you like: ``"CKA[kernel=rbf]"``.
    **options
        The measure's options, by name.

    Returns
    -------
    float, or (n_first, n_second) array for two lists
        NaN where it is undefined; the reason is logged.

    Raises
    ------
    UnknownNameError
        If there is no such measure or option.
    ValueError
        If the numbers of stimuli differ, or an option's value is not allowed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((20, 50))
    >>> round(compare_representations(features, 3 * features + 1, "CKA"), 6)
    1.0
    """
    name = measure.partition("[")[0].strip()
    if name in METRICS and name not in MEASURES:
        raise unknown_name(
            "measure",
            measure,
            MEASURES,
            f"{name} scores a layer against responses: use score, score_arrays or fit_encoding.",
        )
    chosen, settings = read_written_options(measure, MEASURES, options)
    single = not (isinstance(first, list | tuple) or isinstance(second, list | tuple))
    # The same list twice is prepared once, and half of a symmetric table is enough.
    sides = [_side(first, "first", chosen, settings)]
    sides.append(sides[0] if second is first else _side(second, "second", chosen, settings))
    counts = {item.n_stimuli for side in sides for item in side}
    if len(counts) > 1:
        raise ValueError(
            f"compare_representations: expected the same stimuli on both sides, got "
            f"{sorted(counts)} stimuli. Take those that both have, in the same order."
        )
    values, reasons = compare_prepared(chosen, sides[0], sides[1], settings)
    for reason, count in reasons.items():
        logger.warning("%s is undefined for %d pairs: %s.", chosen.name, count, reason)
    return float(values[0, 0]) if single else values


def _side(items: Any, name: str, measure: Measure, options: Mapping[str, Any]) -> list[Prepared]:
    # Prepared one by one: the Gram of an item is let go before that of the next is made.
    listed = items if isinstance(items, list | tuple) else [items]
    return [prepare_item(measure, as_needed(item, measure.needs, name), options) for item in listed]


def as_needed(item: Any, needs: str, name: str) -> Any:
    """Give the Gram or the features of an item, as a measure needs it; see `Measure.needs`."""
    if isinstance(item, Gram):
        if needs == "gram":
            return item
        raise ValueError(
            f"compare_representations: {name} expected the features themselves, got a Gram, from "
            "which this measure cannot be computed."
        )
    tensor = as_tensor(item if isinstance(item, torch.Tensor) else np.asarray(item))
    if tensor.ndim < 2:
        raise ValueError(
            f"compare_representations: {name} expected features of shape (n_stimuli, n_features, "
            f"...), got {tuple(tensor.shape)}."
        )
    return grams(tensor)[0] if needs == "gram" else finite_features(tensor)


def as_metric(measure: Measure) -> Metric:
    """Make the metric that scores a layer against each region's responses by a measure."""

    def compute(
        layer: Representation, measured: Measured, split: Split, **options: Any
    ) -> Iterator[Score]:
        settings = dict(options)
        scale = settings.pop("response_scale")
        for group in measured.groups:
            for part in split_parts(split):
                yield _score(measure, layer, measured, group, part, scale, settings)

    def parts(measured: Measured, split: Split) -> Iterator[tuple[tuple[str, str], Part]]:
        for group in measured.groups:
            for part in split_parts(split):
                yield group, part

    def needs(_n: int, _train: np.ndarray, _options: Mapping[str, Any]) -> tuple[Need, ...]:
        return (GramNeed(),) if measure.needs == "gram" else (FeaturesNeed(),)

    return Metric(
        name=measure.name,
        compute=compute,
        parts=parts,
        needs=needs,
        ceiling=measure.ceiling or _no_ceiling,
        normalise=lambda score, ceiling, _options: score.value / ceiling.value,
        options={**measure.options, "response_scale": RESPONSE_SCALE},
        data=frozenset({"responses"}),
        range=measure.range,
        symmetric=measure.symmetric,
        invariances=measure.invariances,
        ceiling_scale="r",
        version=measure.version,
        summary=measure.summary,
        reference=measure.reference,
        check=measure.check,
        larger_is_better=measure.larger_is_better,
        distance_forms=measure.distance_forms,
        axioms=measure.axioms,
    )


def _score(
    measure: Measure,
    layer: Representation,
    measured: Measured,
    group: tuple[str, str],
    part: Part,
    scale: str,
    options: Mapping[str, Any],
) -> Score:
    values = measured.group_responses(group)[part.rows]
    value, reason = float("nan"), ""
    if not np.isfinite(values).all():
        reason = f"{measure.name} is not defined where responses are missing"
    else:
        value, reason = value_of_prepared(
            measure,
            _layer_side(measure, layer, measured.positions[part.rows], options),
            measured_side(measure, measured, group, part, scale, options),
            options,
        )
    return Score(
        region=group[0],
        subj_id=group[1],
        cv_split=part.cv_split,
        value=value,
        n_stimuli=len(part.rows),
        n_neuroids=values.shape[1],
        selection=part.selection,
        reason=reason,
    )


def _layer_side(
    measure: Measure, layer: Representation, rows: np.ndarray, options: Mapping[str, Any]
) -> Prepared:
    """Give the prepared layer over some stimuli, which is the same for all regions and subjects."""
    key = ("prepared", measure.name, rows.tobytes(), tuple(sorted(options.items())))
    if key not in layer.memo:
        item = _layer_rows(measure.needs, layer, rows)
        layer.memo[key] = prepare_item(measure, item, options)
    return layer.memo[key]


def _layer_rows(needs: str, layer: Representation, rows: np.ndarray) -> Gram | torch.Tensor:
    """Give the layer's Gram or features over some stimuli.

    The features are one copy for all measures: many keep them, and they may be gigabytes.
    """
    if needs == "gram":
        return layer.gram().subset(rows)
    key = ("rows", rows.tobytes())
    if key not in layer.memo:
        layer.memo[key] = finite_features(layer.features[torch.as_tensor(rows)])
    return layer.memo[key]


def measured_side(
    measure: Measure,
    measured: Measured,
    group: tuple[str, str],
    part: Part,
    scale: str,
    options: Mapping[str, Any],
) -> Prepared:
    """Give the prepared responses of a group, which are the same for all layers."""
    settings = tuple(sorted(options.items()))
    key = ("prepared", measure.name, group, part.rows.tobytes(), scale, settings)
    if key not in measured.memo:
        if measure.needs == "gram":
            item = measured.gram(group, part.rows, scale)
        else:
            values = measured.group_responses(group)[part.rows]
            item = torch.from_numpy(scale_responses(values, scale))
        measured.memo[key] = prepare_item(measure, item, options)
    return measured.memo[key]


def _no_ceiling(
    _measured: Measured,
    _group: tuple[str, str],
    _part: Part,
    _options: Mapping[str, Any],
    *,
    seed: int = 0,
) -> Ceiling:
    nan = float("nan")
    reason = "no validated ceiling is known for this measure"
    return Ceiling(value=nan, lower=nan, upper=nan, scale="r", method="", reason=reason)
