"""More about the images of a flow: the number of steps, the requested class, the likelihood, and the FID."""

import importlib.util
import pickle
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

import leyden
from leyden.errors import UserError
from leyden.modules.classifier import Classifier
from leyden.modules.flow import CHUNK, Flow
from leyden.modules.flow_likelihood import bits_per_dimension
from leyden.modules.image_sampling import Sampler
from leyden.modules.paths import Cosine
from leyden.seeding import generator
from leyden.tools.evaluated import Evaluated
from leyden.tools.evaluation_report import Report
from leyden.tools.evaluator import Evaluator
from leyden.tools.figures import COLOURS, figure
from leyden.tools.image_generation import Wanted, settings
from leyden.tools.trained_model import TrainedModel

T = TypeVar("T")
BITS_BATCH = 50  # images whose likelihood is computed together; the slowest one determines their steps


@dataclass(frozen=True)
class Asked:
    """What is asked for in addition to the evaluation of a flow.

    Args:
        steps: numbers of steps for the plot of quality against steps; empty: no plot.
        classifier: a run folder. Its model says how many samples show the class that was requested.
        bits: number of images whose bits per dimension are computed; 0: none.
        inception: file with the weights of the Inception net of torch-fidelity, for the FID.
        guidance: with which everything is measured. None: that of the run.
        samples: number of images to generate for each figure. None: ``task.num_samples`` of the run.
    """

    steps: Sequence[int] = ()
    classifier: Path | None = None
    bits: int = 0
    inception: Path | None = None
    guidance: float | None = None
    samples: int | None = None

    def prepare(self, module: Any) -> None:
        """Set the guidance of a flow, and how many images it generates.

        Raises:
            UserError: a value is out of its range, or `module` is no flow.
        """
        names = {"--steps": self.steps, "--classifier": self.classifier, "--bits": self.bits, "--fid": self.inception}
        given = [name for name, value in names.items() if value]
        given += ["--guidance"] * (self.guidance is not None) + ["--samples"] * (self.samples is not None)
        if given and not isinstance(module, Flow):
            raise UserError(f"{given[0]}: applies only to runs of task=flow (model=flow, dit or ddpm)")
        if any(number < 1 for number in self.steps):
            raise UserError(f"--steps: got {min(self.steps)}, must be at least 1")
        if self.samples is not None and self.samples < 2:
            raise UserError(f"--samples: got {self.samples}, must be at least 2")
        if self.bits < 0:
            raise UserError(f"--bits: got {self.bits}, must be at least 0")
        if self.inception and not importlib.util.find_spec("torch_fidelity"):
            raise UserError("--fid: needs another package: pip install torch-fidelity")
        if self.inception and not self.inception.is_file():
            raise UserError(f"--fid: {self.inception} is not a file")
        if isinstance(module, Flow):
            module.sampling = settings(module, Wanted(guidance=self.guidance))
            module.quality.num_samples = self.samples or module.quality.num_samples


def more_metrics(evaluator: Evaluator, found: Evaluated, asked: Asked) -> dict[str, float]:
    """Return the metrics that are asked for, with the prefix of the split.

    Raises:
        UserError: the run is no flow, or the classifier does not fit.
    """
    module, values = evaluator.module, {}
    if not isinstance(module, Flow):
        return {}
    if asked.classifier:
        values["classifier_agreement"] = agreement(module, classifier_of(asked.classifier, module))
    if asked.bits:
        values["bpd"] = bits(module, found, asked.bits)
    if asked.inception:
        values["fid"] = fid(module, found.inputs, asked.inception)
    prefix = "val" if found.name == "val" else "test"
    return {f"{prefix}/{name}": value for name, value in values.items()}


def classifier_of(run: Path, module: Flow) -> TrainedModel:
    """Return the classifier of a run.

    Raises:
        UserError: it is no classifier of images with as many classes.
    """
    if not module.with_class:
        raise UserError("--classifier: does not apply, because the images of this data set show several classes")
    model = leyden.load(run)
    size = module.quality.num_classes
    fits = isinstance(model.module, Classifier) and model.data.input_kind == "image"
    if not fits or int(model.config.data.num_classes) != size:
        raise UserError(f"--classifier: {run} is no classifier of images with {size} classes")
    return model


@torch.no_grad()
def agreement(module: Flow, classifier: TrainedModel) -> float:
    """Return the fraction of samples that a classifier assigns to their class; all classes are requested equally."""
    num, correct = module.quality.num_samples, 0
    classifier.to(module.device)
    labels = torch.arange(num, device=module.device) % module.quality.num_classes
    noise, _ = module.split(module.random_latents(num, generator(0, "agreement")))
    chunks = list(zip(torch.split(noise, CHUNK), torch.split(labels, CHUNK), strict=True))
    for some, wanted in shown(chunks, "images for the classifier"):
        images = (module.generate(some, module.one_hot(wanted)).float() * 255).round().to(torch.uint8).cpu()
        batch = classifier.batch([classifier.data.encode(image) for image in images])
        correct += int((classifier.module(batch).argmax(1) == wanted).sum())
    return correct / num


def bits(module: Flow, found: Evaluated, num: int) -> float:
    """Return the mean bits per dimension of the first `num` images, given their classes."""
    rng, values = generator(0, "bits"), []
    pairs = zip(*(torch.split(part[:num], BITS_BATCH) for part in (found.inputs, found.targets)), strict=True)
    for pixels, targets in shown(list(pairs), "bits per dimension"):
        classes = module.classes_of(targets.to(module.device))
        values.append(bits_per_dimension(module, pixels, classes, rng))
    return float(torch.cat(values).double().mean())


@torch.no_grad()
def fid(module: Flow, real: Tensor, weights: Path) -> float:
    """Return the FID of torchmetrics with given weights of its Inception net: real are uint8 (N, C, H, W).

    Raises:
        UserError: the file is damaged, or holds more than weights.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    try:
        torch.load(weights, map_location="cpu", weights_only=True)  # torch-fidelity would execute code in the file
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"--fid: cannot read {weights} ({str(error).splitlines()[0]})") from error
    metric = FrechetInceptionDistance(feature=2048, feature_extractor_weights_path=str(weights)).to(module.device)
    for images in torch.split(real, CHUNK):
        metric.update(coloured(images.to(module.device)), real=True)
    rng, num = generator(0, "samples"), module.quality.num_samples
    for start in shown(range(0, num, CHUNK), "images for the FID"):
        images = module.sample(min(CHUNK, num - start), rng)
        metric.update(coloured((images.float() * 255).round().to(torch.uint8)), real=False)
    return float(metric.compute())


def shown(items: Sequence[T], what: str) -> Iterable[T]:
    """Return `items` with a progress bar on stderr, if stderr is a terminal."""
    return track(items, what, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def coloured(images: Tensor) -> Tensor:
    """Grey images (B, 1, H, W) → (B, 3, H, W); others stay as they are."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def write_steps(report: Report, steps: Sequence[int]) -> None:
    """Write steps.csv and steps.png: the quality of samples against the number of steps, for each fixed sampler."""
    module = report.evaluator.module
    assert isinstance(module, Flow)
    samplers: tuple[Sampler, ...] = ("ddim", "heun") if isinstance(module.path, Cosine) else ("euler", "heun")
    numbers = sorted(set(steps))
    pairs = [(name, number) for name in samplers for number in numbers]
    found = {pair: quality(report, module, *pair) for pair in shown(pairs, "quality against steps")}
    columns = [name for name in ("fcd", "agreement") if name in next(iter(found.values()))]
    rows = [[*key, *(values[name] for name in columns)] for key, values in found.items()]
    report.write_csv("steps.csv", ["sampler", "steps", *columns], rows)
    report.draw("steps.png", plot_steps, rows, columns, report.title)


@torch.no_grad()
def quality(report: Report, module: Flow, sampler: Sampler, num_steps: int) -> dict[str, float]:
    """Return the metrics of samples of one sampler with a number of steps."""
    inputs, targets = report.found.inputs, report.found.targets
    for images, labels in zip(torch.split(inputs, CHUNK), torch.split(targets, CHUNK), strict=True):
        module.add_real((report.evaluator.module_inputs(images), labels.to(module.device)))
    found = module.measured("", module.sampling.changed(sampler=sampler, num_steps=num_steps))
    return {name: float(value) for name, value in found.items()}


def plot_steps(path: Path, rows: Sequence[Sequence[Any]], columns: Sequence[str], title: str) -> None:
    """Draw metrics against the number of steps, a line for each sampler.

    Args:
        path: the PNG file to write.
        rows: sampler, steps, and the value of each column.
        columns: names of metrics.
        title: the heading.
    """
    ticks = sorted({row[1] for row in rows})
    with figure(path, figsize=(5 * len(columns), 4)) as drawn:
        grid = drawn.subplots(1, len(columns), squeeze=False)
        for number, (axes, name) in enumerate(zip(grid[0], columns, strict=True)):
            for colour, sampler in zip(COLOURS, dict.fromkeys(row[0] for row in rows), strict=False):
                points = [(row[1], row[2 + number]) for row in rows if row[0] == sampler]
                label = f"{sampler} (two evaluations per step)" if sampler == "heun" else sampler
                axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=label)
            axes.set_xscale("log")
            axes.set(xlabel="steps", title=name, xticks=ticks)
            axes.set_xticklabels(map(str, ticks))
            axes.minorticks_off()
            axes.grid()
            axes.legend()
        drawn.suptitle(title, fontsize="medium", x=0.01, ha="left")
