"""Splits of the stimuli, folds, and resampling, all frozen and seeded."""

from isomorph.resampling.permutations import EXCHANGES as EXCHANGES
from isomorph.resampling.permutations import permutation_orders as permutation_orders
from isomorph.resampling.splits import Split as Split
from isomorph.resampling.splits import given as given
from isomorph.resampling.splits import is_swapped as is_swapped
from isomorph.resampling.splits import kfold as kfold
from isomorph.resampling.splits import odd_even as odd_even
from isomorph.resampling.splits import swapped as swapped
