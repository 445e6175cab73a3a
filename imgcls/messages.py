"""Users' errors, and text that several modules share: close choices, changes, names, lists, plurals, durations."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

SHOWN = 20  # choices that an error message lists at most


class UserError(ValueError):
    """A value that the user can correct: the command line prints the message, without a traceback."""


def did_you_mean(value: object, choices: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of an error message: the closest choices where there are any, else the list of all.

    Args:
        value: The unknown value.
        choices: The valid values.
        cutoff: Minimum similarity of a suggestion, from 0 to 1, as in difflib.
    """
    choices = [str(choice) for choice in choices]
    lowered = {choice.lower(): choice for choice in choices}
    close = [lowered[name] for name in get_close_matches(str(value).lower(), lowered, n=3, cutoff=cutoff)]
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"choose from {', '.join(choices[:SHOWN])}{', …' if len(choices) > SHOWN else ''}"


def normal_form(name: str) -> str:
    """A name without differences in case, in the encoding of accents and in separators."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()


def some(names: Sequence[object], shown: int = 8) -> str:
    """The first names and how many more there are: `a, b and 3 more`."""
    more = len(names) - shown
    return ", ".join(map(str, names[:shown])) + (f" and {more} more" if more > 0 else "")


def printable(text: str) -> str:
    """Text without line breaks, escape sequences and invalid characters, which the name of a file or class may have."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def plural(count: int, noun: str) -> str:
    """`1 file`, `2 files`, `2 classes`."""
    ending = "es" if noun.endswith(("s", "x", "sh")) else "s"
    return f"{count:,} {noun}{ending * (count != 1)}"


def describe_changes(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """`lr was 0.1, now 0.2; …` for each entry that differs; empty where none does."""
    return "; ".join(
        f"{key} was {before.get(key, 'left out')}, now {now.get(key, 'left out')}"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    )


def format_duration(seconds: float) -> str:
    """Duration as text, such as `0.25 s`, `20 s`, `5 min`, `3 min 7 s`, `1 h 2 min`."""
    if round(seconds) < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
