"""A network that predicts one class: watched epoch by epoch, with several averages in its batch norms."""

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from imgcls.data import Split
from imgcls.data.batches import ImageSet, batches
from imgcls.evaluation import Predictions, predict
from imgcls.evaluation.statistics import Interval, wilson
from imgcls.precision import autocast

BatchNorm = nn.modules.batchnorm._BatchNorm
FAVOURITE, EPOCHS = 0.9, 0.5  # a collapse: the share of the favourite class, and the share of the epochs
Prepare = Callable[[nn.Module], nn.Module]


def has_collapsed(favourite: pd.Series) -> bool:
    """Whether the favourite class takes nine of ten predictions in at least half of the epochs of a run."""
    return bool((favourite >= FAVOURITE).mean() >= EPOCHS)


def lag_as_cause(change: Interval) -> str:
    """What a change of the share of the favourite class by recalibration shows about the lag of running averages."""
    if change.high < 0:
        return "So the lag of the running averages is part of the cause of the one-sided predictions."
    if change.low > 0:
        return "So the lag of the running averages does not cause the one-sided predictions: without it there are more."
    return "So these runs neither show nor exclude that the lag of the running averages is a cause (inconclusive)."


class CollapseWatch:
    """An `on_epoch_end` hook that predicts a split after each epoch, with the model prepared in several ways.

    One watch may follow several runs in turn; a run begins with its first epoch.

    Args:
        split: Images to predict.
        ways: Name -> function that returns the model to predict with, such as a copy with other running averages; None
            for the model itself.
    """

    def __init__(self, split: ImageSet, ways: Mapping[str, Prepare | None]) -> None:
        self.split, self.ways = split, dict(ways)
        self.runs: list[dict[str, list[Predictions]]] = []

    def __call__(self, model: nn.Module, row: dict) -> None:
        """Predict the split in each way and keep the predictions."""
        if row["epoch"] == 1:
            self.runs.append({name: [] for name in self.ways})
        for name, prepare in self.ways.items():
            self.runs[-1][name].append(predict(prepare(model) if prepare else model, self.split))

    def last(self, way: str) -> list[Predictions]:
        """The predictions after the last epoch, one entry per run."""
        return [run[way][-1] for run in self.runs]

    def frame(self) -> pd.DataFrame:
        """One row per run, way and epoch: share of the favourite class, accuracy, loss."""
        return pd.DataFrame([
            {"run": k, "way": way, "epoch": epoch, "favourite": one.predicted_share().max(),
             "accuracy": one.accuracy, "loss": one.loss}
            for k, run in enumerate(self.runs) for way, epochs in run.items() for epoch, one in enumerate(epochs, 1)
        ])  # fmt: skip

    def by_class(self, way: str, run: int = 0) -> pd.DataFrame:
        """Share of the predictions and recall of each class by epoch, with Wilson intervals, for `plots.curves`."""
        rows = []
        for epoch, one in enumerate(self.runs[run][way], start=1):
            for k, name in enumerate(one.classes):
                predicted, true = one.predicted == k, one.labels == k
                counted = {"share of the predictions": wilson(int(predicted.sum()), len(one))}
                counted["recall"] = wilson(int((predicted & true).sum()), int(true.sum()))
                rows += [{"panel": what, "x": epoch, "series": name, **vars(share)} for what, share in counted.items()]
        return pd.DataFrame(rows)

    def favourites(self) -> pd.DataFrame:
        """Share of the favourite class by epoch and way, mean over the runs with their range, for `plots.curves`."""
        groups = self.frame().groupby(["way", "epoch"], sort=False)["favourite"]
        table = groups.agg(value="mean", low="min", high="max").reset_index()
        return table.rename(columns={"way": "series", "epoch": "x"}).assign(panel="share of the favourite class")


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The batch norms of a model in their order."""
    return [module for module in model.modules() if isinstance(module, BatchNorm)]


@torch.no_grad()
def recalibrate(model: nn.Module, images: Split, batch_size: int = 250) -> nn.Module:
    """A copy whose batch norms have the mean and variance of these images under the present weights.

    The weights stay; each statistic is the plain average over batches of about one size, at most `batch_size`, instead
    of a running average over steps.
    """
    parts = math.ceil(len(images) / batch_size)
    batch_size = math.ceil(len(images) / parts)  # a last batch of a few images would count as much as a full one
    duplicate = copy.deepcopy(model).eval()
    for norm in batch_norms(duplicate):
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's word for a plain average
        norm.train()
    device = next(duplicate.parameters()).device
    with autocast(device):
        for x, _ in batches(images, batch_size, device):
            duplicate(x)
    return duplicate.eval()


def with_second_average(create: Callable[[], nn.Module], momentum: float) -> nn.Module:
    """A new network whose batch norms keep a second running mean and variance, with another momentum.

    Training uses neither, so one run shows what each momentum would have given with the same weights.
    """
    model = create()
    for norm in batch_norms(model):
        norm.register_buffer("second_mean", torch.zeros_like(norm.running_mean))
        norm.register_buffer("second_var", torch.ones_like(norm.running_var))
        norm.register_forward_pre_hook(partial(_update_second, momentum=momentum))
    return model


@torch.no_grad()
def _update_second(norm: nn.Module, inputs: tuple[Tensor], momentum: float) -> None:
    if norm.training:
        x = inputs[0].float()
        dims = [d for d in range(x.ndim) if d != 1]  # all but the channels
        variance, mean = torch.var_mean(x, dim=dims)
        norm.second_mean.lerp_(mean, momentum)
        norm.second_var.lerp_(variance, momentum)


def use_second_average(model: nn.Module) -> nn.Module:
    """A copy of a network of `with_second_average` that normalises with its second running mean and variance."""
    duplicate = copy.deepcopy(model)
    for norm in batch_norms(duplicate):
        norm.running_mean.copy_(norm.second_mean)
        norm.running_var.copy_(norm.second_var)
    return duplicate


def equal_counts(split: Split) -> Split:
    """The first images of each class, equally many, so that accuracy and balanced accuracy are the same number."""
    count = int(split.labels.bincount(minlength=len(split.classes)).min())
    rows = [(split.labels == k).nonzero().flatten()[:count] for k in range(len(split.classes))]
    return split.subset(torch.cat(rows).sort().values)


def at_thresholds(predictions: Predictions, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """Confusion counts, recalls and balanced accuracy of two classes at named thresholds, one row each."""
    first, second = predictions.classes
    rows = []
    for name, cut in thresholds.items():
        moved = predictions.with_threshold(cut)
        (a, b), (c, d) = np.asarray(moved.confusion()).tolist()
        counts = {f"{first} → {first}": a, f"{first} → {second}": b}
        counts |= {f"{second} → {first}": c, f"{second} → {second}": d}
        rows.append({"": name, "threshold": f"{cut:.3f}", **counts, "balanced accuracy": str(moved.balanced_accuracy)})
    return pd.DataFrame(rows)
