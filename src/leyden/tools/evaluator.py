"""Run the evaluation of a trained run."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from leyden.config.builders import section
from leyden.config.instantiate import instantiate
from leyden.config.stored import harmless, loaded_config, naming_config
from leyden.data.datamodule import InMemoryData
from leyden.data.loaders import Batch, EvalLoader
from leyden.errors import UserError
from leyden.modules.generative import GenerativeModule
from leyden.modules.language_model import LanguageModel
from leyden.modules.self_supervised import SelfSupervised
from leyden.records.run_folder import read_text
from leyden.tools.evaluated import Evaluated, joined, recorded
from leyden.tools.evaluation_trainer import one_device_trainer
from leyden.tools.load import load_module
from leyden.tools.other_data import folder_name, read_other
from leyden.training.resume import data_problem
from leyden.training.trainer import silence_lightning

if TYPE_CHECKING:
    from leyden.tools.evaluate import Split


class Evaluator:
    """Evaluates the best checkpoint of a run, on one device, in the precision of the run.

    Args:
        run, data_root, data_path, accelerator: see `leyden.tools.evaluate.evaluate`.

    Raises:
        UserError: `run` is not a run folder, or this machine has no such accelerator.
    """

    def __init__(
        self,
        run: str | Path,
        data_root: str | None = None,
        data_path: str | None = None,
        accelerator: str = "auto",
    ) -> None:
        silence_lightning()
        self.folder = Path(run)
        self.config = loaded_config(self.folder)
        self.trainer = one_device_trainer(accelerator, section(self.config, "trainer"))
        spec = with_locations(section(self.config, "data"), root=data_root, path=data_path)
        self.elsewhere = bool(data_root or data_path)
        with naming_config(self.folder):
            self.data = self._unread_data(spec)
            self.data.use_files_of_run(lambda name: read_text(self.folder / name))
            self.module = load_module(self.folder, self.config)
        self.module.use_classes(self.data.class_names())
        self.module.use_tokenizer(self.data.target_tokenizer())
        self._is_ready = False

    @staticmethod
    def _unread_data(spec: dict[str, Any]) -> InMemoryData:
        data: InMemoryData = instantiate(harmless(spec), "data", InMemoryData)
        return data

    def metrics(self, split: "Split") -> dict[str, float]:
        """Return the metrics of a split, as the report has them.

        Raises:
            UserError: the data is missing or damaged.
        """
        self._prepare()
        check = self.trainer.test if split == "test" else self.trainer.validate
        check(self.module, datamodule=self.data, verbose=False)
        return self._logged()

    def evaluate(self, split: "Split") -> Evaluated:
        """Return the metrics of a split and the outputs of the model for it.

        Raises:
            UserError: the data is missing or damaged.
        """
        with recorded(self.module) as outputs:
            metrics = self.metrics(split)
        batch = self.data.test if split == "test" else self.data.val
        assert batch is not None
        inputs, targets = (values.cpu() for values in batch)
        return Evaluated(split, metrics, inputs, targets, joined(outputs, len(targets)))

    def evaluate_other(self, path: Path) -> Evaluated:
        """Return metrics and outputs for other data of the same kind, see `leyden.tools.other_data`.

        The metrics have the same names as for the test split.

        Raises:
            UserError: the data does not fit the run or cannot be read.
        """
        other = read_other(self.data, self.module, path, self.config)
        if isinstance(self.module, GenerativeModule):
            self.module.classes_in = self.data.facts().classes_in
        with recorded(self.module) as outputs:
            self.trainer.test(self.module, dataloaders=self._loader(other.batch), verbose=False)
        found = joined(outputs, len(other.batch[1]))
        return Evaluated(folder_name(path), self._logged(), *other.batch, found, other.sources, other.broken)

    def module_inputs(self, inputs: Tensor) -> Tensor:
        """Return inputs as the data set reads them, (B, ...), as the module receives them, on its device."""
        weight = next(self.module.parameters())
        batch = self.data.transform(weight.device)(inputs.to(weight.device))
        return batch.to(weight.dtype) if batch.is_floating_point() else batch

    @property
    def device_name(self) -> str:
        """The device of the evaluation, for example cpu or NVIDIA H100."""
        device = self.trainer.strategy.root_device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

    def _loader(self, batch: Batch) -> EvalLoader:
        device = self.trainer.strategy.root_device
        inputs, targets = (values.to(device) for values in batch)
        return EvalLoader(inputs, targets, self.data.eval_batch_size, self.data.transform(device))

    def _logged(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.trainer.callback_metrics.items()}

    def _prepare(self) -> None:
        """Check the data of the run, once. Nothing is downloaded."""
        if self._is_ready:
            return
        if missing := [path for path in self.data.files() if not path.exists()]:
            raise UserError(f"{missing[0]}: does not exist. Name the folder of the data with --data-root")
        if isinstance(self.module, GenerativeModule):
            self.data.prepare_data()
            self.data.setup("fit")
            self.module.classes_in = self.data.facts().classes_in
        if isinstance(self.module, LanguageModel | SelfSupervised):
            self.data.trains_unlabelled = self.module.trains_unlabelled
            self.data.prepare_data()
            self.data.setup("fit")
            self.module.use_facts(self.data.facts())  # its characters per token, or labelled training samples
        warn_if_changed(self.folder, self.data, elsewhere=self.elsewhere)
        self._is_ready = True


def warn_if_changed(run: Path, data: InMemoryData, *, elsewhere: bool) -> None:
    """Print a warning if the data has changed since the run, unless the user gives another location (`elsewhere`)."""
    if elsewhere or not (run / "origin.json").exists():
        return
    data.prepare_data()
    if problem := data_problem(run, data):
        print(f"warning: data: {problem}, so the metrics may differ from its report", file=sys.stderr)


def with_locations(spec: dict[str, Any], **locations: str | None) -> dict[str, Any]:
    """Return `spec`, a ``data`` section, with the `locations` that are given, for example ``root="photos"``.

    Raises:
        UserError: the data set has no such key.
    """
    given = {key: value for key, value in locations.items() if value is not None}
    for key in given:
        if key not in spec:
            name = str(spec["_target_"]).rpartition(".")[2]
            others = [f"--data-{other}" for other in locations if other in spec]
            advice = f"Use {' or '.join(others)}" if others else f"Leave out --data-{key}"
            raise UserError(f"--data-{key}: the data set of this run ({name}) has no key data.{key}. {advice}")
    return {**spec, **given}
