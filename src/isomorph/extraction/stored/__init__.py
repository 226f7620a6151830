"""Features in a folder: what is in it, how it is written, and how it is read again."""

from isomorph.extraction.stored.disk import DiskFullError as DiskFullError
from isomorph.extraction.stored.folder import FeatureFolder as FeatureFolder
from isomorph.extraction.stored.folder import load_features as load_features
from isomorph.extraction.stored.formats import FORMATS as FORMATS
from isomorph.extraction.stored.manifest import Manifest as Manifest
from isomorph.extraction.stored.manifest import StoredLayer as StoredLayer
from isomorph.extraction.stored.writer import FeatureWriter as FeatureWriter
