"""Prove Leyden's reliability: kill, break, fuzz and attack it for as long as you like, and count what happens.

    python scripts/torture.py --minutes 120                       everything
    python scripts/torture.py --minutes 10 --only kills           one part
    python scripts/torture.py --minutes 120 --docs                also write the counts into docs/reliability.md
    python scripts/torture.py --only fuzz --json fuzz.json        parts in separate calls, also at the same time,
    python scripts/torture.py --only kills --json kills.json      with a file for each;
    python scripts/torture.py --combine fuzz.json kills.json --docs    then all counts together

Each part gets a fraction of the time and stops earlier when all of its cases are done. The failures, each with a
command, are in torture.json. Exit code 0 if there are none. The parts are explained in docs/reliability.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.torture_lib.parts import FRACTIONS, run_parts  # noqa: E402
from scripts.torture_lib.summary import combine, environment, sentences, signatures, write_docs, write_json  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120, help="for all parts together (default: 120)")
    parser.add_argument("--only", choices=sorted([*FRACTIONS, "atheris"]), help="run one part")
    parser.add_argument(
        "--cases", type=int, help="of each part at the most (default: as many as docs/reliability.md says)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--json", type=Path, default=Path("torture.json"), help="for the results (default: torture.json)"
    )
    parser.add_argument(
        "--combine",
        type=Path,
        nargs="+",
        metavar="JSON",
        help="run nothing; read these results",
    )
    parser.add_argument("--docs", action="store_true", help="write the counts into docs/reliability.md")
    args = parser.parse_args()
    if args.combine:
        try:
            parts, about = combine(args.combine)
        except (OSError, ValueError, KeyError, TypeError) as error:
            parser.error(f"--combine: {error}")
    else:
        about = environment(ROOT)
        names = [args.only] if args.only else list(FRACTIONS)
        with tempfile.TemporaryDirectory(prefix="leyden-torture-") as folder:
            parts = run_parts(names, args.minutes * 60, Path(folder).resolve(), args.cases, args.seed)
    write_json(args.json, parts, about)
    if args.docs:
        write_docs(ROOT / "docs" / "reliability.md", parts, about, FRACTIONS)
    print("\n".join([*sentences(parts), *signatures(parts)]))
    failures = sum(len(part.failures) for part in parts)
    print(f"{failures} failures, see {args.json}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
