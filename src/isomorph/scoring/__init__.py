"""Where model, benchmark and metric meet."""

from isomorph.scoring.job import Job as Job
from isomorph.scoring.job import prepare as prepare
from isomorph.scoring.load import load_benchmark as load_benchmark
from isomorph.scoring.preflight import Preflight as Preflight
from isomorph.scoring.preflight import preflight as preflight
from isomorph.scoring.run import run_job as run_job
from isomorph.scoring.run import score as score
