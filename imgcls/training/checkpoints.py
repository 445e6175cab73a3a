"""The state of a run on disk: written atomically, and restored only into the run that wrote it."""

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imgcls.data.batches import ImageSet
from imgcls.files import open_atomic
from imgcls.messages import UserError, describe_changes
from imgcls.precision import pick_precision
from imgcls.training.distributed import Distributed
from imgcls.training.history import History
from imgcls.training.recipe import Recipe

KEEP = 2  # checkpoints on disk: the newest, and the one before it in case the newest is damaged
SUMS = ("loss", "correct", "seen")  # fields of `State` that differ between the processes
DAMAGED = (zipfile.BadZipFile, RuntimeError, EOFError, KeyError)  # raised when part of a checkpoint is missing


class StepResult(NamedTuple):
    """One step of this process."""

    loss: Tensor  # sum over the images
    correct: Tensor  # number of correct predictions
    images: int
    micro_batch_size: int | None  # images at a time that fit into memory; None: all of the batch


@dataclass
class State:
    """What a run needs to continue, besides the states of model and optimizer."""

    best_weights: dict[str, Tensor]
    micro_batch_size: int | None = None
    history: History = field(default_factory=History)
    lr_factor: float = 1.0  # of the plateau schedule
    epochs_since_best: int = 0  # or since the learning rate was last lowered
    step: int = 0  # steps done in this epoch
    elapsed: float = 0.0  # seconds of this epoch before the run was interrupted
    loss: float | Tensor = 0.0  # sums over this process's images of the epoch
    correct: int | Tensor = 0
    seen: int = 0

    def add(self, result: StepResult) -> None:
        """Count one step."""
        self.step += 1
        self.loss = self.loss + result.loss
        self.correct = self.correct + result.correct
        self.seen += result.images
        self.micro_batch_size = result.micro_batch_size

    def sums(self) -> tuple[float, int, int]:
        """Sum of the losses, correct predictions and images of this epoch; waits for the device."""
        return float(self.loss), int(self.correct), self.seen

    def start_epoch(self) -> None:
        """Reset the counts and sums of the epoch."""
        self.step, self.elapsed, self.loss, self.correct, self.seen = 0, 0.0, 0.0, 0, 0


@dataclass(frozen=True)
class Checkpoints:
    """The newest checkpoints of one run, in a folder of its own; nothing is written without a folder."""

    folder: Path | None
    identity: dict[str, str]  # must not change between a run and its resumption
    parts: Mapping[str, Any]  # model, optimizer, …: everything else with a `state_dict`
    world: Distributed

    def save(self, step: int, state: State) -> None:
        """Write a checkpoint after `step` steps of the whole run and delete all but the newest."""
        if self.folder is None:
            return
        sums = self.world.gather(state.sums())
        if not self.world.is_main:
            return
        content = {name: part.state_dict() for name, part in self.parts.items()}
        content |= {"identity": self.identity, "history": vars(state.history), "sums": sums}
        content["state"] = {key: value for key, value in vars(state).items() if key not in ("history", *SUMS)}
        if state.step == 0 and state.history.best_epoch == len(state.history.rows) and "ema" not in self.parts:
            content["state"]["best_weights"] = content["model"]  # the same values, written once
        with open_atomic(self.folder / f"step-{step:09d}.pt", sync=True) as file:
            torch.save(content, file)
        for old in [*self._newest_first()[KEEP:], *self.folder.glob(".step-*")]:  # and leftovers of a killed write
            old.unlink()

    def restore(self) -> State | None:
        """Load the newest undamaged checkpoint into the parts and return its state; None where there is none.

        A damaged checkpoint is renamed with a warning. More epochs than before extend the run: the learning rate goes
        on by the schedule of all epochs, so that the result is not that of as many epochs from the start.

        Raises:
            ValueError: the checkpoint was made with another recipe (or more epochs), seed, data, precision or number of
                processes, or it is a pickle that this library did not write.
        """
        content = self.world.broadcast(self._read_newest)
        if content is None:
            return None
        for name, part in self.parts.items():
            part.load_state_dict(content[name])
        sums = dict(zip(SUMS, content["sums"][self.world.rank], strict=True))
        return State(**content["state"], **sums, history=History(**content["history"]))

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def _read_newest(self) -> dict[str, Any] | None:
        for path in self._newest_first() if self.folder else []:
            try:
                content = _read(path)
            except DAMAGED as error:
                warnings.warn(f"{path} is damaged ({error}): resuming from the checkpoint before it", stacklevel=5)
                path.replace(path.with_suffix(".damaged"))
                continue
            before = content.get("identity", {})
            if int(before.get("epochs", 0)) < int(self.identity["epochs"]):
                before = before | {"epochs": self.identity["epochs"]}  # more epochs extend a run
            if changes := describe_changes(before, self.identity):
                raise UserError(f"{path} belongs to another run ({changes}): use its recipe, or another folder")
            return content
        return None


def _read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()  # torch.load does not compare checksums
    if damaged:
        raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # the file is complete, so this content is intended
        raise UserError(
            f"{path} is a pickle of more than tensors and plain values, which can run any code when it is read, and "
            f"is refused; no run of this library wrote it: remove it, or give another folder"
        ) from error


def identity(
    model: nn.Module, recipe: Recipe, seed: int, train: ImageSet, val: ImageSet, processes: int
) -> dict[str, str]:
    """Name -> text of each setting that must not change between a run and its resumption."""
    shapes = [(name, tuple(value.shape)) for name, value in model.state_dict().items()]
    key = {f.name: repr(getattr(recipe, f.name)) for f in fields(recipe)}
    key |= {"seed": repr(seed), "processes": str(processes), "precision": str(pick_precision())}
    key["model"] = f"{sum(p.numel() for p in model.parameters())} parameters {_digest(repr(shapes).encode())}"
    for name, split in (("training data", train), ("validation data", val)):
        sample = split.images[:: max(1, len(split.labels) // 64)].cpu().contiguous().numpy().tobytes()
        key[name] = f"{tuple(split.images.shape)} {_digest(split.labels.cpu().numpy().tobytes() + sample)}"
    return key


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
