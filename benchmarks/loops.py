"""The training loops to compare: imgcls, a bare PyTorch loop, accelerate, Lightning and fastai.

All keep running sums of loss and correct predictions. With `fast`, the peers compute as imgcls does (bfloat16 where the
processor has it, channels-last weights) without logging, checkpoints and progress bars; else with their defaults.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from benchmarks.tasks import LR, MOMENTUM, WEIGHT_DECAY, Task, our_network, peer_network, splits
from imgcls.precision import autocast, pick_precision
from imgcls.training import History, fit

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Outcome:
    """Seconds of training without validation, steps, and the mean loss of the last epoch."""

    seconds: float
    steps: int
    loss: float


class Sums:
    """Running sums of loss and correct predictions, and the time since the start of training."""

    def __init__(self) -> None:
        self.begun, self.seconds, self.steps = time.perf_counter(), 0.0, 0
        self.new_epoch()

    def new_epoch(self) -> None:
        """Reset the sums."""
        self.loss, self.correct, self.seen = torch.zeros(()), torch.zeros((), dtype=torch.int64), 0

    def add(self, loss: Tensor, logits: Tensor, y: Tensor) -> None:
        """Add one step, without synchronising the device."""
        self.loss += loss.detach()
        self.correct += (logits.argmax(1) == y).sum()
        self.seen += 1
        self.steps += 1

    def stop(self) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.begun

    @property
    def outcome(self) -> Outcome:
        """The result of the run."""
        return Outcome(self.seconds, self.steps, float(self.loss) / self.seen)


def run(name: str, task: Task) -> Outcome:
    """Train a task: with one of PEERS on its image files, or with "ours" (imgcls) on the decoded cache."""
    if name == "ours":
        found = splits(task)
        return ours(our_network(task), found.train, found.val, task.recipe)
    data = fastai_loaders(task) if name == "fastai" else image_folder(task)
    return PEERS[name](peer_network(task), data, task.epochs, task.fast)


# ------------------------------------------------------------------ the loops


def ours(model: nn.Module, train: Any, val: Any, recipe: Any) -> Outcome:
    """imgcls: `fit`, whose history has images per second without validation."""
    history: History = fit(model, train, val, recipe)
    images = len(train.labels) // recipe.batch_size * recipe.batch_size
    seconds = sum(images / row["images_per_second"] for row in history.rows)
    return Outcome(seconds, len(history.rows) * images // recipe.batch_size, history.rows[-1]["train_loss"])


def passes(task: Task) -> float:
    """Seconds of the forward and backward passes of our epoch alone, all on one batch."""
    train, model = splits(task).train, our_network(task).to(memory_format=torch.channels_last).train()
    images, labels = (values[: task.batch_size] for values in (train.images, train.labels))

    def both() -> None:
        with autocast():
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()
        model.zero_grad()

    both()  # the first is slower
    begun = time.perf_counter()
    for _ in range(len(train.labels) // task.batch_size):
        both()
    return time.perf_counter() - begun


def plain(model: nn.Module, batches: Batches, epochs: int = 1, fast: bool = False) -> Outcome:
    """The loop of every PyTorch tutorial."""
    return _tutorial_loop(model, sgd(model.parameters()), batches, epochs, fast, Tensor.backward)


def accelerated(model: nn.Module, batches: Batches, epochs: int = 1, fast: bool = False) -> Outcome:
    """The tutorial loop with accelerate, which brings its own autocast."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if fast and has_bfloat16() else "no")
    prepared = accelerator.prepare(model, sgd(model.parameters()), batches)
    return _tutorial_loop(*prepared, epochs, False, accelerator.backward)


def _tutorial_loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    epochs: int,
    fast: bool,
    backward: Callable[[Tensor], None],
) -> Outcome:
    model.train()
    sums = Sums()
    for _ in range(epochs):
        sums.new_epoch()
        for x, y in batches:
            optimizer.zero_grad()
            with precision(fast):
                logits = model(x)
            loss = F.cross_entropy(logits.float(), y)
            backward(loss)
            optimizer.step()
            sums.add(loss, logits, y)
    sums.stop()
    return sums.outcome


def lightning(model: nn.Module, batches: Batches, epochs: int = 1, fast: bool = False) -> Outcome:
    """Lightning's Trainer; the time excludes its set-up and the checkpoint that it writes by default."""
    from lightning import LightningModule, Trainer

    class Classifier(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = model

        def on_train_start(self) -> None:
            self.sums = Sums()

        def on_train_epoch_start(self) -> None:
            self.sums.new_epoch()

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            x, y = batch
            logits = self.network(x)
            loss = F.cross_entropy(logits, y)
            self.sums.add(loss, logits, y)
            return loss

        def on_train_epoch_end(self) -> None:
            self.sums.stop()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return sgd(self.parameters())

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
             "enable_model_summary": False, "precision": "bf16-mixed" if has_bfloat16() else "32-true"}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(max_epochs=epochs, accelerator="cpu", default_root_dir=folder, **(quiet if fast else {}))
        classifier = Classifier()
        trainer.fit(classifier, batches)
    return classifier.sums.outcome


def fastai(model: nn.Module, loaders: Any, epochs: int = 1, fast: bool = False) -> Outcome:
    """Fastai's Learner at a constant learning rate; the time excludes validation after the last epoch."""
    import fastai.callback.progress  # noqa: F401 - the progress bar is on by default, as in fastai.vision.all
    from fastai.callback.core import Callback
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.optimizer import OptimWrapper

    class Report(Callback):
        def before_fit(self) -> None:
            self.sums = Sums()

        def before_train(self) -> None:
            self.sums.new_epoch()

        def after_batch(self) -> None:
            if self.training:
                self.sums.add(self.loss, self.pred, self.y)

        def after_train(self) -> None:
            self.sums.stop()

    class Bfloat16(Callback):  # fastai's own MixedPrecision uses CUDA's autocast, which does nothing here
        def before_batch(self) -> None:
            self.autocast = precision(True)
            self.autocast.__enter__()

        def after_pred(self) -> None:
            self.autocast.__exit__(None, None, None)
            self.learn.pred = self.pred.float()

    wrapped = partial(OptimWrapper, opt=partial(torch.optim.SGD, nesterov=True))
    report = Report()
    learner = Learner(
        loaders, model, loss_func=CrossEntropyLossFlat(), opt_func=partial(wrapped, momentum=MOMENTUM), lr=LR,
        wd=WEIGHT_DECAY, moms=None, cbs=[report, *([Bfloat16()] if fast else [])],
    )  # fmt: skip
    with learner.no_bar() if fast else nullcontext(), learner.no_logging() if fast else nullcontext():
        learner.fit(epochs)
    return report.sums.outcome


PEERS: dict[str, Callable[..., Outcome]] = {
    "imagefolder": plain,
    "lightning": lightning,
    "fastai": fastai,
    "accelerate": accelerated,
}


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of every loop."""
    return torch.optim.SGD(parameters, LR, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)


def has_bfloat16() -> bool:
    """Whether imgcls computes in bfloat16 on this processor."""
    return pick_precision() == torch.bfloat16


def precision(fast: bool) -> AbstractContextManager:
    """The autocast of imgcls if `fast`, else a context that does nothing."""
    return autocast() if fast else nullcontext()


# ------------------------------------------------------------------ the peers' data


def image_folder(task: Task, augment: bool = True) -> DataLoader:
    """The pipeline of a tutorial: per-image transforms, an ImageFolder, a shuffled DataLoader."""
    return _image_folder(task.folder, task.image_size, task.mean, task.std, task.batch_size, task.workers, augment)


@lru_cache(maxsize=1)  # shared by the runs, so that no run includes the start of the workers
def _image_folder(
    folder: Any, size: int, mean: tuple, std: tuple, batch_size: int, workers: int, augment: bool
) -> DataLoader:
    shrink = [T.Resize(size), T.CenterCrop(size)] if size != 32 else []  # images of CIFAR are 32 px already
    change = [T.RandomCrop(size, padding=4), T.RandomHorizontalFlip()] if augment else []
    images = ImageFolder(folder / "train", T.Compose([*shrink, *change, T.ToTensor(), T.Normalize(mean, std)]))
    return DataLoader(
        images, batch_size, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )


def fastai_loaders(task: Task) -> Any:
    """Loaders of fastai for a folder of classes: padding and cropping per item, normalisation per batch."""
    return _fastai_loaders(task.folder, task.image_size, task.mean, task.std, task.batch_size, task.workers)


@lru_cache(maxsize=1)
def _fastai_loaders(folder: Any, size: int, mean: tuple, std: tuple, batch_size: int, workers: int) -> Any:
    from fastai.vision.augment import CropPad, FlipItem, RandomCrop
    from fastai.vision.data import ImageDataLoaders, Normalize

    return ImageDataLoaders.from_folder(
        folder, train="train", valid="val", bs=batch_size, num_workers=workers, persistent_workers=workers > 0,
        item_tfms=[CropPad(size + 8), RandomCrop(size), FlipItem()],
        batch_tfms=[Normalize.from_stats(mean, std, cuda=False)],
    )  # fmt: skip
