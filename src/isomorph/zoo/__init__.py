"""The catalogue of models, and their sources."""

from isomorph.zoo.catalogue import list_models as list_models
from isomorph.zoo.contrasts import contrasts as contrasts
from isomorph.zoo.load import load_model as load_model
from isomorph.zoo.preprocess import ImagePreprocess as ImagePreprocess
from isomorph.zoo.recognise import as_model as as_model
from isomorph.zoo.registered import model_sources as model_sources
from isomorph.zoo.source import Loaded as Loaded
from isomorph.zoo.source import Row as Row
from isomorph.zoo.source import Source as Source
from isomorph.zoo.sources.own import register_model as register_model
