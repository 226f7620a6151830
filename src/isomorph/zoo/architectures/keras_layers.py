"""Keras networks as torch modules whose layers can be hooked.

A layer of Keras is a torch module on the torch backend, but it is called past torch, so that no
hook fires. Here each layer of a functional network stands behind a module of its own, called by its
name.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections import Counter
from typing import Any

import torch
from torch import nn

# What of a layer's settings decides what it computes.
_SHOWN = (
    "filters", "units", "kernel_size", "pool_size", "strides", "padding", "dilation_rate", "groups",
    "activation", "use_bias", "axis", "epsilon", "rate", "depth_multiplier", "data_format",
    "negative_slope", "max_value", "target_shape", "scale", "offset", "mean", "variance", "height",
    "width", "interpolation", "cropping", "keepdims",
)  # fmt: skip


class KerasLayer(nn.Module):
    """One layer of a Keras network; its weights are the layer's own.

    Parameters
    ----------
    operation
        The layer, or an operation without weights.
    """

    channels_are_last = True
    _operation: Any
    _variables: dict[str, Any]

    def __init__(self, operation: Any) -> None:
        super().__init__()
        # Past torch, which would list the layer again as a part.
        object.__setattr__(self, "_operation", operation)
        variables: dict[str, Any] = {}
        for variable in getattr(operation, "weights", ()):
            name = _free_name(variable.name, variables)
            variables[name] = variable
            if variable.trainable:
                self.register_parameter(name, variable.value)
            else:
                self.register_buffer(name, variable.value)
        object.__setattr__(self, "_variables", variables)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Call the layer with the weights that this module holds now."""
        for name, variable in self._variables.items():
            held = getattr(self, name)
            if variable._value is held or _same_memory(variable._value, held):
                continue
            # Moved to a device, which makes new buffers.
            with torch.inference_mode(False):
                variable._value = nn.Parameter(held, requires_grad=False)
        return self._operation(*inputs, **options)

    def extra_repr(self) -> str:
        """Show the settings, which a fingerprint holds."""
        try:
            settings = self._operation.get_config()
        except (AttributeError, NotImplementedError):
            settings = {}
        shown = {name: settings[name] for name in _SHOWN if name in settings}
        return json.dumps(shown, default=str, sort_keys=True) if shown else ""


class KerasNetwork(nn.Module):
    """A functional Keras network, with a module for each layer; takes pictures as torch does.

    Parameters
    ----------
    network : keras.Model
        A functional one, on the torch backend.

    Notes
    -----
    Inputs are (n, channels, height, width), as of all vision models; what the layers hand on keeps
    Keras' order, (n, height, width, channels).

    A copy, or one that was pickled, is built anew from Keras' settings of the network and takes the
    weights; hooks stay with the original.
    """

    network: Any
    _paths: dict[str, str]

    def __init__(self, network: Any) -> None:
        super().__init__()
        object.__setattr__(self, "network", network)
        object.__setattr__(self, "_paths", layer_names(network.operations))
        for operation in network.operations:
            if type(operation).__name__ != "InputLayer":
                kind = _layer_class(type(operation).__name__)
                self.add_module(self._paths[operation.name], kind(operation))

    def forward(self, inputs: torch.Tensor) -> Any:
        """Run the network's graph, each layer by its module."""
        import keras

        # Keras moves tensors to the device of its own choice, if it is not told.
        with keras.device(_device_name(inputs.device)):
            outputs = self.network._run_through_graph(
                inputs.permute(0, 2, 3, 1),
                operation_fn=lambda operation: getattr(self, self._paths[operation.name]),
            )
        return outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else outputs

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by settings and weights: Keras' graph holds on to its own objects."""
        learns = {name: weight.requires_grad for name, weight in self.named_parameters()}
        settings = self.network.get_config()
        return _rebuild, (settings, dict(self.state_dict()), learns, self.training)


def _rebuild(
    settings: dict[str, Any], state: dict[str, Any], learns: dict[str, bool], training: bool
) -> KerasNetwork:
    """Build a network of its settings, with weights."""
    import keras

    before = random.getstate()
    try:
        # Keras draws the seeds of an initialisation, which the weights then replace.
        with torch.inference_mode(False), keras.device("cpu"):
            module = KerasNetwork(keras.Model.from_config(settings))
    finally:
        random.setstate(before)
    # The tensors that the layers of Keras hold stay, and get new contents, of any device.
    held = module.state_dict(keep_vars=True)
    for name, values in state.items():
        held[name].data = values
    for name, weight in module.named_parameters():
        weight.requires_grad_(learns[name])
    return module.train(training)


def _same_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.device == other.device and one.data_ptr() == other.data_ptr()


def layer_names(operations: list[Any]) -> dict[str, str]:
    """Name each layer, by Keras' name of it: as its author did; Keras' own counts begin anew.

    Keras counts layers without a name over all networks of a process: the second network would
    have other names than the first.
    """
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    taken = {operation.name for operation in operations if not _is_counted(operation)}
    for operation in operations:
        name = operation.name
        if _is_counted(operation):
            kind = _snake(type(operation).__name__)
            name = kind if not counts[kind] else f"{kind}_{counts[kind]}"
            while name in taken:
                counts[kind] += 1
                name = f"{kind}_{counts[kind]}"
            counts[kind] += 1
        names[operation.name] = name.replace(".", "_")
    return names


@functools.cache
def _layer_class(name: str) -> type[KerasLayer]:
    """A class that plans show as the layer's own: ``Conv2D``."""
    return type(name, (KerasLayer,), {"__module__": __name__})


def _is_counted(operation: Any) -> bool:
    kind = _snake(type(operation).__name__)
    return re.fullmatch(rf"{kind}(_\d+)?", operation.name) is not None


def _snake(name: str) -> str:
    words = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def _free_name(name: str, taken: dict[str, Any]) -> str:
    # Weights without a name are counted over all networks, as layers are.
    name = re.sub(r"^variable_\d+$", "variable", name.replace(".", "_").replace("/", "_"))
    return name if name not in taken else f"{name}_{len(taken)}"


def _device_name(device: torch.device) -> str:
    return device.type if device.index is None else f"{device.type}:{device.index}"
