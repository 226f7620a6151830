"""Source ``transformers``: a catalogue of published networks, and any other of the hub.

``transformers/ORG/NAME`` and ``hf/ORG/NAME`` are the same; a revision comes after ``@``. A folder
that ``save_pretrained`` wrote is a name too (``hf/./my_model``, ``hf//data/my_model``), or is given
by ``weights=FOLDER``.

Of a pair of encoders (CLIP, SigLIP) the name is the image encoder, ``…/text`` the text encoder; of
an encoder–decoder (T5, BART) the encoder is loaded. Everything is float32, and attention is what
the library itself chooses: the fused one where an architecture has it, which gives what others who
use the library get, and keeps maps of all tokens × all tokens out of the layers.

Code of publishers (``trust_remote_code``) is never run, and nothing is unpickled but tensors.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from isomorph.storage import hash_file
from isomorph.zoo.huggingface.configs import is_shipped, make_config
from isomorph.zoo.huggingface.files import WEIGHTS, has_weights, hub_file, hub_folder, quiet_hub
from isomorph.zoo.huggingface.images import (
    FramesPreprocess,
    ProcessedFrames,
    TensorPreprocess,
    as_data,
)
from isomorph.zoo.huggingface.models import (
    forward_of,
    is_dual,
    keep_encoder,
    modality,
    prepare_config,
    quiet_library,
)
from isomorph.zoo.huggingface.reading import (
    read_config,
    read_network,
    without_old_buffers,
    without_pooler,
)
from isomorph.zoo.preprocessing.texts import HubTokenizer, has_vocabulary, read_tokenizer
from isomorph.zoo.source import Loaded, Row, Source, State
from isomorph.zoo.tables.lines import named_lines

logger = logging.getLogger(__name__)

NAME = "transformers"
TABLE = Path(__file__).parents[1] / "tables" / "transformers.csv"
MAIN = "main"


@functools.cache
def table() -> dict[str, dict[str, str]]:
    """Give the catalogue's lines by name."""
    return named_lines(TABLE)


def rows() -> Iterator[Row]:
    """List the catalogue, both encoders of a pair."""
    for name, line in table().items():
        count, size = line["n_params"], line["input_size"]
        yield Row(
            source=NAME,
            name=name,
            weights=MAIN,
            default=True,
            modality=line["modality"],
            architecture=line["architecture"],
            family=line["family"],
            task=line["task"],
            train_data=line["train_data"],
            n_params=int(count) if count else None,
            input_size=int(size) if size else None,
            license=line["license"],
            weights_bytes=4 * int(count) if count else None,
            url=f"https://huggingface.co/{split_name(name)[0]}",
        )


def split_name(name: str) -> tuple[str, str]:
    """Take a name apart: the repository or folder, and which encoder of a pair.

    Examples
    --------
    >>> split_name("openai/clip-vit-base-patch32/text")
    ('openai/clip-vit-base-patch32', 'text')
    """
    repository = name.removesuffix("/text")
    return repository, "text" if repository != name else "image"


def build(name: str) -> Loaded:
    """Build an architecture as it is before training.

    What the catalogue lists is built without a network; of another repository its ``config.json``
    is read from the cache or downloaded.
    """
    module = build_module(name)
    tower = split_name(name)[1]
    preprocess = _twins_preprocess(name, module.config, tower)
    return Loaded(module, preprocess, forward_of(module.config, tower))


def build_module(name: str) -> Any:
    """Build the network, or encoder, that a name means."""
    from transformers import AutoModel

    repository, tower = split_name(name)
    uid = f"{NAME}/{name}"
    with quiet_library():
        if is_shipped(repository):
            config = make_config(repository)
        else:
            config = read_config(_config_folder(repository, uid), uid)
        module = AutoModel.from_config(prepare_config(config), dtype=torch.float32)
    module = keep_encoder(module, tower)
    if table().get(name, {}).get("pooler") == "no":
        without_pooler(module)
    return module


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from the hub's cache if they are there, or those of a folder."""
    repository, tower = split_name(name)
    weights = weights or MAIN
    uid = f"{NAME}/{name}@{weights}"
    folder = local_folder(repository, weights, uid)
    label = weights
    if folder is not None:
        label = f"file-{_hash_weights(folder)}"
        _check_kind(repository, folder, uid)
    else:
        with quiet_hub(progress):
            folder = hub_folder(repository, uid, revision=weights, whole=has_weights)
    config = prepare_config(read_config(folder, uid))
    module = read_network(folder, config, uid, tower)
    preprocess = read_preprocess(folder, config, tower)
    return Loaded(module, preprocess, forward_of(config, tower), label)


def local_folder(repository: str, weights: str, uid: str) -> Path | None:
    """Give the folder that was named, as the weights or as the network; None for the hub's.

    Raises
    ------
    FileNotFoundError
        If there are no weights in it.
    """
    # A plain word is a name, also where a folder of that name happens to be at hand: the loader
    # gives a folder that the user named with its whole path.
    for word in filter(_is_path, (weights, repository)):
        path = Path(word).expanduser()
        if not has_weights(path):
            raise FileNotFoundError(
                f"{uid}: expected a folder that save_pretrained() wrote at {path}, with "
                f"{' or '.join(WEIGHTS)} in it, got "
                f"{'none such' if path.is_dir() else 'no folder'}."
            )
        return path
    return None


def _is_path(word: str) -> bool:
    return word.startswith((".", "/", "~")) or Path(word).is_absolute()


def _config_folder(repository: str, uid: str) -> Path:
    if _is_path(repository):
        return Path(repository).expanduser()
    return hub_file(repository, ["config.json"], uid).parent


# What makes two networks of one type differ in shape.
_SHAPE = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "d_model"),
    *("n_embd", "n_layer", "n_head", "num_layers", "dim", "hidden_sizes", "depths", "patch_size"),
)


def _check_kind(repository: str, folder: Path, uid: str) -> None:
    """Refuse the folder of another architecture than the repository's."""
    if not is_shipped(repository):
        return
    planned, given = make_config(repository), read_config(folder, uid)
    for fact in ("model_type", *_SHAPE):
        expected, found = getattr(planned, fact, None), getattr(given, fact, None)
        if None not in (expected, found) and found != expected:
            raise ValueError(
                f"{uid}: expected a folder with {fact} {expected}, got {found} in {folder}. It is "
                f"another network; name it by itself: load_model('hf/{folder}')."
            )


def _hash_weights(folder: Path) -> str:
    files = sorted(path for kind in WEIGHTS for path in folder.glob(kind))
    hashes = [hash_file(path) for path in files]
    if len(hashes) == 1:
        return hashes[0][:8]
    return hashlib.blake2b("".join(hashes).encode(), digest_size=4).hexdigest()


def read_preprocess(folder: Path, config: Any, tower: str) -> Any:
    """Read what was published with weights: the image processor as data, or the tokenizer."""
    kind = modality(config, tower)
    if kind == "language":
        return read_tokenizer(folder) if has_vocabulary(folder) else None
    if not (folder / "preprocessor_config.json").is_file():
        found = _library_preprocess(config, {})
        logger.warning(
            "%s holds no preprocessor_config.json: pictures are prepared as the library does for "
            "any %s, which may not be how this one was trained: %s",
            *(folder, config.model_type, found),
        )
        return found
    from transformers import AutoImageProcessor

    with quiet_library():
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    return _for_clips(as_data(processor), config)


def _library_preprocess(config: Any, changed: dict[str, Any]) -> Any:
    """Give the library's own preprocessing of an architecture, at its size, with changes."""
    import transformers
    from transformers.models.auto import image_processing_auto as library

    known: Any = library.IMAGE_PROCESSOR_MAPPING_NAMES  # pyright: ignore[reportPrivateImportUsage]
    named: Any = known.get(config.model_type) or {}
    kind = changed.pop("class", None) or named.get("torchvision")
    if kind is None:
        return None
    settings = dict(changed)
    side = getattr(getattr(config, "vision_config", config), "image_size", None)
    if isinstance(side, int) and "size" not in settings:
        settings |= _at_size(getattr(transformers, kind), side)
    with quiet_library():
        processor: Any = getattr(transformers, kind)(**settings)
    return _for_clips(as_data(processor), config)


def _at_size(kind: Any, side: int) -> dict[str, Any]:
    if not hasattr(kind, "size"):
        return {}
    square = {"height": side, "width": side}
    whole = getattr(kind, "do_center_crop", None)
    size = {"shortest_edge": side} if "shortest_edge" in dict(kind.size) else square
    return {"size": size, **({"crop_size": square} if whole else {})}


def _for_clips(preprocess: Any, config: Any) -> Any:
    if modality(config) != "video":
        return preprocess
    kind = FramesPreprocess if isinstance(preprocess, TensorPreprocess) else ProcessedFrames
    return kind(preprocess, config.num_frames)


def _twins_preprocess(name: str, config: Any, tower: str) -> Any:
    repository, _ = split_name(name)
    if modality(config, tower) == "language":
        return HubTokenizer(repository)
    line = table().get(name)
    if line is None and _is_path(repository):
        return read_preprocess(Path(repository).expanduser(), config, tower)
    changed = json.loads(line["preprocess"]) if line and line["preprocess"] else {}
    return _library_preprocess(config, changed)


def adapt(state: State, module: Any) -> State:
    """Bring the weights of a file, which may be those of a network with a head, into a module's.

    Names lose the prefix of the network inside (``bert.``); heads, decoders and other encoders,
    which are not loaded, are left out. A pooling layer that the file lacks goes.
    """
    prefix = f"{module.base_model_prefix}."
    state = without_old_buffers(state)
    found = {name.removeprefix(prefix): value for name, value in state.items()}
    if any(name.startswith(prefix) for name in state):
        inside = {name.removeprefix(prefix) for name in state if name.startswith(prefix)}
        found = {name: value for name, value in found.items() if name in inside}
    parts = {name.partition(".")[0] for name in module.state_dict()}
    if is_dual(module.config) or getattr(module.config, "is_encoder_decoder", False):
        found = {name: value for name, value in found.items() if name.partition(".")[0] in parts}
    if "pooler" in parts and not any(name.startswith("pooler.") for name in found):
        without_pooler(module)
    return found


def recognise(module: Any) -> Loaded | None:
    """Find the preprocessing of a network of transformers, in its folder or the hub's cache."""
    library = sys.modules.get("transformers")
    if library is None or not isinstance(module, library.PreTrainedModel):
        return None
    config = module.config
    name = str(getattr(config, "_name_or_path", "") or "")
    folder = Path(name) if name and Path(name).is_dir() else None
    if name and folder is None:
        try:
            folder = hub_folder(name, name, whole=lambda path: True, local_only=True)
        except (OSError, ValueError):
            return None
    try:
        preprocess = read_preprocess(folder, config, "image") if folder else None
        forward = forward_of(config, "image")
    except (OSError, KeyError, ValueError):
        return None
    return Loaded(module, preprocess, forward) if preprocess is not None else None


SOURCE = Source(
    name=NAME,
    summary="networks of transformers, and any of the Hugging Face hub as hf/ORG/NAME",
    rows=rows,
    build=build,
    load=load,
    library="transformers",
    adapt=adapt,
    recognise=recognise,
    open_ended=True,
)
