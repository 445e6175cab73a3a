"""Hooks that predict a split after each epoch, for the figures of the reports."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from imgcls.data.batches import ImageSet
from imgcls.evaluation import predict
from imgcls.evaluation.statistics import wilson


class CorrectEachEpoch:
    """An `on_epoch_end` hook that records which images of a split are classified correctly, bool (epochs, N)."""

    def __init__(self, split: ImageSet) -> None:
        self.split, self._correct = split, []

    def __call__(self, model: nn.Module, row: dict) -> None:
        """Predict the split and record which images are correct."""
        self._correct.append(predict(model, self.split).correct)

    @property
    def correct(self) -> Tensor:
        """One row per epoch."""
        return torch.stack(self._correct)


class PredictionsEachEpoch:
    """An `on_epoch_end` hook that records the predictions on a split after each epoch, to show a collapse.

    `prepare` replaces the model before it predicts, such as `with_batch_statistics`.
    """

    def __init__(self, split: ImageSet, prepare: Callable[[nn.Module], nn.Module] | None = None) -> None:
        self.split, self.prepare, self.epochs = split, prepare, []

    def __call__(self, model: nn.Module, row: dict) -> None:
        """Predict the split and record the predictions."""
        self.epochs.append(predict(self.prepare(model) if self.prepare else model, self.split))

    def frame(self) -> pd.DataFrame:
        """Share of the predictions and recall of each class by epoch, with Wilson intervals, for `plots.curves`.

        Columns panel ("share of the answers" or "recall"), x (epoch from 1), series (class), value, low, high, n.
        """
        rows = []
        for epoch, predictions in enumerate(self.epochs, start=1):
            for k, name in enumerate(predictions.classes):
                predicted, true = predictions.predicted == k, predictions.labels == k
                counted = {"share of the answers": wilson(int(predicted.sum()), len(predictions))}
                if true.any():
                    counted["recall"] = wilson(int((predicted & true).sum()), int(true.sum()))
                rows += [{"panel": panel, "x": epoch, "series": name, **vars(one)} for panel, one in counted.items()]
        return pd.DataFrame(rows)
