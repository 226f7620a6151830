"""`Model`: a module, its preprocessing and how it is called."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from isomorph.extraction.describe import describe_callable as describe_callable
from isomorph.registry import unknown_name
from isomorph.storage import hash_json

logger = logging.getLogger(__name__)

# One batch: preprocessed stimuli, or the named tensors that a model takes (tokens and their mask).
Batch = torch.Tensor | Mapping[str, torch.Tensor]
_DERIVED = re.compile(r":[0-9a-f]{16}$")  # as `describe_callable` ends
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A network ready to be shown stimuli.

    Parameters
    ----------
    module : torch.nn.Module
        Any module that can be called as ``module(inputs)``, or ``module(**inputs)`` where inputs
        are named tensors. Of a compiled or data-parallel module, the module inside is taken.
    preprocess : callable, optional
        Turns one stimulus (a PIL image, a text, the frames of a clip) into one input tensor
        without a batch axis, or into named tensors; a Hugging Face tokenizer will do. Not needed
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
    forward: Callable[[nn.Module, Any], Any] | None = None
    uid: str = ""
    preprocess_spec: str = ""
    _first_hash: str = field(default="", init=False)
    _first_marks: tuple[tuple[int, int], ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise TypeError(
                f"module: expected a torch.nn.Module, got {type(self.module).__name__}. "
                f"To load a model by name use load_model(name)."
            )
        object.__setattr__(self, "module", unwrapped(self.module))
        _refuse_unreadable(self.module)
        object.__setattr__(self, "_first_hash", self.weights_hash())
        object.__setattr__(self, "_first_marks", self._marks())
        if not self.uid:
            name = f"own/{type(self.module).__name__}@state-{self._first_hash[:8]}"
            object.__setattr__(self, "uid", name)
        # Words that were derived belong to another preprocess after dataclasses.replace().
        if not self.preprocess_spec or _DERIVED.search(self.preprocess_spec):
            words = "" if self.preprocess is None else describe_callable(self.preprocess)
            object.__setattr__(self, "preprocess_spec", words)

    def __iter__(self) -> Iterator[Any]:
        """Unpack as ``module, preprocess = model``."""
        yield self.module
        yield self.preprocess

    def __call__(self, inputs: Batch) -> Any:
        """Run the module on a batch, first axis stimuli."""
        if self.forward:
            return self.forward(self.module, inputs)
        return self.module(**inputs) if isinstance(inputs, Mapping) else self.module(inputs)

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

    def with_true_uid(self) -> Model:
        """As `as_it_is_now`, but where torch has counted no change, the weights are not read."""
        return self if self._marks() == self._first_marks else self.as_it_is_now()

    def _marks(self) -> tuple[tuple[int, int], ...]:
        tensors = [*self.module.parameters(), *self.module.buffers()]
        # Inference tensors count no versions.
        return tuple((t.data_ptr(), -1 if t.is_inference() else t._version) for t in tensors)

    def fingerprint(self) -> str:
        """Hash what decides the model's answers: weights, structure, call and preprocessing."""
        forward = describe_callable(self.forward) if self.forward else ""
        return hash_json(
            [self.uid, self.weights_hash(), repr(self.module), forward, self.preprocess_spec]
        )


def _refuse_unreadable(module: nn.Module) -> None:
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise TypeError(
            f"module: expected one whose parts can be hooked, got a scripted "
            f"{type(module).__name__}: torch calls no hooks in it. Give it as it was before."
        )
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in module.parameters()):
        raise ValueError(
            f"module: expected weights, got a lazy {type(module).__name__} that has none "
            f"yet. Run it once on an input first."
        )


def unwrapped(module: nn.Module) -> nn.Module:
    """Give the module inside a compiled or data-parallel one: its hooks fire, its names are plain.

    Only the outermost wrappers are taken off; compiled parts inside run uncompiled (see `ready`).
    """
    inner = module
    while True:
        if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = inner.module
        elif isinstance(getattr(inner, "_orig_mod", None), nn.Module):
            inner = inner._orig_mod
        else:
            break
        assert isinstance(inner, nn.Module)
    if inner is not module:
        logger.info("%s: the %s inside is read.", type(module).__name__, type(inner).__name__)
    return inner


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
def ready(
    model: Model,
    device: torch.device,
    *,
    precision: str = "float32",
    channels_last: bool = False,
    unfused: bool = False,
) -> Iterator[None]:
    """Put a model into evaluation on a device for a block, and leave it just as it was.

    Training flags of every submodule, buffers, the device and the weights' memory layout come back,
    also after an error. Inside, compiled modules run uncompiled and ``nn.TransformerEncoderLayer``
    unfused: hooks inside them would not fire, and the maps would depend on which layers are read.

    Parameters
    ----------
    model : Model
    device : torch.device
    precision : {"float32", "bfloat16", "float16"}
        The last two run in torch's automatic mixed precision.
    channels_last : bool
        Lay the weights of convolutions out with the channels last; some hardware is faster so.
    unfused : bool
        Run ``nn.MultiheadAttention`` unfused too, so that its attention maps are made.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    flags = [(part, part.training) for part in model.module.modules()]
    home = _home(model)
    moved = home is not None and home != device
    wide = [weight for weight in model.module.parameters() if weight.ndim == 4 and channels_last]
    layouts = [(weight, weight.data) for weight in wide]
    with ExitStack() as stack:
        stack.callback(_restore_flags, flags)
        stack.callback(_restore_buffers, _buffers(model.module))
        model.module.eval()
        if moved:
            # Called in reverse order: first home, then to the layout that the weights had.
            stack.callback(_restore_layout, [weight for weight in wide if weight.is_contiguous()])
            stack.callback(model.module.to, home)
            model.module.to(device)
        else:
            stack.callback(_restore_data, layouts)
        for weight in wide:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        fused = nn.TransformerEncoder | nn.TransformerEncoderLayer
        if unfused or any(isinstance(part, fused) for part in model.module.modules()):
            stack.enter_context(_without_fast_path())
        stack.enter_context(_uncompiled())
        if PRECISIONS[precision] is not None:
            stack.enter_context(torch.autocast(device.type, dtype=PRECISIONS[precision]))
        yield


def _home(model: Model) -> torch.device | None:
    """The one device that a model's weights lie on; None if it has none."""
    tensors = [*model.module.parameters(), *model.module.buffers()]
    homes = {tensor.device for tensor in tensors}
    if any(home.type == "meta" for home in homes):
        raise ValueError(
            f"{model.uid}: expected weights, got tensors on the device 'meta', which hold none. "
            f"Load the weights first (module.to_empty(...) and load_state_dict)."
        )
    if len(homes) > 1:
        raise ValueError(
            f"{model.uid}: its weights lie on several devices ({', '.join(map(str, homes))}); "
            f"move the module to one before extraction."
        )
    return next(iter(homes), None)


def _restore_flags(flags: list[tuple[nn.Module, bool]]) -> None:
    for part, training in flags:
        part.training = training


def _buffers(module: nn.Module) -> list[tuple[nn.Module, str, torch.Tensor, torch.Tensor]]:
    """Each buffer with its values: some models count or collect while they run."""
    return [
        (part, name, buffer, buffer.clone())
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]


def _restore_buffers(kept: list[tuple[nn.Module, str, torch.Tensor, torch.Tensor]]) -> None:
    for part, name, buffer, values in kept:
        part._buffers[name] = buffer
        if not torch.equal(buffer, values):
            with torch.no_grad():
                buffer.copy_(values)


def _restore_data(layouts: list[tuple[nn.Parameter, torch.Tensor]]) -> None:
    for weight, data in layouts:
        weight.data = data


def _restore_layout(weights: list[nn.Parameter]) -> None:
    for weight in weights:
        weight.data = weight.data.contiguous()


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """``nn.TransformerEncoderLayer`` has a fused path that calls none of its submodules."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _uncompiled() -> AbstractContextManager[Any]:
    set_stance = getattr(torch.compiler, "set_stance", None)  # torch 2.6 and later
    return set_stance("force_eager") if set_stance else nullcontext()


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
