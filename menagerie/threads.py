"""Parallel rendering with one image per thread, and the selection of rows for a thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A pool of as many threads as torch uses, where each thread runs its operations alone.

    An image takes a thousand small operations. Parallelism within each operation would synchronise the threads after
    every one, which on a busy machine takes many times longer than the work.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # inherited by the threads that start now
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def rows_of(table: T, rows: torch.Tensor) -> T:
    """Select rows of a dataclass whose fields are tensors, or tuples of tensors, with one row per image."""
    values = (getattr(table, one.name) for one in fields(table))
    return type(table)(*(tuple(v[rows] for v in one) if isinstance(one, tuple) else one[rows] for one in values))
