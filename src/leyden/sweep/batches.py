"""Runs jobs by any other launcher of Hydra's, such as submitit's for Slurm: a batch at a time, as those work."""

import traceback

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from leyden.errors import DivergedError
from leyden.sweep.job import VARIABLE
from leyden.sweep.runners import OUTPUT, Job


class Batches:
    """Collects jobs and launches them together.

    Args:
        launcher: runs them, and waits for all.
        size: of a batch.
    """

    def __init__(self, launcher: Launcher, size: int) -> None:
        self.launcher, self.size = launcher, size
        self.jobs: list[Job] = []
        self.launched = 0

    def capacity(self) -> int:
        """How many more jobs fit into the batch."""
        return self.size - len(self.jobs)

    def running(self) -> list[Job]:
        return self.jobs

    def start(self, job: Job) -> None:
        """Put `job` into the batch."""
        self.jobs.append(job)

    def ended(self) -> list[tuple[Job, str | None]]:
        """Run the batch; each job with what went wrong or None."""
        jobs, self.jobs = self.jobs, []
        if not jobs:
            return []
        overrides = [[*job.overrides, f"+hydra.job.env_set.{VARIABLE}={quote(job.ticket(None))}"] for job in jobs]
        results = self.launcher.launch(overrides, initial_job_idx=self.launched)
        self.launched += len(jobs)
        return [(job, failure(job, result)) for job, result in zip(jobs, results, strict=True)]

    def stop(self) -> None:
        """Nothing runs between two batches."""


def quote(text: str) -> str:
    """`text` as a string of Hydra's override grammar."""
    return QuotedString(text, Quote.single).with_quotes()


def failure(job: Job, result: JobReturn) -> str | None:
    """What went wrong in a line; the traceback goes to the job's folder."""
    if result.status == JobStatus.COMPLETED:
        return None
    error = result._return_value  # `return_value` would raise it
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / OUTPUT).open("a") as output:
        output.writelines(traceback.format_exception(error))
    said = " ".join(str(error).split()) or type(error).__name__
    return f"diverged: {said}" if isinstance(error, DivergedError) else said
