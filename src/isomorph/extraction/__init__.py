"""Survey, plan and stream: every layer of a model in one pass."""

from isomorph.extraction.extractor import FeatureExtractor as FeatureExtractor
from isomorph.extraction.extractor import available_memory as available_memory
from isomorph.extraction.extractor import extract_features as extract_features
from isomorph.extraction.extractor import inputs_budget as inputs_budget
from isomorph.extraction.extractor import make_plan as make_plan
from isomorph.extraction.extractor import memory_budget as memory_budget
from isomorph.extraction.extractor import read_apart as read_apart
from isomorph.extraction.inputs import Inputs as Inputs
from isomorph.extraction.model import Model as Model
from isomorph.extraction.model import ready as ready
from isomorph.extraction.model import resolve_device as resolve_device
from isomorph.extraction.needs import FeaturesNeed as FeaturesNeed
from isomorph.extraction.needs import GramNeed as GramNeed
from isomorph.extraction.needs import Need as Need
from isomorph.extraction.needs import ProjectionNeed as ProjectionNeed
from isomorph.extraction.needs import held_bytes as held_bytes
from isomorph.extraction.plan import Layer as Layer
from isomorph.extraction.plan import Plan as Plan
from isomorph.extraction.stream import FalseDuplicateError as FalseDuplicateError
from isomorph.extraction.stream import stream_layers as stream_layers
from isomorph.extraction.survey import survey_model as survey_model
