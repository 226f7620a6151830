"""What the extraction benchmark compares with: plain loops, and the peers, each called its own way.

Every peer is a function ``(model, folder, batch_size) -> {layer: map}`` over the same network and
the same files. A layer is named as isomorph names it (``layer1.0.relu#1`` is a module's second
call); layers that the peer keeps once share one array. `oracle` is what all are checked against.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import importlib.machinery
import io
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from isomorph.extraction import Model

Maps = dict[str, Any]


def inputs_of(model: Model, folder: Path) -> Iterator[torch.Tensor]:
    """Decode and preprocess the files one after another, as everyone's first script does."""
    assert model.preprocess is not None
    for file in sorted(folder.iterdir()):
        with Image.open(file) as image:
            yield model.preprocess(image.convert("RGB"))


def batches_of(model: Model, folder: Path, batch_size: int) -> Iterator[torch.Tensor]:
    """Give the files in batches."""
    batch: list[torch.Tensor] = []
    for item in inputs_of(model, folder):
        batch.append(item)
        if len(batch) == batch_size:
            yield torch.stack(batch)
            batch = []
    if batch:
        yield torch.stack(batch)


def plain_forward(model: Model, folder: Path, batch_size: int) -> Maps:
    """The floor that decodes: one thread decodes, then the model runs, nothing is read."""
    with torch.inference_mode():
        outputs = [model.module(batch) for batch in batches_of(model, folder, batch_size)]
    return {"(root)": torch.cat(outputs)}


def forward_only(model: Model, inputs: torch.Tensor, batch_size: int) -> Maps:
    """The floor of floors: preprocessed inputs through the model."""
    with torch.inference_mode():
        return {"(root)": torch.cat([model.module(part) for part in inputs.split(batch_size)])}


def oracle(model: Model, folder: Path, batch_size: int) -> dict[str, torch.Tensor]:
    """Clone every module call's output at its hook: slow, hungry, and right."""
    parts: dict[str, list[torch.Tensor]] = {}

    def keep(name: str, output: torch.Tensor) -> None:
        parts.setdefault(name, []).append(output.clone())

    with torch.no_grad(), _hooked(model.module, keep) as start:
        for batch in batches_of(model, folder, batch_size):
            start()
            model.module(batch)
    return {name: torch.cat(part) for name, part in parts.items()}


@dataclass(frozen=True)
class MapSizes:
    """What the maps of one stimulus take: each call's bytes, and those of the distinct tensors."""

    calls: dict[str, int]
    distinct: int

    @property
    def modules(self) -> int:
        """Bytes of one call of every module (the last one)."""
        return sum({name.partition("#")[0]: size for name, size in self.calls.items()}.values())

    @property
    def largest(self) -> int:
        """Bytes of the largest map."""
        return max(self.calls.values())


def map_sizes(model: Model, example: torch.Tensor) -> MapSizes:
    """Measure every module call's output for one (preprocessed) stimulus."""
    held: list[torch.Tensor] = []  # so that no identity is given twice
    tensors: dict[tuple[int, int], int] = {}
    calls: dict[str, int] = {}

    def measure(name: str, output: torch.Tensor) -> None:
        held.append(output)
        calls[name] = tensors[id(output), output._version] = output.nbytes

    with torch.no_grad(), _hooked(model.module, measure):
        model.module(example[None])
    return MapSizes(calls, sum(tensors.values()))


@contextlib.contextmanager
def _hooked(
    module: nn.Module, read: Callable[[str, torch.Tensor], None]
) -> Iterator[Callable[[], None]]:
    """Hook every module but the root; yield what starts the count of calls anew."""
    counts: Counter[str] = Counter()

    def tap(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            name = f"{path}#{counts[path]}" if counts[path] else path
            counts[path] += 1
            read(name, _first_tensor(output))

        return hook

    handles = [
        part.register_forward_hook(tap(path)) for path, part in module.named_modules() if path
    ]
    try:
        yield counts.clear
    finally:
        for handle in handles:
            handle.remove()


def _first_tensor(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def _joined(parts: dict[str, list[torch.Tensor]]) -> dict[str, torch.Tensor]:
    # One after another, so that the batches of a layer go when its map is there.
    return {key: torch.cat(parts.pop(key)) for key in list(parts)}


def feature_extractor_all(model: Model, folder: Path, batch_size: int) -> Maps:
    """torchvision's ``create_feature_extractor`` with every node that is a module's output.

    Nothing is stubbed: it is part of torchvision. Asked for are the graph's nodes that are calls of
    leaf modules (their second call is ``relu_1``), and the last node inside each container; a node
    that is both is asked for once. It is traced anew each time, as our survey is. It gives the
    model's own tensors after the forward pass, not copies: what was overwritten in place is wrong
    (not by ``out += identity``, which its trace turns into a new tensor).
    Its names mislead where a module's ends in a number (torchvision 0.29): of ``ln_1`` and ``ln_2``
    the nodes are called ``ln`` and ``ln_1``, so that who asks for ``ln_1`` gets the other. And it
    does not look into modules of ``torchvision.ops``, such as the MLP of a vision transformer.
    """
    from torchvision.models.feature_extraction import create_feature_extractor

    nodes = _module_nodes(model.module)
    wanted = list(dict.fromkeys(nodes.values()))
    extractor = create_feature_extractor(model.module, wanted, suppress_diff_warning=True).eval()
    parts: dict[str, list[torch.Tensor]] = {node: [] for node in wanted}
    with torch.inference_mode():
        for batch in batches_of(model, folder, batch_size):
            for node, output in extractor(batch).items():
                parts[node].append(_first_tensor(output))
    maps = _joined(parts)
    return {name: maps[node] for name, node in nodes.items()}


def _module_nodes(module: nn.Module) -> dict[str, str]:
    """Find the graph's node of each module call: {layer: node}."""
    from torchvision.models.feature_extraction import get_graph_node_names

    _, nodes = get_graph_node_names(module, suppress_diff_warning=True)
    paths = {path for path, _ in module.named_modules() if path}
    found: dict[str, str] = {}
    for node in nodes:
        path, _, call = node.rpartition("_")
        if node in paths:
            found[node] = node
        elif path in paths and call.isdigit():
            found[f"{path}#{call}"] = node
    for path in paths - found.keys():
        inside = [node for node in nodes if node.startswith(f"{path}.")]
        if inside:
            found[path] = inside[-1]
    return found


def torchlens_all(model: Model, folder: Path, batch_size: int) -> Maps:
    """torchlens's ``extract_dataset`` with every module call, raw, in memory (no ``output_dir``).

    Installed plainly, nothing is stubbed. A module's address cannot be asked for throughout (2.36.1
    does not save ``relu:2`` where it ends a block, nor find the last layer), so one trace of two
    stimuli gives the label of the operation that ends each call, and these are asked for, each
    once. The stimuli are handed over as an iterable, decoded as it asks. torchlens wraps torch's
    functions at its first trace and leaves them so; they are unwrapped after each run, not to slow
    what runs next (some 0.2 s of its time), and it digests every map, which cannot be turned off.
    """
    import torchlens
    from torchlens.backends.torch.wrappers import unwrap_torch

    try:
        example = next(batches_of(model, folder, 2))
        with torch.no_grad():
            # Not without no_grad: attention takes another path, of other operations.
            traced = torchlens.trace(model.module, example)
        labels = _torchlens_labels(traced, model.module)
        del traced
        maps = torchlens.extract_dataset(
            model.module,
            inputs_of(model, folder),
            list(dict.fromkeys(labels.values())),
            batch_size=batch_size,
            progress=False,
        )
    finally:
        unwrap_torch()
    return {name: maps[label] for name, label in labels.items()}


def _torchlens_labels(traced: Any, module: nn.Module) -> dict[str, str]:
    uncalled = {str(path) for path in traced.uncalled_modules}
    labels: dict[str, str] = {}
    for path, _ in module.named_modules():
        if not path or path in uncalled:
            continue
        for index, call in enumerate(traced.modules[path].calls.values()):
            labels[f"{path}#{index}" if index else path] = call.output_ops[0]
    return labels


def thingsvision_all(model: Model, folder: Path, batch_size: int) -> Maps:
    """THINGSvision's all-module pass over the same network, raw, flattened, as arrays.

    Version 2.7.3 pins torchvision 0.15 and numpy 1: it is installed beside the same torch with
    ``pip install --no-deps thingsvision==2.7.3``. Its imports of TensorFlow (``tensorflow``, its
    ``keras``, ``keras.layers`` and ``keras.applications``: used for Keras models alone) and of
    torchtyping (annotations alone) meet stubs, and ``np.AxisError``, gone in numpy 2, is put back
    while it is imported. Its own data set and loader are used. Modules that the model never calls
    (``self_attention.out_proj``) are left out: it would raise ``KeyError``. It keeps one map a
    module: of one that is called again, the last call's.
    """
    with _thingsvision_stubs():
        from thingsvision import get_extractor_from_model
        from thingsvision.utils.data import DataLoader, ImageDataset

    silent = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as order,
        contextlib.redirect_stdout(silent),
        contextlib.redirect_stderr(silent),
    ):
        dataset = ImageDataset(
            root=str(folder), out_path=order, backend="pt", transforms=model.preprocess
        )
        called = map_sizes(model, dataset[0]).calls
        extractor = get_extractor_from_model(model=model.module, device="cpu", backend="pt")
        try:
            return dict(
                extractor.extract_features(
                    batches=DataLoader(dataset, batch_size, "pt"),  # pyright: ignore
                    module_names=[name for name in extractor.get_module_names() if name in called],
                    flatten_acts=True,
                    output_type="ndarray",
                )
            )
        finally:
            if getattr(extractor, "hook_handles", None):  # it leaves them after an error
                extractor._unregister_hooks()


@contextlib.contextmanager
def _thingsvision_stubs() -> Iterator[None]:
    """Stand in for what THINGSvision imports and an array of maps does not need."""
    # Imported first: they look for TensorFlow themselves, and must not find the stub.
    import timm  # noqa: F401
    import torchvision  # noqa: F401

    def stub(name: str, **contents: Any) -> types.ModuleType:
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        vars(module).update(contents)
        return module

    class TensorType:
        def __class_getitem__(cls, _item: Any) -> type:
            return cls

    layers = stub("tensorflow.keras.layers", Lambda=object)
    applications = stub("tensorflow.keras.applications")
    keras = stub("tensorflow.keras", layers=layers, applications=applications)
    no_devices = types.SimpleNamespace(list_physical_devices=lambda _kind: [])
    stubs = [layers, applications, keras, stub("tensorflow", keras=keras, config=no_devices)]
    if find_spec("torchtyping") is None:
        stubs.append(stub("torchtyping", TensorType=TensorType))
    added = {part.__name__: part for part in stubs if part.__name__ not in sys.modules}
    sys.modules.update(added)
    patched = not hasattr(np, "AxisError")
    if patched:
        setattr(np, "AxisError", np.exceptions.AxisError)  # noqa: B010
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]
        if patched:
            delattr(np, "AxisError")


@dataclass(frozen=True)
class Peer:
    """One peer: its name in the tables, the package that it needs, how it is run, what it holds.

    ``needs(sizes, n_stimuli)`` gives the bytes held at its peak, from how it joins its batches.
    """

    name: str
    package: str
    extract: Callable[[Model, Path, int], Maps]
    needs: Callable[[MapSizes, int], int]

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        return find_spec(self.package) is not None


PEERS = (
    Peer(
        "create_feature_extractor, every module",
        "torchvision",
        feature_extractor_all,
        lambda sizes, n: n * (sizes.distinct + sizes.largest),
    ),
    # Its batches are all there until the last map is joined.
    Peer(
        "torchlens extract_dataset, every module",
        "torchlens",
        torchlens_all,
        lambda sizes, n: n * 2 * sizes.distinct,
    ),
    Peer(
        "THINGSvision, every module",
        "thingsvision",
        thingsvision_all,
        lambda sizes, n: n * (sizes.modules + sizes.largest),
    ),
)

DISCLOSURE = (
    "THINGSvision 2.7.3 is installed with --no-deps beside the same torch; stubs stand in for its "
    "TensorFlow and torchtyping imports, np.AxisError is put back while it is imported, and "
    "modules never called (out_proj) are left out: it fails on them. torchlens 2.36.1 is asked for "
    "the operation that ends each module call, in memory; torch is unwrapped after each run. "
    "create_feature_extractor is asked for every graph node that is a module's output. Each one's "
    "set-up (tracing, surveying) is in its time, as in ours."
)


@dataclass(frozen=True)
class Verdict:
    """How a set of maps compares with the oracle's."""

    given: int
    wrong: tuple[str, ...]
    missing: tuple[str, ...]


def judge(maps: Mapping[str, Any], truth: Mapping[str, torch.Tensor]) -> Verdict:
    """Compare maps with the oracle's, layer by layer.

    A map without a call's number may be any call's of that module. A map is wrong if its shape is
    (flattened), or if it is off by more than 1e-4 of the largest value.
    """
    matched: set[str] = set()
    wrong: list[str] = []
    for name, given in maps.items():
        candidates = [call for call in truth if call == name or call.startswith(f"{name}#")]
        if name in truth and any(f"{name}#" in other for other in maps):
            candidates = [name]
        same = [call for call in candidates if _agree(torch.as_tensor(given), truth[call])]
        matched.update(same[:1] or candidates[:1])
        if not same:
            wrong.append(name)
    missing = tuple(call for call in truth if call not in matched)
    return Verdict(len(maps), tuple(wrong), missing)


def _agree(given: torch.Tensor, truth: torch.Tensor) -> bool:
    given, truth = (tensor.reshape(len(tensor), -1).float() for tensor in (given, truth))
    if given.shape != truth.shape:
        return False
    return bool((given - truth).abs().max() <= 1e-4 * truth.abs().max())
