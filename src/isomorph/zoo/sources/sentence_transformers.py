"""Source ``sentence_transformers``: the published sentence encoders, and any other of the hub.

``sbert/all-MiniLM-L6-v2`` is the repository of that name of the library's authors; other
repositories are named whole (``sbert/ORG/NAME``), folders as ``sbert/./my_model`` or by
``weights=FOLDER``. Everything is float32.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import nn

from isomorph.storage import hash_file
from isomorph.zoo.huggingface.files import has_weights, hub_folder, quiet_hub
from isomorph.zoo.huggingface.models import quiet_library
from isomorph.zoo.huggingface.reading import without_old_buffers, without_pooler
from isomorph.zoo.preprocessing.texts import HubTokenizer
from isomorph.zoo.source import Loaded, Row, Source, State
from isomorph.zoo.tables.lines import named_lines

NAME = "sentence_transformers"
TABLE = Path(__file__).parents[1] / "tables" / "sentence_transformers.csv"
ORGANISATION = "sentence-transformers"
MAIN = "main"


def embed(module: nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Give the embedding of each text."""
    return module(dict(inputs))["sentence_embedding"]


@functools.cache
def table() -> dict[str, dict[str, str]]:
    """Give the catalogue's lines by name."""
    return named_lines(TABLE)


def rows() -> Iterator[Row]:
    """List the published encoders."""
    for name, line in table().items():
        count = line["n_params"]
        yield Row(
            source=NAME,
            name=name,
            weights=MAIN,
            default=True,
            modality="language",
            architecture=line["architecture"],
            family="transformer",
            task="sentence embedding",
            train_data=line["train_data"],
            n_params=int(count) if count else None,
            input_size=int(line["input_size"]),
            license=line["license"],
            weights_bytes=4 * int(count) if count else None,
            url=f"https://huggingface.co/{repository_of(name)}",
        )


def repository_of(name: str) -> str:
    """Give the repository that a name means.

    Examples
    --------
    >>> repository_of("all-MiniLM-L6-v2"), repository_of("intfloat/e5-base-v2")
    ('sentence-transformers/all-MiniLM-L6-v2', 'intfloat/e5-base-v2')
    """
    return name if "/" in name else f"{ORGANISATION}/{name}"


def build(name: str) -> Loaded:
    """Build a catalogued encoder as it is before training.

    Its own tokenizer is not there (it is published with the weights), so that ``encode`` of the
    library does not work; the preprocessing reads the tokenizer when the first text comes.
    """
    if name not in table():
        raise ValueError(
            f"{NAME}/{name}: expected a catalogued encoder, whose parts are known; the random twin "
            f"of another is that of its transformer: load_model('hf/{repository_of(name)}', "
            f"weights=None)."
        )
    module = build_module(name)
    return Loaded(module, HubTokenizer(repository_of(name)), embed)


def build_module(name: str) -> Any:
    """Build the modules of a catalogued encoder."""
    from sentence_transformers import SentenceTransformer

    line = table()[name]
    first = _transformer(json.loads(line["config"]), int(line["input_size"]))
    parts = _parts()
    width = first.model.config.hidden_size
    modules = [first, parts.Pooling(width, pooling_mode=line["pooling"])]
    if line["dense"]:
        dense = json.loads(line["dense"])
        activation = nn.Tanh() if dense["activation"] == "tanh" else nn.Identity()
        modules.append(
            parts.Dense(width, dense["size"], bias=dense["bias"], activation_function=activation)
        )
    if line["normalise"]:
        modules.append(parts.Normalize())
    return SentenceTransformer(modules=modules, device="cpu")


def _transformer(settings: dict[str, Any], length: int) -> Any:
    """Make the first module: the library makes it of a folder, with a tokenizer, alone."""
    from transformers import AutoConfig, AutoModel, T5EncoderModel

    settings = dict(settings)
    with quiet_library(), tempfile.TemporaryDirectory() as folder:
        config: Any = AutoConfig.for_model(**settings)
        if config.model_type == "t5":
            network: Any = T5EncoderModel(config)
        else:
            network = AutoModel.from_config(config, dtype=torch.float32)
        # Weights of every type are drawn here, and kept as they are.
        network.save_pretrained(folder)
        _placeholder_tokenizer(length).save_pretrained(folder)
        first = _parts().Transformer(folder)
    first.processor = None
    first.model.config._name_or_path = ""
    return first


def _placeholder_tokenizer(length: int) -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", model_max_length=length
    )


def _parts() -> Any:
    """The library's modules; older versions have them in another place."""
    from types import SimpleNamespace

    try:
        from sentence_transformers.base.modules import Dense, Normalize, Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling
    except ImportError:
        from sentence_transformers.models import (  # pyright: ignore[reportMissingImports]
            Dense,
            Normalize,
            Pooling,
            Transformer,
        )
    return SimpleNamespace(
        Dense=Dense, Normalize=Normalize, Pooling=Pooling, Transformer=Transformer
    )


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from the hub's cache if they are there, or those of a folder."""
    from sentence_transformers import SentenceTransformer

    weights = weights or MAIN
    uid = f"{NAME}/{name}@{weights}"
    folder, label = _local(name, weights), weights
    if folder is None:
        with quiet_hub(progress):
            folder = hub_folder(repository_of(name), uid, revision=weights, whole=_whole)
    else:
        if not _whole(folder):
            raise FileNotFoundError(
                f"{uid}: expected a folder that SentenceTransformer.save() wrote at {folder}, with "
                f"modules.json and weights in it, got "
                f"{'none such' if folder.is_dir() else 'no folder'}."
            )
        label = f"file-{hash_file(_weight_file(folder))[:8]}"
    with quiet_library():
        module = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    module = module.float()
    _check(folder, module, uid)
    if label != weights:
        _check_size(name, module, folder, uid)
    # Not where it lies, so that its fingerprint is the same on every machine.
    module.tokenizer.name_or_path = ""
    return Loaded(module, module.tokenizer, embed, label)


def _check_size(name: str, module: Any, folder: Path, uid: str) -> None:
    """Refuse a folder that holds another encoder than the one named."""
    planned = next((row.n_params for row in rows() if row.name == name), None)
    found = sum(weight.numel() for weight in module.parameters())
    # A pooler that is never called is a hundredth at most.
    if planned is not None and abs(found - planned) > 0.05 * planned:
        raise ValueError(
            f"{uid}: expected a folder with {planned:,} parameters, got {found:,} in {folder}. It "
            f"is another encoder; name it by itself: load_model('{NAME}/{folder}')."
        )


def _local(name: str, weights: str) -> Path | None:
    # A plain word is a name, also where a folder of that name happens to be at hand: the loader
    # gives a folder that the user named with its whole path.
    for word in (weights, name):
        if word.startswith((".", "/", "~")) or Path(word).is_absolute():
            return Path(word).expanduser()
    return None


def _whole(folder: Path) -> bool:
    places = [folder, *(path for path in folder.glob("0_*") if path.is_dir())]
    return (folder / "modules.json").is_file() and any(map(has_weights, places))


def _weight_file(folder: Path) -> Path:
    found = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("pytorch_model*.bin"))
    return (found or sorted(folder.rglob("*.safetensors")) or sorted(folder.rglob("*.bin")))[0]


def _check(folder: Path, module: Any, uid: str) -> None:
    """Refuse weights that leave some of the network's as they were drawn."""
    file = _weight_file(folder)
    network = getattr(module[0], "model", None)
    if network is None or file.suffix != ".safetensors" or "-of-" in file.name:
        return
    with safetensors.safe_open(file, framework="pt") as content:
        prefix = f"{network.base_model_prefix}."
        there = {name.removeprefix(prefix) for name in content.keys()}  # noqa: SIM118
    shared = {id(value): name for name, value in network.named_parameters(remove_duplicate=False)}
    missing = [name for name in shared.values() if name not in there]
    if missing and all(name.startswith("pooler.") for name in missing):
        without_pooler(network)
    elif missing:
        raise ValueError(
            f"{uid}: expected all weights in {file}, got none for {len(missing)}: "
            f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}."
        )


def adapt(state: State, module: Any) -> State:
    """Bring the weights of a file, those of the transformer alone too, into the encoder's."""
    state = without_old_buffers(state)
    if any(name.startswith("0.") for name in state):
        renamed = {name.replace("0.auto_model.", "0.model.", 1): state[name] for name in state}
        return renamed
    prefix = f"{module[0].model.base_model_prefix}."
    found = {f"0.model.{name.removeprefix(prefix)}": value for name, value in state.items()}
    own = module.state_dict()
    return found | {name: own[name] for name in own if not name.startswith("0.")}


def recognise(module: Any) -> Loaded | None:
    """Find the tokenizer of an encoder that sentence-transformers made: its own."""
    library = sys.modules.get("sentence_transformers")
    if library is None or not isinstance(module, library.SentenceTransformer):
        return None
    return Loaded(module, module.tokenizer, embed)


SOURCE = Source(
    name=NAME,
    summary="sentence encoders of sentence-transformers",
    rows=rows,
    build=build,
    load=load,
    library="sentence_transformers",
    adapt=adapt,
    recognise=recognise,
    open_ended=True,
)
