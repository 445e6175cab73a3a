"""A stand-in for Apple's MPS device on any machine: computes on the CPU, and refuses what MPS refuses.

Its tensors say in Python that they are on "mps", and to PyTorch's core, which does not know that device elsewhere, that
they are on "meta". They are refused float64 and operations with CPU tensors, as there. Each operation on them is
recorded, and `without_kernel` compares it with the list of kernels that PyTorch comes with.
"""

from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from unittest import mock

import torch
import torchgen
import yaml
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

MPS, META = torch.device("mps"), torch.device("meta")
CROSSING = {"aten::copy_", "aten::_to_copy", "aten::index", "aten::index_put_", "aten::_index_put_impl_"}
KERNELS = ("MPS", "CompositeExplicitAutograd", "CompositeImplicitAutograd", "CompositeExplicitAutogradNonFunctional")


class OnDevice(torch.Tensor):
    """A tensor of the stand-in; `held` has its values."""

    @staticmethod
    def __new__(cls, held):
        if held.dtype == torch.float64:
            raise TypeError("MPS has no float64")
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=META
        )
        made.held = held
        return made

    device = property(lambda self: MPS)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {}, set())


class Arguments(TorchFunctionMode):
    """Renames the device in arguments, such as those of `to`, as PyTorch's core refuses its name."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.__getitem__ and isinstance(args[1], list):  # would be without values
            args = (args[0], torch.tensor(args[1]))
        if func.__name__ in ("device", "_parse_to") or not any(is_mps(value) for value in (*args, *kwargs.values())):
            return func(*args, **kwargs)
        there = any(isinstance(value, OnDevice) for value in args)
        result = func(*tree_map(partial(core_name, there), args), **tree_map(partial(core_name, there), kwargs))
        return result if there else OnDevice(result.detach().clone())


def core_name(there, value):
    return (META if there else torch.device("cpu")) if is_mps(value) else value


def is_mps(value):
    return value == MPS if isinstance(value, torch.device) else isinstance(value, str) and value == "mps"


class StandIn(TorchDispatchMode):
    """While it is active, tensors can be made on or moved to the device; `calls` has the operations on it."""

    def __init__(self):
        super().__init__()
        self.calls = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {}, self.calls)


def dispatch(func, args, kwargs, calls):
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    device = kwargs.get("device")
    if device is None and any(isinstance(tensor, OnDevice) for tensor in tensors):
        device = META
    if all(not isinstance(tensor, OnDevice) for tensor in tensors) and (device is None or device.type == "cpu"):
        return func(*args, **kwargs)
    name = func._schema.name
    assert not any(type(tensor) is torch.Tensor and tensor.is_meta for tensor in tensors), f"{name} without values"
    calls.add(func)
    if name not in CROSSING and any(not isinstance(tensor, OnDevice) and tensor.ndim for tensor in tensors):
        raise RuntimeError(f"{name} of tensors on mps and on the CPU")
    inner_args, inner = tree_map_only(OnDevice, lambda tensor: tensor.held, (args, kwargs))
    result = func(*inner_args, **inner | ({"device": torch.device("cpu")} if "device" in kwargs else {}))
    if name.endswith("_") or "out" in kwargs:
        return None if result is None else kwargs.get("out", args[0])
    if device.type == "cpu":
        return result
    return tree_map_only(torch.Tensor, OnDevice, result)


class Generator(torch.Generator):
    """Of the CPU, whatever is asked for."""

    def __new__(cls, device=None):
        return super().__new__(cls)


@contextmanager
def mps_device():
    """Make the stand-in the device that `pick_device` chooses; gives the mode, whose `calls` are recorded."""
    generator = torch.default_generator  # which the kernels use
    with ExitStack() as stack:
        for target, name, value in (
            (torch.cuda, "is_available", lambda: False),
            (torch, "Generator", Generator),
            (torch.backends.mps, "is_available", lambda: True),
            (torch.mps, "manual_seed", lambda seed: generator.manual_seed(seed)),
            (torch.mps, "get_rng_state", lambda device="mps": generator.get_state()),
            (torch.mps, "set_rng_state", lambda state, device="mps": generator.set_state(state)),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        stack.enter_context(Arguments())
        yield stack.enter_context(StandIn())


def without_kernel(calls):
    """Names of the operations that would raise NotImplementedError on MPS."""
    return sorted({name for func in calls if not has_kernel(name := str(func).removeprefix("aten."))})


@cache
def kernels():
    """Operation with overload -> its entry in PyTorch's list of kernels."""
    file = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    entries = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {entry["func"].split("(")[0]: entry for entry in entries}


def has_kernel(name):
    entry = kernels()[name.removesuffix(".default")]
    dispatch_keys = {key.strip() for keys in entry.get("dispatch", {}) for key in keys.split(",")}
    if "structured_delegate" in entry:
        return has_kernel(entry["structured_delegate"])
    return not entry.get("dispatch") or not dispatch_keys.isdisjoint(KERNELS)
