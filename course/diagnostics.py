"""Hooks that predict a split after each epoch, for the figures of the reports."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from imgcls.data.batches import ImageSet
from imgcls.evaluation import predict
from imgcls.evaluation.statistics import wilson


class CorrectEachEpoch:
    """An `on_epoch_end` hook that keeps which images of a split were right after each epoch, bool (epochs, N)."""

    def __init__(self, split: ImageSet) -> None:
        self.split, self._correct = split, []

    def __call__(self, model: nn.Module, row: dict) -> None:
        """Answer the split once more and keep what was right."""
        self._correct.append(predict(model, self.split).correct)

    @property
    def correct(self) -> Tensor:
        """One row an epoch."""
        return torch.stack(self._correct)


class PredictionsEachEpoch:
    """An `on_epoch_end` hook that keeps the answers on a split after each epoch: what a collapse looks like.

    `prepare` makes another network of the model before it is asked, such as `with_batch_statistics`.
    """

    def __init__(self, split: ImageSet, prepare: Callable[[nn.Module], nn.Module] | None = None) -> None:
        self.split, self.prepare, self.epochs = split, prepare, []

    def __call__(self, model: nn.Module, row: dict) -> None:
        """Answer the split once more."""
        self.epochs.append(predict(self.prepare(model) if self.prepare else model, self.split))

    def frame(self) -> pd.DataFrame:
        """Share of the answers and recall of each class after each epoch, with Wilson intervals, for `plots.curves`.

        Columns panel ("share of the answers" or "recall"), x (epoch from 1), series (class), value, low, high, n.
        """
        rows = []
        for epoch, answers in enumerate(self.epochs, start=1):
            for k, name in enumerate(answers.classes):
                said, true = answers.predicted == k, answers.labels == k
                counted = {"share of the answers": wilson(int(said.sum()), len(answers))}
                if true.any():
                    counted["recall"] = wilson(int((said & true).sum()), int(true.sum()))
                rows += [{"panel": panel, "x": epoch, "series": name, **vars(one)} for panel, one in counted.items()]
        return pd.DataFrame(rows)
