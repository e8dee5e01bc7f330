"""The command line: help for people, one line for a mistake, and the exit code. Imports no torch."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from leyden.config.compose import CONF, explain, groups, plain
from leyden.errors import DivergedError, StoppedError, TrialsFailedError, UserError
from leyden.sweep.job import read_job_spec, run_job

WAIT_FOR_FIRST = 10  # seconds

INTRO = """\
Leyden trains, resumes, sweeps and tests neural networks on images, and on tables and series too.

  python train.py [GROUP=CHOICE ...] [KEY=VALUE ...]
"""

EXAMPLES = """\
Examples
  python train.py                                          the cnn on the digits inside scikit-learn, no download
  python train.py model=mlp data=mnist                     another net, another data set
  python train.py data=cifar10 trainer.max_epochs=20 optimizer.lr=1e-3
  python train.py model.hidden=[512,256] model.dropout=0.2 model.activation=gelu
  python train.py optimizer=sgd scheduler=cosine seed=1
  python train.py trainer=ddp trainer.devices=4            four GPUs
  python train.py resume=logs/runs/digits-cnn/RUN          go on with a run that was stopped
  python train.py -m model=mlp,cnn seed=0,1,2              every combination; the same command goes on where it stopped
  python train.py -m sweep=lr model=mlp data=mnist         a search, see conf/sweep
  python train.py -m 'optimizer.lr=tag(log, interval(1e-4, 1e-1))' sweep.n_trials=20 hydra.launcher.n_jobs=2

See every key with its value:    python train.py [...] --cfg job
Complete with the tab key:       eval "$(python train.py -sc install=bash)"   (or zsh, fish)
Watch:                           tensorboard --logdir logs
Hydra's own options:             python train.py --hydra-help
"""


def main() -> None:
    """Run the command line and exit: 0 done, 1 a trial failed, 2 a mistake, 3 diverged, 143 stopped by SIGTERM."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(help_text(), end="")
        return
    signal.signal(signal.SIGTERM, _stop)
    with exit_codes():
        # Hydra prints an error in several lines and exits with 1 unless this asks for the exception itself.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        _hydra_main()


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _hydra_main(cfg: DictConfig) -> Any:
    # A sweep's other launchers run a job inside a process of theirs, which wants the exception.
    with nullcontext() if HydraConfig.get().mode == RunMode.MULTIRUN else exit_codes():
        config = plain(cfg)
        job, overrides = read_job_spec(), HydraConfig.get().overrides.task
        if job:
            return run_job(config, job)
        if any(override.startswith("sweep") for override in overrides):
            raise UserError("sweep: is of several runs: python train.py -m …")
        from leyden.run import resume, run  # imports torch and Lightning, which takes seconds; all before needs neither

        if config.resume:
            return resume(config.resume, overrides)
        return run(config)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn an expected error into one line on stderr and its exit code; defects keep their traceback."""
    try:
        yield
    except (UserError, DivergedError, TrialsFailedError) as error:
        _exit(f"error: {error}", error.exit_code)
    except StoppedError as error:
        _exit(str(error), error.exit_code)
    except CompactHydraException as error:
        _exit(f"error: {explain(error, sys.argv[1:])}", UserError.exit_code)
    except OmegaConfBaseException as error:
        _exit(f"error: {' '.join(str(error).split())}", UserError.exit_code)


def _exit(message: str, code: int) -> NoReturn:
    if int(os.environ.get("LOCAL_RANK", 0)) > 0:
        # The first process of a DDP run meets the same error, tells it and ends, and this one with it. If it does
        # not, this one tells: its exit code makes Lightning end the first, which would wait for it forever.
        time.sleep(WAIT_FOR_FIRST)
    print(message, file=sys.stderr)
    raise SystemExit(code)


def _stop(signum: int, frame: object) -> NoReturn:
    raise SystemExit(128 + signum)


def help_text() -> str:
    """What ``--help`` prints: what it is, the groups with their choices, examples."""
    lines, listed = [INTRO], groups()
    width = max(len(name) for choices in listed.values() for name in choices)
    for group, choices in listed.items():
        lines.append(group)
        lines += [f"  {name:{width}}  {headline}" for name, headline in choices.items()]
        lines.append("")
    return "\n".join([*lines, EXAMPLES])
