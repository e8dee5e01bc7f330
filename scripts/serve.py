"""Try a trained run in the browser: draw a digit, drop an image, fill in a row, type a text, or draw samples.

Examples:
    python scripts/serve.py logs/runs/mnist-cnn/RUN
    python scripts/serve.py logs/runs/diabetes-mlp/RUN --port 0                 any free port; the address is printed
    curl --data-binary @seven.png -H 'Content-Type: image/png' http://127.0.0.1:8000/predict

Only this machine can reach the server, unless you give --host. Ctrl-C stops it.
"""

import argparse
import sys
from pathlib import Path

from leyden.config.exit_codes import exit_codes
from leyden.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--port", type=int, default=8000, help="0 for a free port (default: 8000)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, only this machine)"
    )
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps (default: cpu)")
    args = parser.parse_args()
    with exit_codes():
        if not 0 <= args.port <= 65535:
            raise UserError(f"--port: got {args.port}, must be between 0 and 65535")
        return run(args)


def run(args: argparse.Namespace) -> int:
    """Serve the run until it is stopped. Return the exit code."""
    import leyden
    from leyden.tools.devices import checked_device
    from leyden.tools.serve.http_server import ModelServer, serve_until_stopped
    from leyden.tools.serve.served_model import ServedModel

    model = leyden.load(args.run).to(checked_device(args.device))
    server = ModelServer(ServedModel(model), args.host, args.port)
    if server.is_open:
        print(
            f"warning: --host: with {args.host}, other machines can use this server. It has no password and no "
            "encryption",
            file=sys.stderr,
        )
    serve_until_stopped(server, lambda: print(f"{model.config.name}: {server.url}  (Ctrl-C stops it)", flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
