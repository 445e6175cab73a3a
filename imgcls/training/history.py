"""The record of a training run: one row per epoch, the model and the seed."""

from dataclasses import dataclass, field

import pandas as pd
from torch import nn

from imgcls.messages import format_duration


@dataclass
class History:
    """One row per epoch, and the epoch whose weights the model has."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0  # counted from 1; 0 before the first epoch

    def frame(self) -> pd.DataFrame:
        """Rows as a table: epoch, losses, accuracies, lr, seconds, images_per_second and the columns of hooks."""
        return pd.DataFrame(self.rows)

    def gradients(self) -> pd.DataFrame:
        """Gradient norms from a hook (`grad/<layer>`): one row per epoch, one column per layer, first layer first."""
        table = self.frame().set_index("epoch").filter(regex="^grad/")
        return table.rename(columns=lambda name: name.removeprefix("grad/"))

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch."""
        return self.rows[self.best_epoch - 1]

    @property
    def seconds(self) -> float:
        """Time of training and validation."""
        return sum(row["seconds"] for row in self.rows)

    def improved_by(self, row: dict[str, float]) -> bool:
        """Whether the row has a better validation accuracy than all rows, or an equal one with a lower loss."""
        if not self.rows:
            return True
        return (row["val_accuracy"], -row["val_loss"]) > (self.best["val_accuracy"], -self.best["val_loss"])

    def summary(self) -> str:
        """The run in one line: duration, last losses and accuracies, best epoch."""
        row, epochs = self.rows[-1], len(self.rows)
        return (
            f"{epochs} epoch{'s' * (epochs > 1)} in {format_duration(self.seconds)} · loss {row['train_loss']:.3f}"
            f" · train {100 * row['train_accuracy']:.1f} % · validation {100 * row['val_accuracy']:.1f} %"
            f" · {row['images_per_second']:,.0f} images/s, best epoch {self.best_epoch}"
        )


@dataclass(frozen=True)
class Run:
    """A trained model with its history and its seed."""

    model: nn.Module
    history: History
    seed: int
