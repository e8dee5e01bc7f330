"""Check runs on several machines: two network namespaces of this machine are the hosts. Needs Linux, root and `ip`.

    python scripts/check_nodes.py [torchrun srun missing]

torchrun  started by torchrun on both hosts: one run folder, and the metrics of two processes on one host; a resume
srun      the same with the environment variables of Slurm, which srun sets
missing   the second host never starts: SIGTERM ends the first one with one line and exit code 143
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ("leyden0", "leyden1")
ADDRESSES = ("10.99.0.1", "10.99.0.2")
RUN = ["model=mlp", "trainer.max_epochs=2", "logger=none", "trainer=ddp", "trainer.accelerator=cpu"]
TWO_HOSTS = [*RUN, "trainer.devices=1", "trainer.num_nodes=2"]
SECONDS = 150  # until a run has ended

Process = subprocess.Popen[str]


@contextmanager
def hosts() -> Iterator[None]:
    """Two hosts that are connected by a cable."""
    try:
        for host in HOSTS:
            ip("netns", "add", host)
        ip("link", "add", HOSTS[0], "type", "veth", "peer", "name", HOSTS[1])
        for host, address in zip(HOSTS, ADDRESSES, strict=True):
            ip("link", "set", host, "netns", host)
            ip("-n", host, "addr", "add", f"{address}/24", "dev", host)
            for device in (host, "lo"):
                ip("-n", host, "link", "set", device, "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], check=False)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def start(host: int, command: list[str], **environment: str) -> Process:
    """Start a command on a host."""
    network = {"GLOO_SOCKET_IFNAME": HOSTS[host], "TP_SOCKET_IFNAME": HOSTS[host], "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        ["ip", "netns", "exec", HOSTS[host], sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **network, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def torchrun(host: int, overrides: list[str]) -> Process:
    network = ["--master-addr", ADDRESSES[0], "--master-port", "29511", "--nnodes", "2", "--node-rank", str(host)]
    return start(host, ["-m", "torch.distributed.run", *network, "--nproc-per-node", "1", "train.py", *overrides])


def srun(host: int, overrides: list[str]) -> Process:
    variables = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_JOB_ID": "77"}
    own = {"SLURM_PROCID": str(host), "SLURM_LOCALID": "0", "SLURM_NODEID": str(host), "SLURM_JOB_NAME": "train"}
    return start(host, ["train.py", *overrides], MASTER_ADDR=ADDRESSES[0], **variables, **own)


def finish(processes: list[Process]) -> None:
    """Wait for the ends of the processes of a run."""
    try:
        outputs = [process.communicate(timeout=SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)


def only_report(logs: Path) -> tuple[Path, dict[str, Any]]:
    """Return the only run folder, and its report."""
    (path,) = logs.glob("runs/*/*/report.json")
    report: dict[str, Any] = json.loads(path.read_text())
    return path.parent, report


def check_launcher(launcher: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "one", Path(folder) / "two"
        alone = [sys.executable, "train.py", *RUN, "trainer.devices=2", f"paths.logs={one}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(alone, cwd=ROOT, env=environment, check=True, capture_output=True)
        for delay in (0, 5):  # the second host may be slow to start
            logs = two / str(delay)
            first = launcher(0, [*TWO_HOSTS, f"paths.logs={logs}"])
            time.sleep(delay)
            finish([first, launcher(1, [*TWO_HOSTS, f"paths.logs={logs}"])])
            run, report = only_report(logs)
            assert report["processes"] == 2
            assert report["metrics"] == only_report(one)[1]["metrics"], "other metrics than on one host"
        more = [f"resume={run}", "trainer.max_epochs=3"]
        finish([launcher(host, more) for host in (0, 1)])
        assert only_report(logs)[1]["epochs"] == 3
        print("  one folder, the metrics of one host, resumed on two hosts")


def check_torchrun() -> None:
    check_launcher(torchrun)


def check_srun() -> None:
    check_launcher(srun)


def check_missing() -> None:
    with tempfile.TemporaryDirectory() as logs:
        process = srun(0, [*TWO_HOSTS, f"paths.logs={logs}"])
        time.sleep(15)  # it now waits for the other host
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 143, output
        assert "stopped by SIGTERM" in output.splitlines()[-1], output
        print(f"  {output.splitlines()[-1]}")


CHECKS = {"torchrun": check_torchrun, "srun": check_srun, "missing": check_missing}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", help="(default: all)")
    args = parser.parse_args()
    with hosts():
        for name in args.checks or CHECKS:
            print(name, flush=True)
            CHECKS[name]()


if __name__ == "__main__":
    main()
