"""Attention: which patches a transformer combines, and what a net reads for each symbol of a text."""

import torch
from torch import Tensor

from leyden.modules.base import BaseModule
from leyden.modules.patch_attention import patches_to_pixels
from leyden.nets.seq2seq import Seq2Seq
from leyden.nets.transformer import Tokens, Transformer


def attention_maps(module: BaseModule, inputs: Tensor) -> dict[str, Tensor]:
    """Return name → how much attention each pixel gets, (H, W); empty if the net has no attention.

    Args:
        module: a trained module.
        inputs: the normalised image, (1, C, H, W).
    """
    net = module.net
    if isinstance(net, Transformer) and isinstance(net.tokens, Tokens):
        weights = rollout(net.attention(inputs)[:, 0])
        row = weights.mean(0) if net.class_token is None else weights[0, 1:]
        return {"attention": patches_to_pixels(row, net.tokens, inputs.shape[2:])}
    if not isinstance(net, Seq2Seq):
        return {}
    symbols = module.predict(inputs)["symbols"]
    weights = net.attention(inputs, symbols)[0]  # (L, S)
    tokens = net.encoder[0]
    assert isinstance(tokens, Tokens)
    num = int((symbols[0] >= 0).sum())
    return {f"attention, symbol {n + 1}": patches_to_pixels(weights[n], tokens, inputs.shape[2:]) for n in range(num)}


def rollout(weights: Tensor) -> Tensor:
    """Combine the attention of all layers, with the residuals (Abnar and Zuidema, 2020).

    Args:
        weights: (layers, H, T, T), rows sum to 1.

    Returns:
        (T, T), how much each token of the last layer contains of each token of the first; rows sum to 1.
    """
    identity = torch.eye(weights.shape[-1], device=weights.device, dtype=weights.dtype)
    combined = identity
    for layer in weights.mean(1):
        combined = (layer + identity) / 2 @ combined
    return combined
