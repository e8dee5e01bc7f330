"""The number that is explained: the score of the prediction for an image, as a function of its pixels."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from leyden.modules.classifier import Classifier
from leyden.modules.clip import CLIP, directions
from leyden.modules.multilabel import Multilabel
from leyden.modules.transcriber import Transcriber
from leyden.tools.trained_model import TrainedModel

Score = Callable[[Tensor], Tensor]  # normalised images (N, C, H, W) → the number that is explained, (N,)


def explained_score(model: TrainedModel, inputs: Tensor) -> tuple[Score, str]:
    """Return the function of images that is explained for one image, and its name, for example "score of class 7".

    It is the logit of the predicted class or of the most probable label, the log-likelihood of the predicted text, the
    cosine similarity to the most similar text, or the first number.

    Args:
        model: a loaded run.
        inputs: the normalised image, (1, C, H, W).
    """
    module = model.module
    with torch.no_grad():
        outputs = module(inputs)
        if isinstance(module, Transcriber):
            symbols = module.named_outputs(outputs, inputs)["symbols"]  # (1, L)
            return partial(log_likelihood, module, symbols=symbols), "probability of the text"
        if isinstance(module, CLIP):
            texts = module.embeddings_of_all_texts()
            nearest = texts[int((directions(outputs) @ texts.T).argmax())]
            return lambda images: directions(module(images)) @ nearest, "similarity to the text"
    if not isinstance(module, Classifier | Multilabel):
        return lambda images: module(images).flatten(1)[:, 0], "the first predicted number"
    best = int(outputs[0].argmax())
    kind = "class" if isinstance(module, Classifier) else "label"
    name = module.class_names[best] if model.classes is None else f"{kind} {module.class_names[best]}"
    return lambda images: module(images)[:, best], f"score of {name}"


def log_likelihood(module: Transcriber, images: Tensor, symbols: Tensor) -> Tensor:
    """Return the log-likelihood of one text given each image, (B,): images (B, C, H, W), symbols int64 (1, L)."""
    symbols = symbols.expand(len(images), -1)
    logits = module.net(images, symbols) if module.teacher_forcing else module.net(images)
    likelihoods = logits.view(*symbols.shape, -1).log_softmax(2)  # (B, L, V)
    chosen: Tensor = likelihoods.gather(2, symbols.clamp(min=0)[..., None])[..., 0]
    return chosen.where(symbols >= 0, 0.0).sum(1)
