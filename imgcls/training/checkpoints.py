"""A run on disk: each checkpoint written whole or not at all, and resumed only by the run it belongs to."""

import hashlib
import os
import pickle
import warnings
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imgcls.data.batches import ImageSet
from imgcls.reproducibility import pick_precision
from imgcls.training.recipe import Recipe

KEPT = 2  # checkpoints on disk: the newest, and one in case that one is torn


class StepResult(NamedTuple):
    """What one step says: the sum of its losses, its right answers, and how many images fitted at a time."""

    loss: Tensor
    correct: Tensor
    micro_batch_size: int | None


@dataclass
class State:
    """Everything that a resumed run needs besides weights and optimizer: plain numbers, lists and tensors."""

    best_weights: dict[str, Tensor]
    micro_batch_size: int | None = None  # images at a time; None: all of a step
    epoch: int = 0
    step: int = 0  # steps done in this epoch
    loss: float | Tensor = 0.0  # sums over this process's images of the epoch
    correct: int | Tensor = 0
    seen: int = 0
    elapsed: float = 0.0  # seconds of this epoch before the interruption
    lr_factor: float = 1.0
    epochs_since_best: int = 0  # epochs since the best or since the learning rate was last lowered
    best_epoch: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)

    def add(self, result: StepResult, images: int) -> None:
        """Count a step that was done."""
        self.loss, self.correct, self.seen = self.loss + result.loss, self.correct + result.correct, self.seen + images
        self.micro_batch_size, self.step = result.micro_batch_size, self.step + 1

    def sums(self) -> tuple[float, int, int]:
        """Sum of the losses, right answers and images of this epoch; waits for the device."""
        return float(self.loss), int(self.correct), self.seen


@dataclass(frozen=True)
class Checkpoints:
    """The newest checkpoints of one run in a folder of its own; without a folder nothing is ever written."""

    folder: Path | None
    identity: dict[str, str]  # what must not change between a run and its resumption

    def save(self, step: int, content: dict[str, Any]) -> None:
        """Write a checkpoint after `step` steps of the whole run, and let go of all but the newest."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:09d}.pt"
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                torch.save({"identity": self.identity, **content}, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)  # of a disk that is full
        for old in self._newest_first()[KEPT:]:
            old.unlink()

    def restore(self) -> dict[str, Any] | None:
        """The newest whole checkpoint; None where there is none yet. A torn one is named, renamed and passed over.

        Raises:
            ValueError: the checkpoint was made with another recipe, seed, data, precision or number of processes, or it
            is a foreign pickle.
        """
        for path in self._newest_first():
            try:
                content = _read(path)
            except _TORN as error:
                warnings.warn(f"{path} is torn ({error}): going on from the checkpoint before it", stacklevel=3)
                path.replace(path.with_suffix(".torn"))
                continue
            self._check(path, content.pop("identity", {}))
            return content
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"), reverse=True) if self.folder else []

    def _check(self, path: Path, theirs: dict[str, str]) -> None:
        names = [*self.identity, *(name for name in theirs if name not in self.identity)]
        changed = [name for name in names if theirs.get(name) != self.identity.get(name)]
        if changed:
            differences = "; ".join(f"{name} was {theirs.get(name)}, now {self.identity.get(name)}" for name in changed)
            raise ValueError(f"{path} belongs to another run ({differences}): use its recipe, or another folder")


_TORN = (zipfile.BadZipFile, RuntimeError, EOFError, KeyError)


def _read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()  # torch.load checks no sums
    if damaged:
        raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # it is whole, so somebody meant it so
        raise ValueError(
            f"{path} is a pickle of more than tensors and plain values, which can run any code when it is read, and "
            f"is refused; no run of this library wrote it: remove it, or give another folder"
        ) from error


def identity(
    model: nn.Module, recipe: Recipe, seed: int, train: ImageSet, val: ImageSet, processes: int
) -> dict[str, str]:
    """What must not change between a run and its resumption, each as text."""
    shapes = [(name, tuple(value.shape)) for name, value in model.state_dict().items()]
    key = {f.name: repr(getattr(recipe, f.name)) for f in fields(recipe)}
    key |= {"seed": repr(seed), "processes": str(processes), "precision": str(pick_precision())}
    key["model"] = f"{sum(p.numel() for p in model.parameters())} parameters {_digest(repr(shapes).encode())}"
    for name, split in (("training data", train), ("validation data", val)):
        sample = split.images[:: max(1, len(split.labels) // 64)].contiguous().numpy().tobytes()
        key[name] = f"{tuple(split.images.shape)} {_digest(split.labels.numpy().tobytes() + sample)}"
    return key


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
