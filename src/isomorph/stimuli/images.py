"""`ImageSet`: an ordered, named set of images, read when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image

from isomorph.stimuli.protocol import Kind
from isomorph.stimuli.sets import SourceSet


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet(SourceSet):
    """An ordered set of named images; nothing is decoded before it is asked for.

    Make one with `from_folder`, `from_class_folders`, `from_files`, `from_arrays`, `from_images`,
    `from_zip`, `from_hdf5`, `from_frame`, `from_huggingface`, `frames` or `as_stimuli`.

    Parameters
    ----------
    ids : tuple of str
        One unique name for each image, in the order that every array's first axis follows.
    sources : tuple of Source
        Where each image is read from.
    metadata : DataFrame, optional
        One row a stimulus, index 0 … n − 1; a column ``stimulus_id`` equal to `ids` is put first.
        A column ``label`` holds the class of each.
    groups : tuple, optional
        One label a stimulus; stimuli of one group belong together when data are split.
    origin : str
        Where the set comes from and how it was ordered, in words.

    Examples
    --------
    >>> from isomorph.stimuli import from_arrays
    >>> images = from_arrays(np.zeros((2, 8, 8, 3), np.uint8), ids=["a", "b"])
    >>> len(images), images.ids, images.load(0).size
    (2, ('a', 'b'), (8, 8))
    """

    kind: ClassVar[Kind] = "image"

    def load(self, i: int) -> Image.Image:
        """Decode image `i` into RGB.

        Raises
        ------
        ValueError
            If it cannot be decoded; names the stimulus and the place it is read from.
        """
        return super().load(i)
