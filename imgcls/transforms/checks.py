"""Checks of the transforms' arguments."""

import math
from collections.abc import Sequence

from imgcls.messages import UserError, did_you_mean

Interval = tuple[float, float]
PADDING_MODES = {"constant": "zeros", "reflect": "reflection", "edge": "border"}  # our name -> grid_sample's


def check_mode(mode: str) -> None:
    """Raise unless the mode is one of PADDING_MODES."""
    if mode not in PADDING_MODES:
        raise UserError(f"unknown mode {mode!r}; {did_you_mean(mode, PADDING_MODES)}")


def check_number(name: str, value: float, low: float, high: float = math.inf, whole: bool = False) -> None:
    """Raise unless the value is a (whole) number in [low, high]."""
    kinds = int if whole else int | float
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        limits = f"of at least {low}" if high == math.inf else f"between {low} and {high}"
        raise UserError(f"{name} must be {kind} {limits}; got {value!r}")


def interval(
    name: str, value: float | Sequence[float], low: float, high: float, centre: float | None = None
) -> Interval:
    """The pair (first, last) in [low, high]; with a centre, one number d means (centre - d, centre + d)."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise UserError(f"{name} must be one number or a pair (low, high); got {value!r}")
        first, last = value
    elif centre is None:
        raise UserError(f"{name} must be a pair (low, high); got {value!r}")
    else:
        check_number(name, value, 0)
        first, last = max(low, centre - value), centre + value
    check_number(name, first, low, high)
    check_number(name, last, low, high)
    if first > last:
        raise UserError(f"{name} must be (low, high) with low <= high; got {value!r}")
    return first, last


def freeze(transform: object, **values: object) -> None:
    """Set fields of a frozen dataclass, such as tuples instead of the lists of JSON or YAML."""
    for name, value in values.items():
        object.__setattr__(transform, name, value)
