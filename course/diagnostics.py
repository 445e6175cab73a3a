"""Looks into a run for the figures of reports: predictions and gradients by epoch, a search by compute, its charts."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.mistakes import without_normalization
from imgcls.data.batches import ImageSet
from imgcls.evaluation import Predictions, predict
from imgcls.reproducibility import fork_rng
from imgcls.search import counted_trials
from imgcls.search.trials import is_done

COMPUTE = ("seconds", "epochs")


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


class PartlyNormalized:
    """An `on_epoch_end` hook that records predictions on a split with a share of the normalisation missing.

    `predictions` maps (run, epoch, missing) to predictions; runs and epochs are counted from 1. The share has the
    meaning that it has in `mistakes.without_normalization`.
    """

    def __init__(self, split: ImageSet, missing: Sequence[float]) -> None:
        self.split, self.missing, self.predictions, self._runs = split, missing, {}, 0

    def __call__(self, model: nn.Module, row: dict) -> None:
        """Predict the split once for each share."""
        self._runs += row["epoch"] == 1
        for share in self.missing:
            found = predict(model, self.split, transform=without_normalization(model, share))
            self.predictions[self._runs, row["epoch"], share] = found

    def last(self, share: float) -> list[Predictions]:
        """The predictions of each run after its last epoch, with this share of the normalisation missing."""
        last = {run: epoch for run, epoch, _ in self.predictions}
        return [self.predictions[run, epoch, share] for run, epoch in last.items()]


def gradients(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Gradient of the loss at the weights of each convolution and dense layer, first layer first.

    Computed in float32 and training mode on a copy, so that the model and its running statistics do not change.
    """
    probe = copy.deepcopy(model).train().float()
    device = next(probe.parameters()).device
    layers = [module for module in probe.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    kinds = ["conv" if isinstance(layer, nn.Conv2d) else "dense" for layer in layers]
    for layer in layers:
        layer.weight.requires_grad_()  # frozen layers too
    with fork_rng(device):
        torch.manual_seed(0)
        loss = F.cross_entropy(probe(images.to(device)), labels.to(device))
    found = torch.autograd.grad(loss, [layer.weight for layer in layers])
    names = [f"{kind} {kinds[: i + 1].count(kind)}" for i, kind in enumerate(kinds)]
    return dict(zip(names, found, strict=True))


def gradient_norms(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """L2 norm of the gradient at each layer, as in `gradients`."""
    return {name: float(gradient.norm()) for name, gradient in gradients(model, images, labels).items()}


def best_so_far(study: optuna.Study, series: str = "", of: str = "seconds", panel: str = "search") -> pd.DataFrame:
    """Best validation accuracy against the compute of all trials until then, for `plots.curves`.

    Trials are sorted by their end, including pruned and diverged ones; attempts of a killed process do not count.
    Frames of several studies can be concatenated, one series each.

    Args:
        study: From `search` or `read_study`.
        series: Name of the curve, such as the sampler; the study's name if empty.
        of: "seconds" of training, added up over all processes, or "epochs".
        panel: Name of the panel in the figure.

    Returns:
        Columns panel, x, series, value (0 to 1), low and high (NaN), one row per trial from the first with a value on.

    Raises:
        ValueError: `of` is neither "seconds" nor "epochs".
    """
    if of not in COMPUTE:
        raise ValueError(f"compute is counted in {' or '.join(COMPUTE)}, not in {of!r}")
    trials = sorted(filter(is_done, counted_trials(study)), key=lambda t: t.datetime_complete)
    elapsed = np.cumsum([t.user_attrs.get(of, 0) for t in trials])
    best = np.fmax.accumulate([t.user_attrs.get("reached", np.nan) for t in trials]) if trials else []
    frame = pd.DataFrame({
        "panel": panel, "x": elapsed, "series": series or study.study_name, "value": best,
        "low": np.nan, "high": np.nan,
    })  # fmt: skip
    return frame[frame["value"].notna()].reset_index(drop=True)


def read_tensorboard(folder: str | Path) -> pd.DataFrame:
    """The scalars of a run's event files as TensorBoard draws them: one row per step, one column per chart.

    Raises:
        FileNotFoundError: the folder has no event file.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    if not list(Path(folder).glob("events.out.tfevents.*")):
        raise FileNotFoundError(f"{folder} has no TensorBoard log: name the folder of a run that was tracked there")
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()  # 0: every event, not a sample
    charts = {
        tag: pd.Series({event.step: event.value for event in events.Scalars(tag)}) for tag in events.Tags()["scalars"]
    }
    return pd.DataFrame(charts).rename_axis("step")
