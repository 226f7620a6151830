"""RDMs, Grams, comparisons, projections and spectra: pure functions of arrays and tensors."""

from isomorph.geometry.columns import NonFiniteError as NonFiniteError
from isomorph.geometry.columns import Scaling as Scaling
from isomorph.geometry.columns import as_tensor as as_tensor
from isomorph.geometry.compare import COMPARISONS as COMPARISONS
from isomorph.geometry.compare import Comparison as Comparison
from isomorph.geometry.compare import compare_rdms as compare_rdms
from isomorph.geometry.compare import unit_vectors as unit_vectors
from isomorph.geometry.gram import Gram as Gram
from isomorph.geometry.gram import doubly_centred as doubly_centred
from isomorph.geometry.gram import grams as grams
from isomorph.geometry.moments import Moments as Moments
from isomorph.geometry.moments import RunningMoments as RunningMoments
from isomorph.geometry.moments import moments_of as moments_of
from isomorph.geometry.projections import SparseProjector as SparseProjector
from isomorph.geometry.projections import johnson_lindenstrauss_dim as johnson_lindenstrauss_dim
from isomorph.geometry.projections import project as project
from isomorph.geometry.projections import sparse_projection_matrix as sparse_projection_matrix
from isomorph.geometry.rdm import RDM_METHODS as RDM_METHODS
from isomorph.geometry.rdm import average_rdms as average_rdms
from isomorph.geometry.rdm import compute_rdm as compute_rdm
from isomorph.geometry.rdm import rdm_from_gram as rdm_from_gram
from isomorph.geometry.rdm import square as square
from isomorph.geometry.rdm import upper_triangle as upper_triangle
from isomorph.geometry.spectra import effective_dimensionality as effective_dimensionality
from isomorph.geometry.spectra import (
    effective_dimensionality_corrected as effective_dimensionality_corrected,
)
