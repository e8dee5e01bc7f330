"""Evaluate a run's best checkpoint again: prints its metrics as JSON.

python scripts/evaluate.py logs/runs/mnist-cnn/2026-11-22_12-00-00-1a2b
python scripts/evaluate.py logs/runs/mnist-cnn/2026-11-22_12-00-00-1a2b --split val
"""

import argparse
import json
from pathlib import Path

from leyden.cli import exit_codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="(default: test)")
    parser.add_argument("--data-root", help="where the data is now (default: where the run had it)")
    parser.add_argument("--accelerator", default="auto", help="as of Lightning's Trainer (default: auto)")
    args = parser.parse_args()
    with exit_codes():
        metrics = evaluate(args.run, args.split, args.data_root, args.accelerator)
    print(json.dumps(metrics, indent=2))


def evaluate(
    run: Path, split: str = "test", data_root: str | None = None, accelerator: str = "auto"
) -> dict[str, float]:
    """The metrics of the best checkpoint of `run` on its validation or test split, on one device."""
    from lightning.pytorch import Trainer

    import leyden
    from leyden.config.builders import cfg_dict
    from leyden.config.instantiate import build
    from leyden.data.images import PixelData
    from leyden.modules.generative import GenerativeModule
    from leyden.records.run_folder import read_config
    from leyden.run import silence_lightning

    silence_lightning()
    spec = cfg_dict(read_config(run).data)
    if data_root:
        spec["root"] = data_root
    data = build(spec, "data")
    trainer = Trainer(accelerator=accelerator, devices=1, logger=False, enable_progress_bar=False)
    check = trainer.test if split == "test" else trainer.validate
    module = leyden.load(run)
    if isinstance(module, GenerativeModule) and isinstance(data, PixelData):
        module.classes_in = data.classes_in
    check(module, datamodule=data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


if __name__ == "__main__":
    main()
