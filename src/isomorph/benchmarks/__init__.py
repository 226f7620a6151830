"""Brain and behavioural data with their stimuli, one file a data set."""

from isomorph.benchmarks.benchmark import Benchmark as Benchmark
from isomorph.benchmarks.blocks import Block as Block
from isomorph.benchmarks.blocks import RDMSet as RDMSet
from isomorph.benchmarks.blocks import responses_from_presentations as responses_from_presentations
from isomorph.benchmarks.catalogue import BENCHMARKS as BENCHMARKS
from isomorph.benchmarks.catalogue import BenchmarkEntry as BenchmarkEntry
from isomorph.benchmarks.catalogue import list_benchmarks as list_benchmarks
from isomorph.benchmarks.catalogue import load_registered as load_registered
from isomorph.benchmarks.checks import GROUP as GROUP
from isomorph.benchmarks.own_data import make_benchmark as make_benchmark
from isomorph.benchmarks.simulated import simulate_benchmark as simulate_benchmark
