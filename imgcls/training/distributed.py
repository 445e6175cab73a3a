"""Data-parallel training in several processes, through `accelerate`; one process alone does not need it."""

import gc
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from imgcls.precision import pick_device

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Distributed:
    """The processes of one run. Every process must call each method that communicates, else the others wait forever."""

    device: torch.device
    rank: int = 0
    size: int = 1
    accelerator: "Accelerator | None" = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes, draws and reports."""
        return self.rank == 0

    def shard(self, n: int) -> slice:
        """This process's contiguous part of n images; a single process gets all."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def prepare(self, model: nn.Module) -> nn.Module:
        """Wrap the model for training, so that its gradients are averaged over the processes."""
        return self.accelerator.prepare_model(model, device_placement=False) if self.accelerator else model

    def no_sync(self, model: nn.Module) -> AbstractContextManager:
        """Inside the block, each process accumulates gradients of a prepared model without exchanging them."""
        return self.accelerator.no_sync(model) if self.accelerator else nullcontext()

    def gather(self, value: Any) -> list[Any]:
        """The value of each process, by rank; anything that can be pickled."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def broadcast(self, function: Callable[[], Any]) -> Any:
        """Call the function in the main process and return its result, or raise its error, in all processes."""
        result, error = None, None
        if self.is_main:
            try:
                result = function()
            except (ValueError, ImportError, OSError) as raised:
                error = raised
        if self.size > 1:
            box = [result, error]
            torch.distributed.broadcast_object_list(box, src=0)
            result, error = box
        if error is not None:
            raise error
        return result

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Copy the main process's buffers to all processes, as every forward pass of a prepared model does."""
        if self.size > 1:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, src=0)


def init_distributed() -> Distributed:
    """The processes started by `torchrun` or `accelerate launch`; else this process alone."""
    device = pick_device()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Distributed(device)
    from accelerate import Accelerator  # slow to import, needed only here

    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")  # `autocast` sets the precision
    return Distributed(accelerator.device, accelerator.process_index, accelerator.num_processes, accelerator)


def destroy_process_group() -> None:
    """Disconnect from the other processes, if there are any; an open connection may abort the interpreter's exit."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()  # a wrapped model in a reference cycle would keep the connection, and its threads, beyond this
        torch.distributed.destroy_process_group()
