"""The catalogue of models, and their sources."""

from isomorph.zoo.catalogue import SOURCES as SOURCES
from isomorph.zoo.catalogue import list_models as list_models
from isomorph.zoo.catalogue import load_model as load_model
