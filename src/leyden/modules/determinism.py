"""Kernels without a deterministic version. A run that uses them cannot be repeated bit by bit."""

from typing import Literal

from torch import nn

from leyden.nets.transformer import Attention, Tokens

# One block of keys of the memory-efficient kernel. Its gradient adds up blocks in any order, so one block is exact.
KEYS_PER_BLOCK = 64


def nondeterministic_kernels(module: nn.Module, device_type: str, deterministic: bool | Literal["warn"]) -> list[str]:
    """Name the kernels of a module's training step that are not deterministic.

    The list follows `torch.use_deterministic_algorithms` and the layers that the nets of Leyden and of torchvision
    have. A net of your own may use others.

    Args:
        module: the module with all its nets.
        device_type: such as cpu or cuda.
        deterministic: the key ``trainer.deterministic``.

    Returns:
        One text for each; none if the step is deterministic, as it always is on the CPU.
    """
    if device_type == "cpu":
        return []
    if device_type != "cuda":
        return [f"all kernels of {device_type}: torch does not say which ones are deterministic"]
    if not deterministic:
        return ["all kernels: trainer.deterministic=false lets cuDNN and cuBLAS choose faster ones"]
    found = [
        f"backward of AdaptiveAvgPool2d ({name})"
        for name, layer in module.named_modules()
        if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size not in (1, (1, 1))  # 1x1 is a mean
    ]
    if deterministic == "warn":  # with true, torch uses a deterministic gradient of attention
        found += [f"backward of attention ({name})" for name in long_attention(module)]
    return found


def long_attention(module: nn.Module) -> list[str]:
    """Return the names of the attention layers in nets with so many tokens that their keys fill several blocks."""
    tokens = [layer.num_tokens + 1 for layer in module.modules() if isinstance(layer, Tokens)]
    ours = max(tokens, default=0) > KEYS_PER_BLOCK
    return [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.MultiheadAttention) or (ours and isinstance(layer, Attention))
    ]
