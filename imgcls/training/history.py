"""What a training run leaves behind: its rows, its model, its seed."""

from dataclasses import dataclass, field

import pandas as pd
from torch import nn


@dataclass
class History:
    """One row an epoch, and which epoch's weights were kept."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0  # counted from 1; 0 before the first epoch

    def frame(self) -> pd.DataFrame:
        """Rows as a table: epoch, losses, accuracies, lr, seconds, images_per_second and what a hook added."""
        return pd.DataFrame(self.rows)

    def gradients(self) -> pd.DataFrame:
        """What a `GradientProbe` recorded: one row an epoch, one column a layer, first layer first."""
        table = self.frame().set_index("epoch").filter(regex="^grad/")
        return table.rename(columns=lambda name: name.removeprefix("grad/"))

    @property
    def best(self) -> dict[str, float]:
        """The row of the kept weights."""
        return self.rows[self.best_epoch - 1]

    @property
    def seconds(self) -> float:
        """Time spent training and validating."""
        return sum(row["seconds"] for row in self.rows)


@dataclass(frozen=True)
class Run:
    """A trained model with its history and the seed that made it."""

    model: nn.Module
    history: History
    seed: int
