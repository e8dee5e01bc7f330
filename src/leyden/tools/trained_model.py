"""A trained model with its preprocessing and the names of its classes: from raw inputs to predictions."""

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor, nn

from leyden.config.builders import build_data, trained_module
from leyden.data.characters import RunningText
from leyden.errors import UserError
from leyden.modules.base import BaseModule
from leyden.modules.generative import GenerativeModule
from leyden.modules.language_model import LanguageModel
from leyden.modules.members import member_state
from leyden.modules.predictions import Prediction
from leyden.records.run_folder import read_text
from leyden.seeding import generator
from leyden.tools.choices import task_name
from leyden.tools.text_generation import bits_per_character, chosen_sampling, written_texts

NEW_TOKENS = 500  # of a text that is generated
BATCH_SIZE = 256  # samples; larger batches are not faster on a CPU
DIMENSIONS = {"image": 3, "row": 1, "series": 1, "text": 0}  # of an array that is one input


class TrainedModel:
    """The trained model of a run.

    Attributes:
        folder: the run folder.
        config: its config.
        module: the LightningModule, in eval mode. It receives batches as the loaders make them, see `transform`.
        data: the data set of the run. It has not read anything, and its files need not exist.

    Args:
        folder, config, module: see the attributes.
        read: name of a file of the run folder → its text. None: it is read from `folder`.

    Raises:
        UserError: a file of the run folder that the data set needs is missing or damaged.
    """

    def __init__(
        self, folder: Path, config: DictConfig, module: BaseModule, read: Callable[[str], str] | None = None
    ) -> None:
        self.folder, self.config, self.module = folder, config, module
        self.data = build_data(config)
        self._read = read or (lambda name: read_text(folder / name))
        self.data.use_files_of_run(self._read)
        module.use_classes(self.data.class_names())
        module.use_tokenizer(self.data.target_tokenizer())

    def __repr__(self) -> str:
        return f"TrainedModel({self.config.name}, {self.module.num_parameters:,} parameters, from {self.folder})"

    @property
    def net(self) -> nn.Module:
        """The net: float (B, ...) → its outputs."""
        return self.module.net

    @property
    def members(self) -> tuple["TrainedModel", ...]:
        """The nets of an ensemble, each as a model of its own with a copy of its weights. Empty for a single net."""
        return tuple(self.member(number) for number in range(len(self.module.members)))

    def member(self, number: int) -> "TrainedModel":
        """Return one net of an ensemble, see `members`.

        Raises:
            UserError: there is no such member.
        """
        num = len(self.module.members)
        if not 0 <= number < num:
            allowed = f"must be between 0 and {num - 1}" if num else "but this run trained a single net (ensemble=1)"
            raise UserError(f"member: got {number}, {allowed}")
        own: dict[str, Any] = {"ensemble": 1, "ensemble_lr": [], "seed": self.config.seed + number}
        if self.config.ensemble_lr:
            own["optimizer"] = {"lr": self.config.ensemble_lr[number]}
        cfg = OmegaConf.merge(self.config, own)
        assert isinstance(cfg, DictConfig)
        module = trained_module(cfg, {"state_dict": member_state(self.module.state_dict(), number)}, self.folder)
        return TrainedModel(self.folder, cfg, module.to(self.device), self._read)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes in the order of their labels, or None if the data set has no names."""
        return self.data.class_names()

    @property
    def task(self) -> str:
        """The choice of the group ``task``, for example ``classification``."""
        return task_name(str(self.config.task["_target_"]))

    @property
    def generates(self) -> bool:
        """Whether the model generates images instead of predicting something."""
        return isinstance(self.module, GenerativeModule)

    def does_not_apply(self, tool: str, reason: str) -> UserError:
        """Return the error for a tool that has no use for the task of this run."""
        return UserError(f"{tool}: does not apply to task={self.task}, {reason}")

    def check_predicts(self) -> None:
        """Raise UserError if the model predicts nothing."""
        if self.generates:
            raise self.does_not_apply("predict", "which generates images. Use sample instead")

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.module.device

    def to(self, device: str | torch.device) -> "TrainedModel":
        """Move the model to `device`, for example "cuda", and return it."""
        self.module.to(device)
        return self

    def transform(self, inputs: Any) -> Tensor:
        """Convert raw inputs to a batch as the module receives it, on its device, for example normalised images.

        Args:
            inputs: see `predict`.

        Returns:
            (B, ...)

        Raises:
            UserError: an input cannot be read or does not fit the data set; the message names it.
        """
        return self.batch([self.data.encode(item) for item in self.items(inputs)])

    def batch(self, samples: list[Tensor]) -> Tensor:
        """Stack encoded samples, see `InMemoryData.encode`, and normalise them: (B, ...) on the device."""
        if not samples:
            raise UserError("inputs: are empty, must be at least one input")
        batch = self.transform_of_batches()(torch.stack(samples).to(self.device))
        dtype = next(self.module.parameters()).dtype
        return batch.to(dtype) if batch.is_floating_point() else batch

    def transform_of_batches(self) -> Callable[[Tensor], Tensor]:
        """Return the function that normalises a batch of encoded samples on the device, see `InMemoryData.transform`.

        Raises:
            UserError: the run did not store the statistics.
        """
        if self.config.data.get("mean", 0) is None:
            raise UserError(f"{self.folder}: was trained by Leyden 0.1, which did not store data.mean. Train it again")
        return self.data.transform(self.device)

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Tensor:
        """Return the outputs of the module for raw inputs, for example logits (B, num_classes)."""
        with self._precision():
            outputs: Tensor = self.module(self.transform(inputs))
        return outputs

    def predict(self, inputs: Any, batch_size: int = BATCH_SIZE) -> list[Prediction]:
        """Return the prediction for each raw input.

        Args:
            inputs: a sequence of inputs, or one of them.
                Images: paths, bytes, PIL images, arrays or tensors of any size, uint8 or from 0 to 1.
                Tables: mappings of feature names to values, sequences of values, an array (N, F), or a DataFrame.
                Series: sequences of past steps; the last `data.window` are used.
                Texts: texts; of a language model, the last `data.block` tokens are used, and the next one is predicted.
            batch_size: samples that are computed together.

        Raises:
            UserError: an input cannot be read or does not fit the data set, or the model predicts nothing.
        """
        found: list[Prediction] = []
        items = self.items(inputs)
        for start in range(0, len(items), batch_size):
            found += self.predict_samples([self.data.encode(item) for item in items[start : start + batch_size]])
        return found

    @torch.no_grad()
    def predict_samples(self, samples: list[Tensor]) -> list[Prediction]:
        """Return the predictions for one batch of encoded samples, see `InMemoryData.encode`.

        Raises:
            UserError: the model predicts nothing.
        """
        self.check_predicts()
        batch = self.batch(samples)
        with self._precision():
            return self.module.predictions(self.module.predict(batch))

    def sample(self, num: int, seed: int = 0) -> Any:
        """Generate `num` new images, float (num, C, H, W), 0 to 1, or a list of texts. A seed gives the same ones.

        Raises:
            UserError: the model generates neither images nor texts.
        """
        if isinstance(self.module, LanguageModel):
            return self.write("", num, seed=seed)
        return self.sample_images(num, seed)

    def sample_images(self, num: int, seed: int = 0) -> Tensor:
        """Generate `num` new images, float (num, C, H, W), 0 to 1. The same seed gives the same images.

        Raises:
            UserError: the model does not generate images.
        """
        if not isinstance(self.module, GenerativeModule):
            raise self.does_not_apply("sample", "which generates no images. Use a run of model=vae, gan or flow")
        return self.module.sample(num, generator(seed, "samples"))

    def generate(
        self,
        prompt: str = "",
        max_new_tokens: int = NEW_TOKENS,
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> str:
        """Return a text that begins with `prompt`. The same seed gives the same text.

        Args:
            prompt: the beginning; "": the beginning of a line.
            max_new_tokens: number of tokens after the prompt.
            temperature, top_k, top_p: see `leyden.modules.text_sampling.Sampling`; None: as the config of the run says.
            seed: of the random numbers.

        Raises:
            UserError: the model writes no texts, or a value is out of its range.
        """
        return self.write(prompt, 1, max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)[0]

    def write(
        self,
        prompt: str,
        num: int,
        max_new_tokens: int = NEW_TOKENS,
        *,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[str]:
        """Return `num` texts that begin with `prompt`; see `generate`."""
        module, data = self._language("generate")
        sampling = chosen_sampling(module.sampling, temperature, top_k, top_p)
        with self._precision():
            return written_texts(module, data, prompt, num, max_new_tokens, sampling, seed)

    def bits_per_character(self, text: str) -> float:
        """Return how many bits a character of `text` has under a language model: less is more likely.

        Raises:
            UserError: the model is no language model, or the text is empty.
        """
        module, data = self._language("bits_per_character")
        with self._precision():
            return bits_per_character(module, data, text)

    def _language(self, tool: str) -> tuple[LanguageModel, RunningText]:
        if isinstance(self.module, LanguageModel) and isinstance(self.data, RunningText):
            return self.module, self.data
        raise self.does_not_apply(tool, "which writes no texts. Use a run of task=language_modelling")

    def items(self, inputs: Any) -> list[Any]:
        """Return raw inputs as a list of single inputs; see `predict`."""
        pandas = sys.modules.get("pandas")  # a DataFrame exists only if its package has been imported
        if pandas is not None and isinstance(inputs, pandas.DataFrame):
            records: list[Any] = inputs.to_dict("records")
            return records
        if isinstance(inputs, str | bytes | Path | Image.Image | Mapping):
            return [inputs]
        if isinstance(inputs, np.ndarray | Tensor):
            kind = self.data.input_kind
            is_one = kind is not None and inputs.ndim <= DIMENSIONS[kind]
            return [inputs] if is_one else list(inputs)
        if not isinstance(inputs, Iterable):
            raise UserError(f"inputs: got {type(inputs).__name__}, must be a sequence of inputs")
        listed = list(inputs)
        return [listed] if listed and all(isinstance(value, int | float) for value in listed) else listed

    def _precision(self) -> Any:
        """Return the context in which the run computed: automatic mixed precision or none."""
        kind = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.config.trainer.precision)
        if kind is None or (kind is torch.float16 and self.device.type == "cpu"):
            return nullcontext()
        return torch.autocast(self.device.type, kind)
