"""A model's predictions on a split, computed once, and the metrics computed from them."""

import math
import types
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgcls.data.batches import ImageSet, batches
from imgcls.evaluation.statistics import Interval, wilson
from imgcls.messages import UserError
from imgcls.precision import autocast
from imgcls.reproducibility import configure_threads


@dataclass(frozen=True)
class Predictions:
    """Predictions for N images: logits float32 (N, K), true labels int64 (N,), names of classes and images."""

    logits: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def probabilities(self) -> Tensor:
        """Softmax of the logits, (N, K)."""
        return self.logits.softmax(dim=1)

    @cached_property
    def predicted(self) -> Tensor:
        """Most probable class, int64 (N,)."""
        return self.logits.argmax(dim=1)

    @cached_property
    def confidence(self) -> Tensor:
        """Probability of the predicted class, (N,)."""
        return self.probabilities.amax(dim=1)

    @cached_property
    def correct(self) -> Tensor:
        """Whether the predicted class is the true one, bool (N,)."""
        return self.predicted == self.labels

    @cached_property
    def losses(self) -> Tensor:
        """Cross-entropy of each image in nats, (N,)."""
        return F.cross_entropy(self.logits, self.labels, reduction="none")

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(self.losses.double().mean())

    @property
    def accuracy(self) -> float:
        """Fraction of images whose predicted class is the true one."""
        return int(self.correct.sum()) / len(self)

    @property
    def accuracy_interval(self) -> Interval:
        """Accuracy with its 95 % Wilson interval."""
        return wilson(int(self.correct.sum()), len(self))

    def top_k_accuracy(self, k: int) -> Interval:
        """Fraction of images whose true class is among the k most probable, with its 95 % Wilson interval."""
        best = self.logits.argsort(dim=1, descending=True, stable=True)[:, :k]  # stable: equals `accuracy` for k = 1
        return wilson(int((best == self.labels[:, None]).sum()), len(self))

    @property
    def balanced_accuracy(self) -> Interval:
        """Mean recall of the classes that have images, with a 95 % interval; `n` counts the images.

        The Wilson intervals of the recalls are combined by the method of variance estimates recovery: the distance of
        each limit from the mean is the root of the sum of their squared distances, divided by their number (Zou and
        Donner 2008, "Construction of confidence limits about effect measures", Statistics in Medicine 27).
        """
        support = self.labels.bincount(minlength=len(self.classes)).tolist()
        correct = self.labels[self.correct].bincount(minlength=len(self.classes)).tolist()
        recalls = [wilson(hits, count) for hits, count in zip(correct, support, strict=True) if count]
        value = sum(recall.value for recall in recalls) / len(recalls)
        below = math.hypot(*(recall.value - recall.low for recall in recalls)) / len(recalls)
        above = math.hypot(*(recall.high - recall.value for recall in recalls)) / len(recalls)
        return Interval(value, value - below, value + above, len(self))

    def confusion(self, normalize: bool = False) -> np.ndarray:
        """Confusion matrix (K, K): row = true class, column = predicted; `normalize` divides each row by its sum."""
        how = "true" if normalize else None
        return _metrics().confusion_matrix(self.labels, self.predicted, labels=range(len(self.classes)), normalize=how)

    def per_class(self) -> pd.DataFrame:
        """Precision, recall, F1 and support, one row per class; an undefined ratio counts as 0."""
        columns = _metrics().precision_recall_fscore_support(
            self.labels, self.predicted, labels=range(len(self.classes)), zero_division=0
        )
        measures = dict(zip(("precision", "recall", "f1", "support"), columns, strict=True))
        return pd.DataFrame({"class": self.classes, **measures})

    def macro(self) -> dict[str, float]:
        """Precision, recall and F1 averaged over the classes with equal weight."""
        return self.per_class()[["precision", "recall", "f1"]].mean().to_dict()

    def most_confused(self, k: int = 5) -> pd.DataFrame:
        """The k most frequent errors as rows (true, predicted, count), most frequent first."""
        wrong = self.confusion()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:k]
        rows = [
            (self.classes[t], self.classes[p], int(wrong[t, p]))
            for t, p in zip(*np.unravel_index(order, wrong.shape), strict=True)
        ]
        return pd.DataFrame([row for row in rows if row[2]], columns=["true", "predicted", "count"])

    def top_losses(self, k: int = 10) -> Tensor:
        """Indices of the k images with the largest loss, worst first."""
        return self.losses.argsort(descending=True, stable=True)[:k]

    def examples(self, correct: bool, k: int = 6) -> Tensor:
        """Indices of at most k correct (or wrong) predictions, evenly spaced through the split; int64 (k,)."""
        found = (self.correct == correct).nonzero().flatten()
        return found[torch.linspace(0, len(found) - 1, min(k, len(found))).round().long()]

    def predicted_share(self) -> pd.Series:
        """Fraction of the images predicted as each class; a value near 1 is a collapsed model."""
        counts = torch.bincount(self.predicted, minlength=len(self.classes))
        return pd.Series((counts / len(self)).tolist(), index=list(self.classes), name="share")

    def reliability(self, bins: int = 15) -> pd.DataFrame:
        """Mean confidence, accuracy and count in equal-width bins of confidence; empty bins are left out."""
        index = (self.confidence * bins).long().clamp(max=bins - 1)
        frame = pd.DataFrame({"confidence": self.confidence.numpy(), "accuracy": self.correct.numpy()})
        groups = frame.groupby(index.numpy())
        return groups.mean().assign(count=groups.size()).reset_index(drop=True)

    @property
    def ece(self) -> float:
        """Expected calibration error over 15 bins (Naeini et al. 2015): mean gap between confidence and accuracy."""
        table = self.reliability()
        return float(((table.confidence - table.accuracy).abs() * table["count"]).sum() / len(self))

    def with_threshold(self, threshold: float) -> "Predictions":
        """The predictions of two classes where the second is predicted from this probability on, instead of 0.5.

        Raises:
            ValueError: there are more than two classes, or the threshold is not strictly between 0 and 1.
        """
        if len(self.classes) != 2 or not 0 < threshold < 1:
            raise UserError(f"a threshold in (0, 1) separates two classes; got {threshold!r} for {len(self.classes)}")
        odds = float(np.log(threshold / (1 - threshold)))
        return replace(self, logits=self.logits - torch.tensor([0.0, odds]))

    def with_temperature(self, temperature: float) -> "Predictions":
        """The predictions with logits divided by a temperature: same classes, other confidences."""
        return replace(self, logits=self.logits / temperature)


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: ImageSet,
    batch_size: int = 500,
    transform: Callable[[Tensor], Tensor] | None = None,
    tta: Sequence[Callable[[Tensor], Tensor]] | None = None,
) -> Predictions:
    """Run a model in evaluation mode over a split, without gradients.

    Args:
        model: Maps uint8 (N, C, H, W) to logits (N, K). The mode of each of its modules is restored afterwards, also
            after an exception; its device stays.
        images: A split: anything with `.images`, `.labels` and `.classes`.
        batch_size: Images at a time; changes speed only.
        transform: Applied to each uint8 batch before the model.
        tta: Several such transforms, such as `flip_shift_tta()`; the logits are the mean over them (test-time
            augmentation).

    Returns:
        Predictions on the CPU, in the order of the split.

    Raises:
        ValueError: the number of outputs is not the number of classes, or both `transform` and `tta` are given.
    """
    if transform and tta:
        raise UserError("predict takes transform or tta, not both: apply the transform inside each function of tta")
    logits = _outputs(model, images, batch_size, tta or [transform or nn.Identity()])  # (N, K)
    if logits.shape[1] != len(images.classes):
        raise UserError(
            f"the model has {logits.shape[1]} outputs and the data {len(images.classes)} classes "
            f"({', '.join(images.classes[:5])}, …): create the model with num_classes={len(images.classes)}"
        )
    labels = images.labels.cpu().clone()
    return Predictions(logits, labels, tuple(images.classes), tuple(getattr(images, "names", ())))


def predict_checked(model: nn.Module, *splits: ImageSet) -> Predictions:
    """`predict` on one or several splits, concatenated, with a check for models of unknown origin.

    Raises:
        ValueError: a logit is not finite, or the number of outputs is not the number of classes.
    """
    parts = [predict(model, split) for split in splits]
    logits = torch.cat([part.logits for part in parts])
    broken = int((~logits.isfinite().all(dim=1)).sum())
    if broken:
        raise UserError(
            f"the logits of {broken} of {len(logits)} images are not finite: the training of the model diverged; "
            "train again with a learning rate ten times smaller"
        )
    labels, names = torch.cat([part.labels for part in parts]), sum((part.names for part in parts), ())
    return Predictions(logits, labels, parts[0].classes, names)


def _metrics() -> types.ModuleType:
    from sklearn import metrics  # slow to import, and predicting does not need it

    return metrics


def _outputs(model: nn.Module, images: ImageSet, batch_size: int, tta: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """Outputs in evaluation mode, averaged over `tta`, float32 (N, …) on the CPU; restores the mode of each module."""
    configure_threads()
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    outputs = []
    try:
        model.eval()
        done = 0
        while True:
            try:
                with autocast(device):
                    for x, _ in batches(images, batch_size, device, done):
                        outputs.append(sum(model(view(x)).float() for view in tta).div(len(tta)).cpu())
                        done += len(x)
                break
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
            batch_size = halve(batch_size)  # not above, where the exception holds the tensors of the failed attempt
    finally:
        for module, mode in modes.items():
            module.training = mode
    return torch.cat(outputs)


def halve(size: int, consequence: str = "") -> int:
    """Half as many images at a time, with a warning, after `size` images did not fit into memory."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = -(-size // 2)
    warnings.warn(f"{size} images do not fit into memory: taking {half} at a time{consequence}", stacklevel=4)
    return half


@dataclass(frozen=True)
class FeatureSplit:
    """Features of the images of a split: a split of vectors, which `fit` and `predict` accept."""

    images: Tensor  # float32 (N, D)
    labels: Tensor  # int64 (N,)
    classes: tuple[str, ...]
    names: tuple[str, ...] = ()


@torch.inference_mode()
def extract_features(
    backbone: nn.Module,
    images: ImageSet,
    batch_size: int = 500,
    tta: Sequence[Callable[[Tensor], Tensor]] | None = None,
) -> FeatureSplit:
    """Features of a split from a backbone, computed once, for instance to train many heads on them.

    Exact only while the backbone is frozen and the images are not augmented.

    Args:
        backbone: Maps uint8 (N, C, H, W) to (N, D), such as `models.backbone(model)`.
        images: A split: anything with `.images`, `.labels` and `.classes`.
        batch_size: Images at a time; changes speed only.
        tta: As in `predict`; the features are the mean over the transforms.
    """
    features = _outputs(backbone, images, batch_size, tta or [nn.Identity()])  # (N, D)
    return FeatureSplit(
        features, images.labels.cpu().clone(), tuple(images.classes), tuple(getattr(images, "names", ()))
    )
