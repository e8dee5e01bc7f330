"""Check the statements of docs/sweeps.md with real processes. Takes about half an hour on two cores.

    python scripts/check_sweeps.py [kill fail prune workers ddp repeat clusters time warm] [--mnist paths.data=…]

kill      kill -9 in trial 3 of 8, then the same command: exactly 8 trials, none twice; a third start does nothing
fail      one of 6 trials fails: five finish, exit code 1, the reason is in the trial's folder
prune     20 trials on MNIST with and without pruning: time and best value
workers   three workers with a journal and three with PostgreSQL, one is killed: exactly n trials
ddp       four trials of two processes each, with pruning: states and configs are correct, no process remains
repeat    the printed command of the best trial, run alone: bit-identical metrics
clusters  submitit on this machine, and the script of the Slurm array, started by a shell
time      seconds per trial in addition to its training, and the speed of two jobs at the same time
warm      40 trials as forked processes and in new interpreters: the same metrics, at most 0.3 of the time

`time`, `warm` and `prune` need a machine that runs nothing else.
"""

import argparse
import csv
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["model=mlp", "trainer.max_epochs=6", "checkpoint.every_n_steps=10", "early_stopping.patience=100"]
LR = "optimizer.lr=tag(log, interval(1e-4, 1e-1))"


class Sweep:
    """The command of a sweep and its folder.

    Args:
        logs: value of ``paths.logs``.
        overrides: the other arguments of the command.
    """

    def __init__(self, logs: Path, *overrides: str) -> None:
        self.logs = logs
        self.environment = {**os.environ, "LEYDEN_SWEEP": str(logs)}  # by which `processes` finds them
        self.command = [sys.executable, "train.py", "-m", f"paths.logs={logs}", *overrides]

    def start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> tuple[int, str]:
        """Run the command to its end, and return its exit code and output."""
        print(f"  $ {shlex.join(['python', *self.command[1:]])}", flush=True)
        done = subprocess.run(
            self.command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=1800
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def folder(self) -> Path:
        (found,) = (self.logs / "sweeps").iterdir()
        return found

    def trial(self, number: int) -> Path:
        return self.folder / str(number)

    def rows(self) -> list[dict[str, str]]:
        with (self.folder / "trials.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows()]

    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.folder / "sweep.json").read_text())
        return summary

    def seconds(self) -> float:
        """Return the sum of the duration of all trials."""
        return sum(float(row["seconds"]) for row in self.rows())

    def processes(self) -> list[int]:
        """Return the living processes of its workers, fork servers and jobs."""
        command = ["ps", "eww", "-A", "-o", "pid=,stat=,args="]  # with their environment
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines = [line.split(maxsplit=2) for line in shown.splitlines() if f"LEYDEN_SWEEP={self.logs}" in line]
        return [int(process) for process, state, _ in lines if state[0] != "Z"]

    def jobs(self) -> list[int]:
        """Return the living processes of its jobs: those that write to an output.log."""
        return [process for process in self.processes() if output_of(process).name == "output.log"]


def output_of(process: int) -> Path:
    """Return the file that the stdout of a process is."""
    try:
        return Path(f"/proc/{process}/fd/1").readlink()
    except (FileNotFoundError, PermissionError):  # it has just ended, or belongs to another user
        return Path()


def wait_for(holds: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Wait until `holds()` is true. Raises AssertionError after the given time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)


def starts(folder: Path) -> int:
    """Return how many processes started or resumed the run in `folder`."""
    return (folder / "output.log").read_text().count("writing to")


def timings(folder: Path) -> list[str]:
    """Return the seconds of each epoch in metrics.csv. A second training would have other numbers."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row["time/train_seconds"] for row in csv.DictReader(file) if "time/train_seconds" in row]


def check_kill(logs: Path, mnist: list[str]) -> None:
    sweep = Sweep(logs, *SMALL, LR, "sweep.n_trials=8", "logger=none")
    worker = sweep.start()
    wait_for(lambda: (logs / "sweeps").exists(), "the sweep")
    wait_for(lambda: len(timings(sweep.trial(2))) >= 2, "two epochs of trial 2")
    worker.kill()
    worker.communicate()
    wait_for(lambda: not sweep.processes(), "the job of the killed sweep to end", 10)
    before = timings(sweep.trial(2))
    code, output = sweep.run()
    assert code == 0, output
    assert sweep.states() == ["done"] * 8, sweep.states()
    assert [starts(sweep.trial(number)) for number in range(8)] == [1, 1, 2, 1, 1, 1, 1, 1]
    assert timings(sweep.trial(2))[: len(before) - 1] == before[:-1], "the trial was started from the beginning"
    assert "2 of them done before" in output
    again = time.monotonic()
    code, output = sweep.run()
    assert code == 0
    assert "nothing to do" in output
    print(f"  8 trials, trial 2 was resumed; the third start took {time.monotonic() - again:.1f} s")


def check_fail(logs: Path, mnist: list[str]) -> None:
    widths = "model.hidden=[16],[24],[10000000000000],[32],[48],[64]"
    sweep = Sweep(logs, *SMALL, widths, "logger=none")
    code, output = sweep.run()
    assert code == 1, output
    assert sweep.states() == ["done", "done", "failed", "done", "done", "done"], sweep.states()
    assert "GB of memory" in (sweep.trial(2) / "output.log").read_text()
    print("  " + "\n  ".join(output.splitlines()[-2:]))


def check_prune(logs: Path, mnist: list[str]) -> None:
    search = ["data=mnist", *mnist, "model=mlp", "model.hidden=[64]", LR, "optimizer=sgd,adamw"]
    search += ["data.batch_size=choice(64,128,256)", "trainer.max_epochs=40", "sweep.n_trials=20", "logger=none"]
    # Random search tries the same points in both sweeps, so only the pruning differs.
    search += ["sweep.sampler=random", "hydra.launcher.n_jobs=2"]
    found = {}
    for pruner in ("none", "median"):
        arguments = "sweep.pruner_args={n_startup_trials: 4}" if pruner == "median" else "sweep.pruner_args=null"
        sweep = Sweep(logs / pruner, *search, f"sweep.pruner={pruner}", arguments)
        code, output = sweep.run()
        assert code == 0, output
        seconds = sweep.seconds() / 2
        best = sweep.summary()["best"][0]["values"]["val/acc"]
        found[pruner] = (seconds, best, sweep.states().count("pruned"))
        print(f"  {pruner}: {seconds:.0f} s, best val/acc {best:.4f}, {found[pruner][2]} of 20 pruned", flush=True)
    assert found["median"][2] >= 20 / 3
    assert found["median"][1] >= found["none"][1] - 0.001
    assert found["median"][0] <= 0.6 * found["none"][0]


def check_workers(logs: Path, mnist: list[str]) -> None:
    sys.path.insert(0, str(ROOT))
    from scripts import postgres

    share(logs / "journal", "journal")
    if postgres.programs():
        with postgres.server() as url:
            share(logs / "postgres", url)
    else:
        print("  skipped: PostgreSQL is not installed")


def share(logs: Path, storage: str) -> None:
    """Start three workers of one sweep, and kill the second one in its first trial."""
    sweep = Sweep(logs, *SMALL, LR, "sweep.n_trials=9", "logger=none", f"sweep.storage='{storage}'")
    workers = [sweep.start() for _ in range(3)]
    wait_for(lambda: len(list(logs.glob("sweeps/*/*/checkpoints/last.ckpt"))) >= 3, "three running trials")
    workers[1].kill()
    outputs = [worker.communicate(timeout=900)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, -signal.SIGKILL, 0], outputs
    assert sweep.states() == ["done"] * 9, sweep.states()
    begun = [starts(sweep.trial(number)) for number in range(9)]
    assert sum(begun) <= 10, f"a trial was run twice: {begun}"
    print(f"  {storage.partition(':')[0]}: 9 trials, starts of each: {begun}")


def check_ddp(logs: Path, mnist: list[str]) -> None:
    processes = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=4"]
    prune = ["sweep.pruner=median", "sweep.pruner_args={n_startup_trials: 2}"]
    rates = "optimizer.lr=3e-3,1e-3,1e-7,1e-8"
    sweep = Sweep(logs, "model=mlp", *processes, rates, *prune, "logger=none")
    code, output = sweep.run()
    assert code == 0, output
    assert sweep.states() == ["done", "done", "pruned", "pruned"], sweep.states()
    for number, rate in enumerate(("0.003", "0.001", "1.0e-07", "1.0e-08")):
        report = json.loads((sweep.trial(number) / "report.json").read_text())
        assert report["processes"] == 2
        assert report["state"] == ("finished" if number < 2 else "pruned")
        assert any(name.startswith("test/") for name in report["metrics"]) == (number < 2)
        assert f"lr: {rate}\n" in (sweep.trial(number) / "config.yaml").read_text()
        assert (sweep.trial(number) / "checkpoints" / "best.ckpt").exists()
    assert sorted(path.name for path in sweep.folder.iterdir() if path.is_dir()) == ["0", "1", "2", "3"]
    assert sweep.processes() == []
    print(f"  {', '.join(sweep.states())}")


def check_repeat(logs: Path, mnist: list[str]) -> None:
    # The default learning rate is smaller than these. So few steps need a larger one, so a searched point is the best.
    rate = "optimizer.lr=tag(log, interval(6e-3, 2e-2))"
    dropout = "model.dropout=interval(0.0, 0.1)"
    few = ["model=mlp", "trainer.max_epochs=2", "scheduler=none", "optimizer=adam"]
    sweep = Sweep(logs, *few, rate, dropout, "sweep.n_trials=4", "hydra.launcher.n_jobs=2")
    code, output = sweep.run()
    assert code == 0, output
    (best,) = sweep.summary()["best"]
    assert best["overrides"], "the default was the best point, so the check would not repeat a searched one"
    print(f"  $ {best['commands'][0]}")
    command = best["commands"][0].replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(command, shell=True, cwd=ROOT, check=True, capture_output=True, timeout=600)
    (alone,) = logs.glob("runs/*/*/report.json")
    reports = [json.loads(path.read_text()) for path in (alone, Path(best["folder"]) / "report.json")]
    assert reports[0]["metrics"] == reports[1]["metrics"], [report["metrics"] for report in reports]
    print(f"  {json.dumps(reports[0]['metrics'])}: identical when run alone")


def check_clusters(logs: Path, mnist: list[str]) -> None:
    """Use submitit's local executor instead of Slurm, and start the script of the Slurm array with a shell."""
    local = ["hydra/launcher=submitit_local", f"hydra.launcher.submitit_folder={logs / 'submitit'}"]
    sweep = Sweep(logs / "submitit", "trainer=smoke", "model=mlp", "model.dropout=0.1,2", "sweep.seeds=2", *local)
    code, output = sweep.run()
    assert code == 1, output
    assert sweep.states() == ["done", "failed"], sweep.states()
    assert sweep.rows()[1]["reason"].startswith("model.dropout: got 2")
    print("  submitit: one done, one failed, as expected")
    script = [
        "bash",
        "scripts/slurm_sweep.sh",
        f"paths.logs={logs / 'slurm'}",
        "trainer=smoke",
        "model=mlp",
        "seed=0,1",
    ]
    environment = {**os.environ, "SLURM_SUBMIT_DIR": str(ROOT), "PYTHON": sys.executable}
    environment["LEYDEN_STORAGE"] = f"sqlite:///{logs / 'study.db'}"
    workers = [subprocess.Popen(script, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    assert Sweep(logs / "slurm").states() == ["done", "done"]
    print("  slurm_sweep.sh: two workers, two trials")


def check_time(logs: Path, mnist: list[str]) -> None:
    run = ["data=mnist", *mnist, "model=mlp", "trainer.max_epochs=4", "logger=none"]
    os.environ["OMP_NUM_THREADS"] = "1"
    alone, started = [], []
    rates = ["optimizer.lr=interval(0.0029, 0.0031)", "sweep.sampler=random"]
    for number in range(1, 6):  # alternately, because the speed of a machine drifts
        began = time.monotonic()
        command = [sys.executable, "train.py", *run, f"paths.logs={logs / 'alone'}", f"seed={number}"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        alone.append(time.monotonic() - began)
        sweep = Sweep(logs / "turns", *run, *rates, f"sweep.n_trials={number}")
        began = time.monotonic()
        code, output = sweep.run()
        assert code == 0, output
        started.append(time.monotonic() - began)
    trials = [float(row["seconds"]) for row in sweep.rows()]
    for name, measured in (("a run without a sweep", alone), ("a trial", trials), ("a sweep of one trial", started)):
        print(f"  {name}: {', '.join(f'{seconds:.2f}' for seconds in measured)} s including start-up")
    overhead = statistics.median(trial - run for trial, run in zip(trials, alone, strict=True))
    print(f"  a trial costs {overhead:.2f} s more than a run without a sweep (median of pairs)")

    took = {}
    for n_jobs in (1, 2):
        sweep = Sweep(logs / str(n_jobs), *run, "seed=range(0,6)", f"hydra.launcher.n_jobs={n_jobs}")
        began = time.monotonic()
        code, output = sweep.run()
        assert code == 0, output
        took[n_jobs] = time.monotonic() - began
    between = (took[1] - sum(float(row["seconds"]) for row in Sweep(logs / "1").rows())) / 6
    print(f"  one at a time: {took[1]:.1f} s, and {between:.2f} s between two trials; two at a time: {took[2]:.1f} s")
    print(f"  two at the same time have {took[1] / took[2]:.2f} times the throughput")
    assert overhead + between <= 0.3, "a trial costs more than its start-up plus 0.3 s"
    assert took[1] / took[2] >= 1.5, "two at the same time are not 1.5 times as fast"


def check_warm(logs: Path, mnist: list[str]) -> None:
    run = ["model=mlp", "data=digits", "trainer.max_epochs=3", "hydra.launcher.n_jobs=2", "seed=range(0,40)"]
    sweeps = {warm: Sweep(logs / warm, *run, f"hydra.launcher.warm={warm}") for warm in ("true", "false")}
    took = {}
    for warm, sweep in sweeps.items():
        began = time.monotonic()
        code, output = sweep.run()
        assert code == 0, output
        took[warm] = time.monotonic() - began
    reports = {warm: [report_of(sweep.trial(number)) for number in range(40)] for warm, sweep in sweeps.items()}
    assert reports["true"] == reports["false"], "the metrics of a trial differ"
    ratio = took["true"] / took["false"]
    print(f"  40 trials with the same metrics: forked {took['true']:.1f} s, new interpreters {took['false']:.1f} s")
    print(f"  ratio {ratio:.2f}")
    assert ratio <= 0.3, "forked trials do not save 70% of the time"


def report_of(folder: Path) -> dict[str, float]:
    """Return the metrics of a run."""
    metrics: dict[str, float] = json.loads((folder / "report.json").read_text())["metrics"]
    return metrics


CHECKS = {
    "kill": check_kill,
    "fail": check_fail,
    "prune": check_prune,
    "workers": check_workers,
    "ddp": check_ddp,
    "repeat": check_repeat,
    "clusters": check_clusters,
    "time": check_time,
    "warm": check_warm,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", help="(default: all)")
    parser.add_argument("--mnist", nargs="*", default=[], help="overrides of the runs on MNIST, such as paths.data")
    parser.add_argument("--logs", type=Path, help="folder; existing sweeps are resumed (default: a new folder)")
    args = parser.parse_args()
    failed = []
    for name in args.checks or CHECKS:
        print(name, flush=True)
        try:
            CHECKS[name](
                args.logs / name if args.logs else Path(tempfile.mkdtemp(prefix=f"leyden-{name}-")), args.mnist
            )
        except AssertionError as error:
            failed.append(name)
            print(f"  FAILED: {error}", flush=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
