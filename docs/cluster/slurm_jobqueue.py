"""facer extract on workers that SLURM starts, one a job; everything after -- goes to facer.

    python slurm_jobqueue.py --jobs 32 -- /shared/videos -o /shared/features.zarr

Needs dask-jobqueue, and a host that nodes can reach and that may submit jobs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from dask_jobqueue import SLURMCluster


def main() -> int:
    """Start the jobs, run facer, end the jobs; facer's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("extract", nargs="+", help="arguments of facer extract")
    options = parser.parse_args()
    with SLURMCluster(
        cores=1,
        processes=1,
        memory="2GB",
        walltime="12:00:00",
        job_extra_directives=[],  # such as "--partition=short", "--gpus=1"
        worker_extra_args=["--memory-limit", "0"],
    ) as cluster:
        cluster.scale(jobs=options.jobs)
        cluster.wait_for_workers(1)  # the others join when SLURM starts them
        command = [sys.executable, "-m", "facer.cli", "extract", *options.extract]
        command += ["--scheduler", cluster.scheduler_address]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
