"""Several processes that train one model together, through `accelerate`; a process alone needs none of it."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from imgcls.reproducibility import pick_device

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Distributed:
    """The processes of one run. Every method is called by all of them, or waits for ever."""

    device: torch.device
    rank: int = 0
    size: int = 1
    accelerator: "Accelerator | None" = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes, draws and reports."""
        return self.rank == 0

    def shard(self, n: int) -> slice:
        """This process's share of n images, one after the other: all of them if it is alone."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model as it is to be called in training: its gradients become the average over the processes."""
        return self.accelerator.prepare_model(model, device_placement=False) if self.accelerator else model

    def no_sync(self, model: nn.Module) -> AbstractContextManager:
        """Inside, gradients of a prepared model add up in each process without being exchanged."""
        return self.accelerator.no_sync(model) if self.accelerator else nullcontext()

    def gather(self, value: Any) -> list[Any]:
        """The value of each process, by rank; anything that can be pickled."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def broadcast(self, answer: Callable[[], Any]) -> Any:
        """What the first process answers, in all of them; what is wrong there is raised in all, so that none waits."""
        box = [None, None]
        if self.is_main:
            try:
                box[0] = answer()
            except (ValueError, ImportError, OSError) as error:
                box[1] = error
        if self.size > 1:
            torch.distributed.broadcast_object_list(box, src=0)
        if box[1] is not None:
            raise box[1]
        return box[0]

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Give all processes the running statistics of the first, as each prepared forward pass does too."""
        if self.size > 1:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, src=0)


def init_distributed() -> Distributed:
    """The team that `torchrun` or `accelerate launch` started this process in; a team of one without them."""
    device = pick_device()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Distributed(device)
    from accelerate import Accelerator  # slow to import, needed only here

    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")  # precision is `autocast`'s business
    return Distributed(accelerator.device, accelerator.process_index, accelerator.num_processes, accelerator)


def destroy_process_group() -> None:
    """End the connection to the other processes, if there is one; left open, it may abort the interpreter's end."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
