"""`Model`: a module, its preprocessing and how it is called."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from isomorph.storage import hash_json


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to be shown stimuli.

    Parameters
    ----------
    module : torch.nn.Module
        Any module that can be called as ``module(inputs)``.
    preprocess : callable, optional
        Turns one stimulus (a PIL image) into one input tensor without a batch axis. Not needed
        when stimuli are given as tensors.
    forward : callable, optional
        ``forward(module, inputs)``, for modules that are called in another way.
    uid : str
        Source, name and weights, ``torchvision/alexnet@IMAGENET1K_V1``. By default made from the
        class name and a hash of the weights.
    preprocess_spec : str
        What `preprocess` does, in words that change when it changes; it enters fingerprints.

    Examples
    --------
    >>> model = Model(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()))
    >>> module, preprocess = model
    """

    module: nn.Module
    preprocess: Callable[[Any], torch.Tensor] | None = None
    forward: Callable[[nn.Module, torch.Tensor], Any] | None = None
    uid: str = ""
    preprocess_spec: str = ""
    _hashes: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise TypeError(
                f"module: expected a torch.nn.Module, got {type(self.module).__name__}. "
                f"To load a model by name use load_model(name)."
            )
        if not self.uid:
            name = f"own/{type(self.module).__name__}@state-{self.weights_hash()[:8]}"
            object.__setattr__(self, "uid", name)
        if not self.preprocess_spec and self.preprocess is not None:
            object.__setattr__(self, "preprocess_spec", repr(self.preprocess))

    def __iter__(self) -> Iterator[Any]:
        """Unpack as ``module, preprocess = model``."""
        yield self.module
        yield self.preprocess

    def __call__(self, inputs: torch.Tensor) -> Any:
        """Run the module on a batch, first axis stimuli."""
        return self.forward(self.module, inputs) if self.forward else self.module(inputs)

    def weights_hash(self) -> str:
        """Hash the parameters and buffers as they are now (computed once)."""
        if "weights" not in self._hashes:
            self._hashes["weights"] = hash_state_dict(self.module.state_dict())
        return self._hashes["weights"]

    def fingerprint(self) -> str:
        """Hash what decides the model's answers: weights, structure and preprocessing."""
        return hash_json([self.uid, self.weights_hash(), repr(self.module), self.preprocess_spec])


def hash_state_dict(state: Mapping[str, torch.Tensor]) -> str:
    """Hash a model's weights: names, dtypes, shapes and values, whatever their order or device."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        if value.numel():
            # Viewed as bytes, since NumPy knows no bfloat16.
            digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def ready(model: Model, device: torch.device) -> Iterator[None]:
    """Put a model into evaluation on a device for a block, and leave it just as it was.

    Training flags of every submodule and the device come back, also after an error.
    """
    flags = [(part, part.training) for part in model.module.modules()]
    tensors = [*model.module.parameters(), *model.module.buffers()]
    homes = {tensor.device for tensor in tensors}
    moved = homes != {device} and bool(tensors)
    if moved and len(homes) > 1:
        raise ValueError(
            f"{model.uid}: its weights lie on several devices ({', '.join(map(str, homes))}); "
            f"move the module to one before extraction."
        )
    try:
        model.module.eval()
        if moved:
            model.module.to(device)
        yield
    finally:
        if moved:
            model.module.to(next(iter(homes)))
        for part, training in flags:
            part.training = training


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Give the device to compute on: ``"auto"`` is CUDA where there is one, else the CPU."""
    if str(device) != "auto":
        chosen = torch.device(device)
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "device: expected one of this machine's, got 'cuda', but torch sees "
                "no CUDA device here. Use device='cpu' or 'auto'."
            )
        if chosen.type == "cuda" and chosen.index is None:
            return torch.device("cuda", torch.cuda.current_device())
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
