"""The device on which a tool computes."""

from leyden.errors import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")


def checked_device(name: str) -> str:
    """Return the torch device for one of `DEVICES`; ``auto`` is the first accelerator of this machine, or the CPU.

    Raises:
        UserError: this machine has no such device.
    """
    import torch

    if name not in DEVICES:
        raise UserError(f"--device: got {name}, must be one of {', '.join(DEVICES)}")
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((device for device in ("cuda", "mps") if present[device]), "cpu")
    if not present[name]:
        raise UserError(f"--device: this machine has no {name}. Use --device cpu")
    return name
