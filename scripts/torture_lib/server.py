"""A process that imports torch, Lightning and Leyden once and then forks a child for each case.

A case takes about 1 s this way; a new Python process takes 5 s for the imports alone. It reads one JSON request per
line from stdin and answers with one JSON line on stdout:

    {"start": {"argv": [...], "output": PATH, "cwd": PATH, "environment": {...}, "memory": BYTES}}  → {"process": PID}
    {"wait": PID, "seconds": S}                                  → {"code": CODE} or {"code": null} if it still runs

`argv` is a Python file with its arguments, or ``-c`` with code. CODE is negative for a signal, as in `subprocess`.
"""

import atexit
import ctypes
import gc
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from scripts.torture_lib import words
from scripts.torture_lib.forks import session

# Not imported by Leyden's modules, but later by what they call.
IMPORTS = words(
    "torchvision tensorboard torch.utils.tensorboard sklearn.datasets scipy.stats optuna rich.table torch._dynamo "
    "typeguard lightning.pytorch.loggers hydra._internal.hydra "
    "PIL.PngImagePlugin PIL.JpegImagePlugin PIL.BmpImagePlugin"
)
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what an import prints must not be read as an answer
    prepare()
    answers.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            process = os.fork()
            if process == 0:
                answers.close()
                return child(**request["start"])
            answers.write(json.dumps({"process": process}) + "\n")
        else:
            answers.write(json.dumps({"code": wait(request["wait"], request["seconds"])}) + "\n")


def prepare() -> None:
    """Import everything that a case needs. No thread may start here: a fork copies only the thread that calls it."""
    import importlib
    import pkgutil

    import torch
    from hydra.core.plugins import Plugins

    import leyden

    Plugins.instance()  # before everything that imports a plugin: Hydra executes its modules again

    torch.set_num_threads(1)
    modules = [module.name for module in pkgutil.walk_packages(leyden.__path__, "leyden.")]
    for name in [*IMPORTS, *modules]:
        importlib.import_module(name)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    gc.collect()
    gc.freeze()


def wait(process: int, seconds: float) -> int | None:
    """The exit code of a case, after its other processes have been killed; None if it still runs."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            break
        if time.monotonic() > deadline:
            return None
        time.sleep(0.004)
    return os.waitstatus_to_exitcode(status)


def child(argv: list[str], output: str, cwd: str, environment: dict[str, str], memory: int) -> None:
    """Become a process that runs `argv`. Return or raise as it does, so that the interpreter ends as usual."""
    os.setsid()
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    sys.stdin = os.fdopen(0)
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.chdir(cwd)
    os.environ.update(environment)
    reseed()
    if memory:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    if "TORTURE_MODE" in environment:
        from scripts.torture_lib.shim import arm

        arm()
    sys.addaudithook(few_processes())
    quick_exit(argv)


def quick_exit(argv: list[str]) -> None:
    """Run `argv` and end with its exit code, after its exit handlers but without freeing the memory: that takes 3 s."""
    ended = [1]

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        os._exit(ended[0])

    atexit.register(leave)  # handlers run in the opposite order, so this one is the last
    try:
        execute(argv)
        ended[0] = 0
    except SystemExit as error:
        ended[0] = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()


def reseed() -> None:
    """Give this child new random states: a forked child would otherwise repeat the random numbers of its parent."""
    import numpy as np
    import torch

    random.seed()
    np.random.seed()
    torch.seed()


def few_processes(most: int = 12) -> Any:
    """An audit hook that ends a case that has more than `most` processes at the same time.

    torch.compile starts many compilers, one after the other.
    """
    started = 0

    def hook(event: str, arguments: Any) -> None:
        nonlocal started
        if event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
            started += 1
            if started > most and len(session(os.getsid(0))) > most:
                print(f"Traceback: it started more than {most} processes", file=sys.stderr, flush=True)
                os.killpg(os.getpgrp(), signal.SIGKILL)

    return hook


def execute(argv: list[str]) -> None:
    """Run a Python file, or code after ``-c``, as the main program."""
    import runpy

    sys.argv = list(argv)
    if argv[0] == "-c":
        exec(compile(argv[1], "<case>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(argv[0]).parent))
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
