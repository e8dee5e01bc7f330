"""The base of every module here: a LightningModule whose hooks cost less and which says what belongs in its report."""

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

    def report(self) -> dict[str, Any]:
        """Entries of this module's own for report.json, asked for after the test: plain values under new names."""
        return {}
