"""The base of every module here: a LightningModule whose hooks cost less."""

from typing import Any

from lightning.pytorch import LightningModule


class LeanModule(LightningModule):
    """Lightning notes the current hook's name on the module before and after each of some twenty hooks a step,
    and `nn.Module` looks at every attribute that is set for being a weight: 0.3 ms of a 3 ms step.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)
