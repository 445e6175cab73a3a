"""The species table: one row of traits per kind, and individuals that vary about their row."""

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from menagerie.draws import Draws, square_root

Value = float | str
SPREAD, COLOUR_SPREAD = "spread", "colour_spread"  # columns: how much individuals vary
REACH = 2.0  # standard deviations at which the variation is clipped


@cache
def document() -> dict[str, dict]:
    """Contents of kinds.toml: `every`, `plans`, `kinds` and `subsets`."""
    return tomllib.loads((Path(__file__).parent / "kinds.toml").read_text(encoding="utf-8"))


@cache
def table() -> dict[str, dict[str, Value]]:
    """Traits of every kind; those missing from its row come from its plan, then from `every`.

    A value is a number, a colour "#rrggbb" or a category.
    """
    file = document()
    rows = {}
    for name, own in file["kinds"].items():
        plan = file["plans"][own["plan"]]
        unknown = set(own) - set(plan) - set(file["every"]) - {"plan"}
        if unknown:
            raise ValueError(f"kind {name!r} has a trait that its plan {own['plan']!r} lacks: {sorted(unknown)}")
        rows[name] = {"kind": name} | file["every"] | plan | own
    return rows


def row(kind: str) -> dict[str, Value]:
    """The traits of one kind."""
    return named("kind", kind, table())


def named(what: str, name: str, known: Mapping[str, Any]) -> Any:
    """Entry of a name; the ValueError for an unknown name suggests the nearest one, or lists all."""
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of: {', '.join(known)}"
        raise ValueError(f"unknown {what} {name!r}; {hint}")
    return known[name]


def linear(colour: str) -> tuple[float, float, float]:
    """Linear RGB of a colour "#rrggbb": its squared values in [0, 1], close to the sRGB curve and exact."""
    return tuple((int(colour[i : i + 2], 16) / 255) ** 2 for i in (1, 3, 5))  # type: ignore[return-value]


class Traits:
    """Traits of N individuals of one plan, accessible as attributes: numbers float32 (N,), colours linear RGB (N, 3).

    Numbers vary about the row by the kind's `spread`. Colours vary by `colour_spread` in brightness, in common for all
    colours of an individual, and a little in hue.
    """

    def __init__(self, kinds: Sequence[str], draws: Draws) -> None:
        self.rows = [row(kind) for kind in kinds]
        self.values: dict[str, torch.Tensor] = {}
        spread = self._numbers(SPREAD)
        tones = draws.bell(4).clamp(-REACH, REACH) * self._numbers(COLOUR_SPREAD)[:, None]
        self.tone = 1 + 2 * tones[:, :1] + 0.4 * tones[:, 1:]  # (N, 3); in linear light, twice the visible spread
        for name, value in self.rows[0].items():
            if isinstance(value, str):
                if value.startswith("#"):
                    colours = torch.tensor([linear(str(one[name])) for one in self.rows])
                    self.values[name] = (colours * self.tone).clamp(0, 1)
            else:
                factor = 1 + draws.bell().clamp(-REACH, REACH) * spread
                self.values[name] = self._numbers(name) * factor

    def __len__(self) -> int:
        return len(self.rows)

    def __getattr__(self, name: str) -> torch.Tensor:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(
                f"no number or colour {name!r} in the table; it has: {', '.join(self.values)}"
            ) from None

    def equals(self, column: str, *values: str) -> torch.Tensor:
        """Whether a categorical trait has one of the values, bool (N,)."""
        return torch.tensor([one[column] in values for one in self.rows])

    def attributes(self) -> torch.Tensor:
        """Attributes of the individuals, float32 (N, len(attribute_names())), scaled as in `kinds.attributes`."""
        result = attributes([str(one["kind"]) for one in self.rows])
        where = {name: i for i, name in enumerate(attribute_names())}
        for name, value in self.values.items():
            if value.dim() == 2:
                for channel, letter in enumerate("rgb"):
                    result[:, where[f"{name}.{letter}"]] = square_root(value[:, channel])
            else:
                result[:, where[name]] = value / _largest()[name]
        return result

    def _numbers(self, name: str) -> torch.Tensor:
        return torch.tensor([float(one[name]) for one in self.rows])


@cache
def _largest() -> dict[str, float]:
    """Largest absolute value of each number in the table, 1 where all are 0."""
    largest: dict[str, float] = {}
    for one in table().values():
        for name, value in one.items():
            if not isinstance(value, str):
                largest[name] = max(largest.get(name, 0.0), abs(value))
    return {name: value or 1.0 for name, value in largest.items()}


@cache
def attribute_names() -> tuple[str, ...]:
    """Names of the attributes: `leg_length` for numbers, `coat.r` for colours, `pattern=stripes` for categories."""
    names: dict[str, None] = {}
    for one in table().values():
        for name, value in one.items():
            if name == "kind":
                continue
            if not isinstance(value, str):
                names[name] = None
            elif value.startswith("#"):
                names |= dict.fromkeys(f"{name}.{letter}" for letter in "rgb")
            else:
                names[f"{name}={value}"] = None
    return tuple(names)


def attributes(kinds: Sequence[str]) -> torch.Tensor:
    """Rows of kinds as numbers in [-1, 1], float32 (K, len(attribute_names())).

    Numbers are divided by the largest of their column, colours are sRGB values, categories are one-hot. Traits that
    the plan of a kind lacks are 0.
    """
    return torch.stack([_attributes(kind) for kind in kinds]) if kinds else torch.zeros(0, len(attribute_names()))


@cache
def _attributes(kind: str) -> torch.Tensor:
    found = {}
    for name, value in row(kind).items():
        if not isinstance(value, str):
            found[name] = value / _largest()[name]
        elif value.startswith("#"):
            found |= {f"{name}.{c}": math.sqrt(light) for c, light in zip("rgb", linear(value), strict=True)}
        else:
            found[f"{name}={value}"] = 1.0
    return torch.tensor([found.get(name, 0.0) for name in attribute_names()])


UNSEEN = {"kind", "group", "size", "habitat", SPREAD, COLOUR_SPREAD}  # columns that no single image shows
LEAST_CHANGE = 0.15  # visible difference of two numbers, relative to the larger
LEAST_COLOUR = 0.12  # visible distance of two sRGB colours; black to white is √3


def differences(a: str, b: str) -> list[str]:
    """Visible traits in which two kinds differ clearly, including traits that only one of their plans has."""
    one, other = row(a), row(b)
    found = []
    for name in [*one, *(set(other) - set(one))]:
        if name in UNSEEN or _marks_unseen(name, one, other):
            continue
        if name not in one or name not in other or type(one[name]) is not type(other[name]):
            found.append(name)
        elif isinstance(one[name], str):
            if str(one[name]).startswith("#"):
                x, y = (square_root(torch.tensor(linear(str(row_[name])))) for row_ in (one, other))
                if square_root((x - y).square().sum()) > LEAST_COLOUR:
                    found.append(name)
            elif one[name] != other[name]:
                found.append(name)
        elif abs(one[name] - other[name]) > LEAST_CHANGE * max(abs(one[name]), abs(other[name])):
            found.append(name)
    return found


def _marks_unseen(name: str, *rows: dict[str, Value]) -> bool:
    return name.startswith("mark") and all(one["pattern"] == "plain" for one in rows)
