"""Reductions at the hook: what is kept of an output, computed before it can be overwritten."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from isomorph.extraction.layer import Layer
from isomorph.extraction.model import describe_callable
from isomorph.geometry import SparseProjector
from isomorph.registry import unknown_name
from isomorph.stimuli import listing

logger = logging.getLogger(__name__)

POOLS = ("mean", "max")
TOKENS = ("cls", "last", "mean", "max", "patches")
DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class Reduction:
    """What to keep of every layer's output, in this order.

    Parameters
    ----------
    tokens : str or int, optional
        Of layers that give tokens × channels: ``"cls"`` (the first token), ``"last"`` (the
        last), ``"mean"`` or ``"max"`` over all, ``"patches"`` (the mean of all but the first), of
        those that are not padding; or a position, padding counted.
    pool : {"mean", "max"}, optional
        Of maps, over all positions (height, width, time), channel by channel; of tokens too, where
        `tokens` does not say otherwise. Vectors stay.
    tensor_fn : callable, optional
        ``f(output) -> output`` on a copy of a batch's (n_stimuli, ...) tensor; the first axis must
        stay, and a stimulus must give one shape whatever its batch.
    project : int, optional
        A sparse random projection of the flattened features to so many components. Layers with no
        more features than that stay as they are.
    seed : int
        Of the projection.
    dtype : {"float32", "float16", "bfloat16", "float64"}
        What is kept of each number.

    Examples
    --------
    >>> Reduction(pool="mean").describe()
    {'pool': 'mean', 'dtype': 'float32'}
    """

    tokens: str | int | None = None
    pool: str | None = None
    tensor_fn: Callable[[torch.Tensor], torch.Tensor] | None = None
    project: int | None = None
    seed: int = 0
    dtype: str = "float32"
    # Layers that a mask did not fit: said once, for all of them.
    _unmasked: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name = getattr(self.dtype, "__name__", None) or str(self.dtype)  # np.float32 is a class
        object.__setattr__(self, "dtype", name.removeprefix("torch."))
        if self.tokens is not None and not isinstance(self.tokens, str) and not _whole(self.tokens):
            raise TypeError(
                f"tokens: expected one of {', '.join(TOKENS)}, or a position, got {self.tokens!r}."
            )
        if self.pool is not None and self.pool not in POOLS:
            raise unknown_name("pooling", str(self.pool), POOLS)
        if isinstance(self.tokens, str) and self.tokens not in TOKENS:
            raise unknown_name("choice of tokens", self.tokens, TOKENS)
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        if self.tensor_fn is not None and not callable(self.tensor_fn):
            raise TypeError(
                f"tensor_fn: expected a function of a (n_stimuli, ...) tensor, got "
                f"{type(self.tensor_fn).__name__}."
            )
        if self.project is not None and (not _whole(self.project) or self.project < 1):
            raise ValueError(f"project: expected 1 or more components, got {self.project!r}.")
        if not _whole(self.seed) or self.seed < 0:
            raise ValueError(f"seed: expected a whole number of 0 or more, got {self.seed!r}.")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of what is kept."""
        return DTYPES[self.dtype]

    @property
    def keeps_all(self) -> bool:
        """Whether the whole map is kept."""
        return not (self.pool or self.tensor_fn or self.project) and self.tokens is None

    def describe(self) -> dict[str, Any]:
        """Plain words for a manifest; they change when what is kept changes."""
        found: dict[str, Any] = {}
        if self.tokens is not None:
            found["tokens"] = self.tokens
        if self.pool is not None:
            found["pool"] = self.pool
        if self.tensor_fn is not None:
            found["tensor_fn"] = describe_callable(self.tensor_fn)
        if self.project is not None:
            found |= {"project": self.project, "seed": self.seed}
        return found | {"dtype": self.dtype}

    def applies_to(self, layer: Layer) -> bool:
        """Whether `tokens` or `pool` change this layer."""
        if layer.kind == "tokens":
            return self.tokens is not None or self.pool is not None
        return layer.kind == "map" and self.pool is not None

    def treats_alike(self, first: Layer, second: Layer) -> bool:
        """Whether it keeps the same of two layers that hold the same values in the same order."""
        if first.shape == second.shape and first.channels == second.channels:
            return True
        # A projection takes the flattened features; a function may do anything with the shape.
        return self.tensor_fn is None and not any(
            self.applies_to(layer) and not _one_position(layer) for layer in (first, second)
        )


class Reducer:
    """A reduction made ready for one layer.

    Parameters
    ----------
    reduction : Reduction
    layer : Layer

    Attributes
    ----------
    shape : tuple of int
        Shape for one stimulus of what is kept.

    Raises
    ------
    ValueError
        If the reduction does not fit the layer, or its `tensor_fn` does not keep the first axis.
    """

    def __init__(self, reduction: Reduction, layer: Layer) -> None:
        self.reduction, self.layer = reduction, layer
        tokens = reduction.tokens
        if isinstance(tokens, int) and layer.kind == "tokens" and not _has(layer.shape[0], tokens):
            raise ValueError(
                f"tokens={tokens}: layer {layer.name} has {layer.shape[0]} tokens. Choose another, "
                f"or other layers."
            )
        self._projector: SparseProjector | None = None
        self._own_shape: tuple[int, ...] | None = None
        self.shape = layer.shape if reduction.keeps_all else self._try_out()

    @property
    def n_features(self) -> int:
        """Features of one stimulus that are kept."""
        return math.prod(self.shape)

    def __call__(self, rows: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Reduce a batch, (n_stimuli, *layer.shape) → (n_stimuli, *shape).

        Parameters
        ----------
        rows : torch.Tensor
            A batch's output, stimuli first. It is not changed; what is given may share its memory.
        mask : torch.Tensor, (n_stimuli, n_tokens), optional
            1 where a token is real and 0 where it is padding.
        """
        rows = self._before_projection(rows, mask)
        return rows if self.reduction.project is None else self._project(rows)

    def _before_projection(self, rows: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        reduction, layer = self.reduction, self.layer
        if reduction.applies_to(layer):
            how = reduction.pool if reduction.tokens is None else reduction.tokens
            if layer.kind == "tokens" and how is not None:
                rows = _choose_tokens(rows, how, self._fitting(mask, rows))
            elif reduction.pool is not None:
                rows = _pool(rows, reduction.pool, layer.channels)
        # A function that works in place must not change the model's own pass.
        return rows if reduction.tensor_fn is None else self._own(rows.clone())

    def _fitting(self, mask: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor | None:
        """The mask, where it is of these tokens."""
        if mask is None:
            return None
        if tuple(mask.shape) == tuple(rows.shape[:2]):
            return mask.to(rows.device).bool()
        said = self.reduction._unmasked
        if not said and not bool(mask.all()):
            logger.warning(
                "layer %s has %d tokens, and the mask %d: padding cannot be told from tokens "
                "there, and counts as such (in every layer like it; this is said once). Leave "
                "such layers out, or give texts of one length.",
                self.layer.name,
                rows.shape[1],
                mask.shape[-1],
            )
            said.add(self.layer.name)
        return None

    def _own(self, rows: torch.Tensor) -> torch.Tensor:
        assert self.reduction.tensor_fn is not None
        try:
            given = self.reduction.tensor_fn(rows)
        except Exception as error:
            raise RuntimeError(
                f"layer {self.layer.name}: tensor_fn raised {type(error).__name__}: {error} (its "
                f"input: {tuple(rows.shape)} {rows.dtype})."
            ) from error
        if not isinstance(given, torch.Tensor) or given.ndim < 1 or len(given) != len(rows):
            got = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
            raise ValueError(
                f"layer {self.layer.name}: expected tensor_fn to give a tensor of {len(rows)} "
                f"rows, one a stimulus, got {got}."
            )
        if given.is_complex():
            raise ValueError(
                f"layer {self.layer.name}: expected tensor_fn to give real numbers, got "
                f"{given.dtype}. Give their .abs() or torch.view_as_real(…)."
            )
        given = given if given.ndim > 1 else given[:, None]
        if self._own_shape is not None and tuple(given.shape[1:]) != self._own_shape:
            raise ValueError(
                f"layer {self.layer.name}: expected tensor_fn to give every stimulus the shape "
                f"{self._own_shape}, got {tuple(given.shape[1:])} for a batch of {len(rows)}. It "
                f"must not depend on how many stimuli are in the batch."
            )
        return given

    def _project(self, rows: torch.Tensor) -> torch.Tensor:
        assert self.reduction.project is not None
        flat = rows.flatten(start_dim=1) if rows.ndim > 1 else rows[:, None]
        if flat.shape[1] <= self.reduction.project:
            return flat
        if self._projector is None:
            self._projector = SparseProjector(
                flat.shape[1], self.reduction.project, self.reduction.seed
            )
        return self._projector(flat)

    def _try_out(self) -> tuple[int, ...]:
        """Run on two stimuli of zeros, to learn the shape and to fail before the long work."""
        probe = torch.zeros(2, *self.layer.shape, dtype=self.layer.dtype)
        shape = tuple(self._before_projection(probe, None).shape[1:])
        n_features, project = math.prod(shape), self.reduction.project
        if not n_features:
            raise ValueError(
                f"layer {self.layer.name}: expected one feature or more for each stimulus, got "
                f"the shape {shape} from tensor_fn. Mend it, or choose other layers."
            )
        if self.reduction.tensor_fn is not None:
            self._own_shape = shape
        return shape if project is None else (min(project, n_features),)


def check_tokens(reduction: Reduction, layers: tuple[Layer, ...], *, has_class_token: bool) -> str:
    """Find what is wrong with a choice of tokens, or with pooling, before the long work.

    Returns
    -------
    str
        A warning; empty if all is well.

    Raises
    ------
    ValueError
        If none of the layers gives tokens.
    """
    warnings: list[str] = []
    unknown = [
        f"{layer.name} ({'×'.join(map(str, layer.shape))})"
        for layer in layers
        if layer.kind == "map" and layer.channels is None
    ]
    if reduction.pool is not None and unknown:
        warnings.append(
            f"pool={reduction.pool!r}: nothing tells which axis of {len(unknown)} layers holds "
            f"the channels, and the first is taken: {listing(unknown)}."
        )
    if reduction.tokens is None:
        return " ".join(warnings)
    if not any(layer.kind == "tokens" for layer in layers):
        raise ValueError(
            f"tokens={reduction.tokens!r}: none of the {len(layers)} layers gives tokens × "
            f"channels ({layers[0].name} is a {layers[0].kind} of "
            f"{'×'.join(map(str, layers[0].shape))}). Use pool= for maps, or choose other layers."
        )
    if reduction.tokens in ("cls", "patches") and not has_class_token:
        warnings.append(
            f"tokens={reduction.tokens!r}: no class token was found in the model; its first token "
            f"may be an ordinary one."
        )
    return " ".join(warnings)


def _one_position(layer: Layer) -> bool:
    """Whether pooling keeps the whole of a map: 512 × 1 × 1."""
    return layer.kind == "map" and layer.n_features == layer.shape[layer.channels or 0]


def _whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _has(n_tokens: int, position: int) -> bool:
    return -n_tokens <= position < n_tokens


def _choose_tokens(
    rows: torch.Tensor, tokens: str | int, mask: torch.Tensor | None
) -> torch.Tensor:
    """(n_stimuli, n_tokens, n_channels) → (n_stimuli, n_channels)."""
    if isinstance(tokens, int):
        return rows[:, tokens]
    if mask is None:
        if tokens in ("cls", "last"):
            return rows[:, 0 if tokens == "cls" else -1]
        if tokens == "patches":
            return _wide(rows[:, 1:]).mean(dim=1)
        return _wide(rows).mean(dim=1) if tokens == "mean" else rows.amax(dim=1)
    if tokens in ("cls", "last"):
        positions = torch.arange(mask.shape[1], device=mask.device)
        if tokens == "cls":
            place = torch.where(mask, positions, len(positions)).amin(dim=1)
        else:
            place = torch.where(mask, positions, -1).amax(dim=1)
        place = place.clamp(0, len(positions) - 1)
        return rows[torch.arange(len(rows), device=rows.device), place]
    if tokens == "patches":
        mask = mask & (mask.cumsum(dim=1) > 1)
    real = mask[:, :, None]
    if tokens == "max":
        return rows.masked_fill(~real, -torch.inf).amax(dim=1)
    # Where, and not times: what stands at the padding may be NaN.
    total = torch.where(real, _wide(rows), 0.0).sum(dim=1)
    return total / real.sum(dim=1).clamp(min=1)


def _pool(rows: torch.Tensor, how: str, channels: int | None) -> torch.Tensor:
    """(n_stimuli, …, n_channels, …) → (n_stimuli, n_channels)."""
    kept = 1 + (channels or 0)
    axes = [axis for axis in range(1, rows.ndim) if axis != kept]
    return _wide(rows).mean(dim=axes) if how == "mean" else rows.amax(dim=axes)


def _wide(rows: torch.Tensor) -> torch.Tensor:
    """Half precision and integers are averaged in float32."""
    return rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
