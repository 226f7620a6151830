"""Encoding models as pure functions of kernels and responses, and their scores."""

from isomorph.encoding.kernels import PUBLISHED_ALPHAS as PUBLISHED_ALPHAS
from isomorph.encoding.kernels import centre_kernels as centre_kernels
from isomorph.encoding.kernels import relative_alphas as relative_alphas
from isomorph.encoding.ridge import RidgeFit as RidgeFit
from isomorph.encoding.ridge import ridge_loo as ridge_loo
from isomorph.encoding.scores import SCORE_TYPES as SCORE_TYPES
from isomorph.encoding.scores import explained_variance as explained_variance
from isomorph.encoding.scores import pearson_r as pearson_r
from isomorph.encoding.scores import r2 as r2
