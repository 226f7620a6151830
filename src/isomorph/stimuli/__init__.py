"""Sets of stimuli: images in files, archives and arrays, and images drawn from a seed."""

from isomorph.stimuli.images import ImageSet as ImageSet
from isomorph.stimuli.images import StimulusSet as StimulusSet
from isomorph.stimuli.images import listing as listing
from isomorph.stimuli.images import positions_of as positions_of
from isomorph.stimuli.procedural import procedural_images as procedural_images
from isomorph.stimuli.readers import as_stimuli as as_stimuli
from isomorph.stimuli.readers import from_arrays as from_arrays
from isomorph.stimuli.readers import from_files as from_files
from isomorph.stimuli.readers import from_folder as from_folder
from isomorph.stimuli.readers import from_images as from_images
from isomorph.stimuli.readers import from_zip as from_zip
from isomorph.stimuli.readers import natural_key as natural_key
