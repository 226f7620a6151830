"""The measures between two representations, one file a family; importing it registers them."""

from isomorph.alignment.measures import cca as cca
from isomorph.alignment.measures import cka as cka
from isomorph.alignment.measures import distribution as distribution
from isomorph.alignment.measures import matching as matching
from isomorph.alignment.measures import neighbours as neighbours
from isomorph.alignment.measures import predictivity as predictivity
from isomorph.alignment.measures import second_order as second_order
from isomorph.alignment.measures import shape as shape
from isomorph.alignment.measures import spectral as spectral
