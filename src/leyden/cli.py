"""The command line: help, one line for each mistake, and the exit code. Imports no torch before a run starts."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from leyden.config.compose import CONF, check_choices, groups, plain
from leyden.config.exit_codes import exit_codes
from leyden.config.implied import with_task
from leyden.config.plugins import load_plugins
from leyden.config.quoting import quote_paths
from leyden.errors import UserError
from leyden.training.signals import exit_on_signals

INTRO = """\
Leyden trains, resumes, sweeps and tests neural networks on images, tables, series and texts in images.

  python train.py [GROUP=CHOICE ...] [KEY=VALUE ...]
"""

EXAMPLES = """\
Examples
  python train.py                                          the cnn on the digits of scikit-learn, no download
  python train.py model=mlp data=mnist                     another net, another data set
  python train.py data=cifar10 trainer.max_epochs=20 optimizer.lr=1e-3
  python train.py model.hidden=[512,256] model.dropout=0.2 model.activation=gelu
  python train.py optimizer=sgd scheduler=cosine seed=1
  python train.py trainer=ddp trainer.devices=4            four GPUs
  python train.py resume=logs/runs/digits-cnn/RUN          continue a run that was stopped
  python train.py -m model=mlp,cnn seed=0,1,2              every combination; the same command continues a stopped sweep
  python train.py -m sweep=lr model=mlp data=mnist         a search, see conf/sweep
  python train.py -m 'optimizer.lr=tag(log, interval(1e-4, 1e-1))' sweep.n_trials=20 hydra.launcher.n_jobs=2

Every key with its value:   python train.py [...] --cfg job
What a key means:           python train.py [...] --help optimizer.lr
Version:                    python train.py --version
Tab completion:             eval "$(leyden --completion bash)"   (or zsh; fish: leyden --completion fish | source)
Watch the curves:           tensorboard --logdir logs
Hydra's own options:        python train.py --hydra-help
"""


def main() -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 1 a trial of a sweep failed, 2 a mistake of the user, 3 the training diverged,
    129, 130 and 143 stopped by SIGHUP, Ctrl-C and SIGTERM.
    """
    with exit_codes(), _quick_exit():
        exit_on_signals()
        if sys.argv[1:2] in (["--completion"], ["--complete"]):
            from leyden.config.completion import answer

            print(answer(sys.argv[1:]), end="")
            return
        arguments = quote_paths(sys.argv[1:])
        load_plugins(arguments)
        if {"--help", "-h", "--help-key"} & set(arguments):
            print(help_for(arguments), end="")
            return
        if "--version" in arguments:
            from leyden import __version__

            print(f"leyden {__version__}")
            return
        if resumed := resume_arguments(arguments):
            from leyden.run import resume  # imports torch and Lightning, which takes seconds

            resume(*resumed)
            return
        check_choices(arguments)
        sys.argv[1:] = with_task(arguments)
        # Without this, Hydra prints an error in several lines and exits with 1 instead of raising it.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        _hydra_main()


@contextmanager
def _quick_exit() -> Iterator[None]:
    """Skip Python's garbage collection at the end of the process. It would take seconds to visit all objects."""
    try:
        yield
    finally:
        gc.freeze()


def resume_arguments(arguments: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the run folder and the other overrides of ``resume=RUN …``, None if no run is resumed.

    The config of a resumed run is in its folder, so `conf/` is not composed.

    Raises:
        UserError: the value is not a folder, or the other arguments include an option or a sweep.
    """
    keys = [argument.partition("=")[0] for argument in arguments]
    if "resume" not in keys:
        return None
    if {"-m", "--multirun"} & set(arguments):
        raise UserError("resume: cannot be combined with -m. To resume a sweep, repeat its command without resume")
    if options := [argument for argument in arguments if argument.startswith("-")]:
        raise UserError(f"resume: cannot be combined with {options[0]}")
    text = arguments[keys.index("resume")]
    if text == "resume=":
        raise UserError("resume: is empty, must be a run folder. Is a variable of your shell not set?")
    value = OverridesParser.create().parse_overrides([text])[0].value()
    if value is None:
        return None
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise UserError(f"resume: got {text.partition('=')[2]}, must be a run folder")
    return text.partition("=")[2].strip("'\"") if not isinstance(value, str) else value, [
        argument for argument, key in zip(arguments, keys, strict=True) if key != "resume"
    ]


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _hydra_main(cfg: DictConfig) -> Any:
    # Other launchers of a sweep run a job inside a process of theirs, which needs the exception.
    with nullcontext() if HydraConfig.get().mode == RunMode.MULTIRUN else exit_codes():
        from leyden.sweep.job import read_job_spec

        config, spec = plain(cfg), read_job_spec()
        if spec:
            from leyden.sweep.job import run_job

            return run_job(config, spec)
        if any(override.startswith("sweep") for override in HydraConfig.get().overrides.task):
            raise UserError("sweep: its keys need several runs. Add -m: python train.py -m …")
        from leyden.run import run  # imports torch and Lightning, which takes seconds

        return run(config)


def help_for(arguments: Sequence[str]) -> str:
    """Return what ``--help`` prints, or ``--help KEY`` and ``--help-key KEY``.

    Raises:
        UserError: there is no such key.
    """
    words = [argument for argument in arguments if not argument.startswith("-")]
    keys = [word for word in words if "=" not in word]
    if keys:
        from leyden.config.key_help import key_help

        return "\n".join(key_help(key, [word for word in words if "=" in word]) for key in keys)
    if "--help-key" in arguments:
        raise UserError("--help-key: needs a key, for example: --help-key optimizer.lr")
    return help_text()


def help_text() -> str:
    """Return what ``--help`` prints: the groups with their choices, and examples."""
    lines, listed = [INTRO], groups()
    width = max(len(name) for choices in listed.values() for name in choices)
    for group, choices in listed.items():
        lines.append(group)
        lines += [f"  {name:{width}}  {headline}" for name, headline in choices.items()]
        lines.append("")
    return "\n".join([*lines, EXAMPLES])


if __name__ == "__main__":
    main()
