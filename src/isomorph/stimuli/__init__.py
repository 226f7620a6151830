"""Sets of stimuli: images, texts and videos, in files, archives, tables and arrays, or drawn."""

from isomorph.stimuli.bricks import from_hdf5 as from_hdf5
from isomorph.stimuli.dispatch import as_stimuli as as_stimuli
from isomorph.stimuli.folders import from_class_folders as from_class_folders
from isomorph.stimuli.folders import from_folder as from_folder
from isomorph.stimuli.folders import write_order as write_order
from isomorph.stimuli.images import ImageSet as ImageSet
from isomorph.stimuli.names import listing as listing
from isomorph.stimuli.names import natural_key as natural_key
from isomorph.stimuli.names import positions_of as positions_of
from isomorph.stimuli.procedural import procedural_images as procedural_images
from isomorph.stimuli.protocol import StimulusSet as StimulusSet
from isomorph.stimuli.readers import from_arrays as from_arrays
from isomorph.stimuli.readers import from_files as from_files
from isomorph.stimuli.readers import from_images as from_images
from isomorph.stimuli.readers import from_zip as from_zip
from isomorph.stimuli.sets import group_order as group_order
from isomorph.stimuli.tables import from_frame as from_frame
from isomorph.stimuli.tables import from_huggingface as from_huggingface
from isomorph.stimuli.texts import TextSet as TextSet
from isomorph.stimuli.texts import from_text_file as from_text_file
from isomorph.stimuli.texts import from_texts as from_texts
from isomorph.stimuli.videos import VideoSet as VideoSet
from isomorph.stimuli.videos import frames as frames
from isomorph.stimuli.videos import from_videos as from_videos
