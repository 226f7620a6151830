"""Isomorph: does this model represent the world the way that brain does?

Any PyTorch model × any brain or behavioural data × every alignment measure: one pass through the
model, one tidy table.

>>> import isomorph as iso  # doctest: +SKIP
>>> model = iso.load_model("torchvision/alexnet")  # doctest: +SKIP
>>> results = iso.score(model, iso.load_benchmark("kriegeskorte92"))  # doctest: +SKIP
>>> iso.select_layers(results)  # doctest: +SKIP
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isomorph.alignment import list_metrics as list_metrics
    from isomorph.alignment import score_arrays as score_arrays
    from isomorph.benchmarks import Benchmark as Benchmark
    from isomorph.benchmarks import list_benchmarks as list_benchmarks
    from isomorph.benchmarks import make_benchmark as make_benchmark
    from isomorph.benchmarks import simulate_benchmark as simulate_benchmark
    from isomorph.extraction import FeatureExtractor as FeatureExtractor
    from isomorph.extraction import Model as Model
    from isomorph.extraction import extract_features as extract_features
    from isomorph.extraction import load_features as load_features
    from isomorph.geometry import compare_rdms as compare_rdms
    from isomorph.geometry import compute_rdm as compute_rdm
    from isomorph.plots import plot_best as plot_best
    from isomorph.plots import plot_layers as plot_layers
    from isomorph.plots import plot_rdm as plot_rdm
    from isomorph.plots import plot_statistic as plot_statistic
    from isomorph.plots import show_sample as show_sample
    from isomorph.results import mean_over_subjects as mean_over_subjects
    from isomorph.results import read_results as read_results
    from isomorph.results import select_layers as select_layers
    from isomorph.results import write_results as write_results
    from isomorph.scoring import load_benchmark as load_benchmark
    from isomorph.scoring import score as score
    from isomorph.stimuli import as_stimuli as as_stimuli
    from isomorph.stimuli import from_class_folders as from_class_folders
    from isomorph.stimuli import from_files as from_files
    from isomorph.stimuli import from_folder as from_folder
    from isomorph.stimuli import from_frame as from_frame
    from isomorph.stimuli import from_hdf5 as from_hdf5
    from isomorph.stimuli import from_huggingface as from_huggingface
    from isomorph.stimuli import from_texts as from_texts
    from isomorph.stimuli import from_videos as from_videos
    from isomorph.stimuli import procedural_images as procedural_images
    from isomorph.zoo import ImagePreprocess as ImagePreprocess
    from isomorph.zoo import add_head as add_head
    from isomorph.zoo import as_model as as_model
    from isomorph.zoo import contrasts as contrasts
    from isomorph.zoo import glocal as glocal
    from isomorph.zoo import list_models as list_models
    from isomorph.zoo import load_model as load_model
    from isomorph.zoo import register_model as register_model

__version__ = _version("isomorph")

# Each name is imported when it is first used: whoever only reads a results table waits for no
# torch, and whoever only extracts features waits for no plotting library.
_ROOM_OF = {
    "Benchmark": "benchmarks",
    "FeatureExtractor": "extraction",
    "ImagePreprocess": "zoo",
    "Model": "extraction",
    "add_head": "zoo",
    "as_model": "zoo",
    "as_stimuli": "stimuli",
    "compare_rdms": "geometry",
    "compute_rdm": "geometry",
    "contrasts": "zoo",
    "extract_features": "extraction",
    "from_class_folders": "stimuli",
    "from_files": "stimuli",
    "from_folder": "stimuli",
    "from_frame": "stimuli",
    "from_hdf5": "stimuli",
    "from_huggingface": "stimuli",
    "from_texts": "stimuli",
    "from_videos": "stimuli",
    "glocal": "zoo",
    "list_benchmarks": "benchmarks",
    "list_metrics": "alignment",
    "list_models": "zoo",
    "load_benchmark": "scoring",
    "load_features": "extraction",
    "load_model": "zoo",
    "make_benchmark": "benchmarks",
    "mean_over_subjects": "results",
    "plot_best": "plots",
    "plot_layers": "plots",
    "plot_rdm": "plots",
    "plot_statistic": "plots",
    "procedural_images": "stimuli",
    "read_results": "results",
    "register_model": "zoo",
    "score": "scoring",
    "score_arrays": "alignment",
    "select_layers": "results",
    "show_sample": "plots",
    "simulate_benchmark": "benchmarks",
    "write_results": "results",
}
__all__ = ["__version__", *_ROOM_OF]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF:
        return getattr(_import_module(f"isomorph.{_ROOM_OF[name]}"), name)
    raise AttributeError(f"module 'isomorph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
