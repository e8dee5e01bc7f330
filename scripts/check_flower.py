"""Check the deployment on Flower: a server and clients as separate processes, compared with Leyden's simulation.

It starts flower-superlink and one flower-supernode for each client on this machine, runs the app in scripts/flower
with `flwr run`, and ends all of them. Then it trains the same config with ``python train.py`` and compares loss and
metrics of the validation set after each round. Run it in an environment with flwr, see docs/federated.md.

Examples:
    python scripts/check_flower.py
    python scripts/check_flower.py --clients 4 --rounds 5 model=cnn data=digits optimizer=sgd federated.split=by_class
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from leyden.records.loggers import read_metrics
from leyden.records.run_folder import write_text

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "scripts" / "flower"
DEFAULT = ("model=mlp", "data=digits", "optimizer=sgd", "federated.split=by_class")
TOLERANCE = 1e-3  # of loss and metrics: Flower averages in float32, and the order of the clients differs
LIMIT = 900  # seconds until the last round


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=3, help="(default: 3)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("overrides", nargs="*", default=DEFAULT, help=f"(default: {' '.join(DEFAULT)})")
    args = parser.parse_args()
    overrides = [
        "trainer=cpu", "federated=fedavg", f"federated.num_clients={args.clients}", "federated.fraction=1.0",
        f"federated.rounds={args.rounds}", *args.overrides,
    ]  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes are ended
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        deployed = on_flower(folder, overrides, args.clients, args.rounds)
        print(f"Flower {version('flwr')}, {args.clients} clients: {time.perf_counter() - began:.0f} s", flush=True)
        simulated = simulation(folder, overrides)
    sys.exit(compared(deployed, simulated))


def on_flower(folder: Path, overrides: Sequence[str], clients: int, rounds: int) -> list[dict[str, float]]:
    """Return the metrics before the first round and after each, from a server and clients in processes of their own."""
    port, out = free_port(), folder / "rounds.json"
    write_text(folder / "config.toml", f'[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
    settings = f"overrides={json.dumps(' '.join(overrides))} out={json.dumps(str(out))}"
    # Flower starts its own commands by name.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ |= {"FLWR_HOME": str(folder), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    server = ["flower-superlink", "--insecure", "--disable-runtime-dependency-installation", "--port", str(port)]
    with started(folder / "server.log", server):
        wait_for(lambda: answers(port), "flower-superlink", folder)
        nodes = [
            started(
                folder / f"client{number}.log",
                ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", "--port", str(free_port()),
                 "--node-config", f"partition-id={number} num-partitions={clients}"],
            )
            for number in range(clients)
        ]  # fmt: skip
        with ExitStack() as running:
            for node in nodes:
                running.enter_context(node)
            subprocess.run([executable("flwr"), "run", str(APP), "here", "--run-config", settings], check=True)
            wait_for(lambda: len(read_rounds(out)) > rounds, "the training", folder)
    return read_rounds(out)


@contextmanager
def started(log: Path, command: Sequence[str]) -> Iterator[None]:
    """Run a command in a group of processes of its own, and end all of them at the end."""
    with log.open("w") as file:
        words = [executable(command[0]), *command[1:]]
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it may have started others
        process.wait()


def executable(name: str) -> str:
    """Return the path of a command of the environment that runs this script."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        sys.exit(f"{path} does not exist. Install Flower as docs/federated.md says, and run this script there.")
    return str(path)


def wait_for(done: Any, what: str, folder: Path) -> None:
    """Wait until `done` returns true; exit with the logs of all processes if it does not."""
    until = time.monotonic() + LIMIT
    while not done():
        logs = {path.name: path.read_text(errors="replace") for path in sorted(folder.glob("*.log"))}
        if time.monotonic() > until or any("Traceback" in text for text in logs.values()):
            for name, text in logs.items():
                print(f"--- {name}\n{text[-3000:]}")
            sys.exit(f"{what} failed, see the logs above")
        time.sleep(0.5)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def read_rounds(path: Path) -> list[dict[str, float]]:
    return json.loads(path.read_text()) if path.exists() else []


def simulation(folder: Path, overrides: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of metrics.csv of the simulation that have metrics of the validation set, one for each round."""
    command = [sys.executable, str(ROOT / "train.py"), *overrides, f"paths.logs={folder / 'logs'}", "logger=none"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (path,) = folder.glob("logs/runs/*/*/metrics.csv")
    return [row for row in read_metrics(path) if row["val/loss"]]


def compared(deployed: Sequence[dict[str, float]], simulated: Sequence[dict[str, str]]) -> int:
    """Print both after each round; return 0 if they are equal within `TOLERANCE`, otherwise 1."""
    worst = 0.0
    for found, expected in zip(deployed[1:], simulated, strict=True):
        parts = []
        for name in (name for name in found if name != "round"):
            value = float(expected[name])
            worst = max(worst, abs(found[name] - value))
            parts.append(f"{name} {found[name]:.4f} (simulated {value:.4f})")
        print(f"round {found['round']}  {'  '.join(parts)}")
    print(f"largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    main()
