"""Threads that share images out among them instead of pixels, and the share of each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A pool of as many threads as torch would use, each of which computes alone.

    An image takes a thousand small operations; threads that meet after every one of them wait for the slowest,
    which on a busy machine costs many times the work itself.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # taken over by the threads that start now
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def rows_of(table: T, rows: torch.Tensor) -> T:
    """Some images of a dataclass of tensors, or of tuples of them, that have one row per image."""
    values = (getattr(table, one.name) for one in fields(table))
    return type(table)(*(tuple(v[rows] for v in one) if isinstance(one, tuple) else one[rows] for one in values))
