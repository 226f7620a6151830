"""`Model`: a module, its preprocessing and how it is called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from isomorph.storage import hash_json


@dataclass(frozen=True, eq=False, repr=False)
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
    _first_hash: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise TypeError(
                f"module: expected a torch.nn.Module, got {type(self.module).__name__}. "
                f"To load a model by name use load_model(name)."
            )
        object.__setattr__(self, "_first_hash", self.weights_hash())
        if not self.uid:
            name = f"own/{type(self.module).__name__}@state-{self._first_hash[:8]}"
            object.__setattr__(self, "uid", name)
        if not self.preprocess_spec and self.preprocess is not None:
            object.__setattr__(self, "preprocess_spec", describe_callable(self.preprocess))

    def __iter__(self) -> Iterator[Any]:
        """Unpack as ``module, preprocess = model``."""
        yield self.module
        yield self.preprocess

    def __call__(self, inputs: torch.Tensor) -> Any:
        """Run the module on a batch, first axis stimuli."""
        return self.forward(self.module, inputs) if self.forward else self.module(inputs)

    def __repr__(self) -> str:
        n_params = sum(parameter.numel() for parameter in self.module.parameters())
        return f"Model {self.uid}: {type(self.module).__name__}, {n_params:,} parameters"

    def weights_hash(self) -> str:
        """Hash the parameters and buffers as they are now."""
        return hash_state_dict(self.module.state_dict())

    def as_it_is_now(self) -> Model:
        """Give the model under a uid that is true: a new one if its weights changed since.

        A network that was trained further must not be merged with what it was before.
        """
        now = self.weights_hash()
        if now == self._first_hash:
            return self
        return replace(self, uid=f"{self.uid.partition('@')[0]}@state-{now[:8]}")

    def fingerprint(self) -> str:
        """Hash what decides the model's answers: weights, structure, call and preprocessing."""
        forward = describe_callable(self.forward) if self.forward else ""
        return hash_json(
            [self.uid, self.weights_hash(), repr(self.module), forward, self.preprocess_spec]
        )


def describe_callable(function: Any) -> str:
    """Describe a function or transform so that the words change when it does.

    A plain function is described by its name and code, another object by its repr; memory
    addresses, which differ in every process, are left out.
    """
    code = getattr(function, "__code__", None)
    if code is None:
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(function))
    constants = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(code.co_consts))
    content = hash_json([code.co_code.hex(), constants, list(code.co_names)])
    return f"{function.__module__}.{function.__qualname__}:{content[:16]}"


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
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise ValueError(
                f"device: expected 'auto', 'cpu', 'cuda' or 'cuda:0', got {device!r}."
            ) from error
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
