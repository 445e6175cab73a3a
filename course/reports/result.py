"""The result of a notebook as data: collected in the notebook, checked by the runner, shown by page and index."""

import inspect
import json
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from imgcls import paths
from imgcls.files import write
from imgcls.messages import printable

CODE = ("commit", "dirty")  # keys of the environment that name the state of the code
SCHEMA = Path(__file__).parent / "result.schema.json"
# What the report says, its way of working on our images, the same idea without the mistakes, the best we know: the
# keys of a claim, and what readers see.
STAGES = {"claimed": "claimed", "as_published": "as published", "repaired": "corrected", "best": "improved"}
MAX_REASONS, MAX_NAMES = 20, 10  # of skipped files that a page lists: reasons, and names for each reason


class Result:
    """The result of one notebook; create it before the work starts, `write()` it at the end.

    The report runner provides `parameters` and the path of the file. In an open notebook, parameters are read from
    its variables and the file goes to `build/interactive/`. `data` is what `imgcls.data.load` returned.

    Raises:
        ValueError: the runner executes another notebook than `case`.
    """

    def __init__(
        self,
        case: str,
        question: str,
        data: Any,
        seeds: Sequence[int] = (0,),
        parameters: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        self._run = json.loads(os.environ.get("IMGCLS_REPORT", "{}"))
        if self._run and self._run["name"] != case:
            raise ValueError(f"case={case!r}, but the notebook that runs is {self._run['name']!r}")
        self._started = self._run.get("started", time.time())
        if parameters is None:
            parameters = self._run.get("parameters") or _variables(case)
        if environment is None:
            from imgcls import reproducibility  # brings torch, which the command line does without

            environment = reproducibility.provenance()
        self.content = _plain(
            {
                "case": case,
                "profile": self._run.get("profile", "interactive"),
                "question": question,
                "answer": "",
                "finished": "",
                "seconds": 0.0,
                "data": describe(data),
                "seeds": list(seeds),
                "parameters": dict(parameters),
                "environment": dict(environment),
                "headline": [],
                "claims": [],
                "figures": [],
            }
        )

    def headline(self, metric: str, model: str, interval: Any, unit: str | None = None) -> None:
        """Add a main number; `interval` has `.value .low .high .n`. See `show` for `unit`."""
        number = {key: getattr(interval, key) for key in ("value", "low", "high", "n")}
        self._add("headline", {"metric": metric, "model": model, **number}, unit)

    def claim(
        self,
        what: str,
        claimed: Any = None,
        as_published: Any = None,
        repaired: Any = None,
        best: Any = None,
        unit: str | None = None,
    ) -> None:
        """Add a row to the table claimed -> as published -> corrected (`repaired`) -> improved (`best`).

        Each is a number, a text, an interval or None. The limits of an interval are stored under "intervals" by the
        name of the stage. See `show` for `unit`.
        """
        stages = dict(zip(STAGES, (claimed, as_published, repaired, best), strict=True))
        limits = {s: [v.low, v.high] for s, v in stages.items() if hasattr(v, "low") and math.isfinite(v.low)}
        self._add("claims", {"what": what, **stages, **({"intervals": limits} if limits else {})}, unit)

    def table(self, name: str, frame: Any) -> None:
        """Add a data frame, such as the trials of a search, to the result file; values that are not finite become None.

        Tables are stored under "tables" by name. Neither page nor index shows them.
        """
        finite = frame.replace([math.inf, -math.inf], math.nan)
        rows = finite.astype(object).where(finite.notna(), None).to_dict("records")
        self.content.setdefault("tables", {})[name] = _plain(rows, f"table {name!r}")

    def answer(self, text: str) -> None:
        """Set the answer to the question, one or two sentences built from results."""
        self.content["answer"] = text

    def write(self) -> Path:
        """Write the result file and return its path.

        Raises:
            ValueError: it is incomplete; the message lists what is missing.
        """
        self.content["finished"] = datetime.now().astimezone().isoformat(timespec="seconds")
        self.content["seconds"] = round(time.time() - self._started, 1)
        if problems := validate(self.content):
            raise ValueError("the result is not complete: " + "; ".join(problems))
        path = Path(self._run.get("result", paths.BUILD / "interactive" / f"{self.content['case']}.json"))
        token = {"token": self._run["token"]} if self._run else {}
        return write(path, json.dumps({**self.content, **token}, indent=1, ensure_ascii=False, allow_nan=False))

    def claims_table(self) -> Any:
        """The claims as a table to show in the notebook."""
        header = ["", *STAGES.values()]
        claims = self.content["claims"]
        rows = [[claim["what"], *(_with_limits(claim, stage) for stage in STAGES)] for claim in claims]
        return _markdown(_table(header, rows, align="l" + "r" * len(STAGES)))

    def provenance(self) -> Any:
        """Data, parameters and environment, as tables to show at the end of the notebook."""
        data, run = self.content["data"], self.content["environment"]
        count = len(data["skipped"])
        rows = [
            ("data", f"{literal(data['name'])}, {data['kind']} images"),
            ("fingerprint", data["fingerprint"]),
            ("classes", f"{len(data['classes'])}: " + literal(", ".join(data["classes"]))),
            ("images", f"{data['train']:,} train, {data['val']:,} validation, {data['test']:,} test"),
            ("left out", f"{count:,} file{'s' * (count > 1)}, named below" if count else "none"),
            ("seeds", ", ".join(map(str, self.content["seeds"]))),
            ("profile", self.content["profile"]),
            *(
                (f"parameter `{key}`", f"<code>{literal(repr(value))}</code>")
                for key, value in self.content["parameters"].items()
            ),
            *((key, "unknown" if value is None else str(value)) for key, value in run.items() if key not in CODE),
            *((key, f'<span class="commit">{"unknown" if run[key] is None else run[key]}</span>') for key in CODE),
        ]
        return _markdown(_table(["what", "value"], rows) + _skipped_text(data["skipped"]))

    def _add(self, part: str, row: dict[str, Any], unit: str | None) -> None:
        self.content[part].append(_plain(row | ({} if unit is None else {"unit": unit})))


def display_markdown(text: str, **values: Any) -> None:
    """Show Markdown built from results; with `values`, the text is formatted by `str.format`."""
    from IPython.display import display

    text = inspect.cleandoc(text)
    display(_markdown(text.format(**values) if values else text))


def elapsed(seconds: float) -> str:
    """A measured duration for prose, in whole seconds; `compare` ignores it."""
    return mark_time(f"{seconds:.0f} s")


def mark_time(text: str) -> str:
    """Mark any other measurement of time, such as a speed, for `compare` to ignore."""
    return f'<span class="time">{text}</span>'


def describe(data: Any) -> dict[str, Any]:
    """The "data" of a result file from `.name .kind .fingerprint .classes .train .val .test .skipped`."""
    return {
        "name": data.name,
        "kind": data.kind,
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        **{split: 0 if (part := getattr(data, split)) is None else len(part) for split in ("train", "val", "test")},
        "skipped": [{"name": item.name, "reason": item.reason} for item in data.skipped],
    }


def _skipped_text(files: Sequence[Mapping[str, str]]) -> str:
    """Markdown table of the skipped files by reason, the most frequent first; empty if none was skipped."""
    if not files:
        return ""
    names: dict[str, list[str]] = {}
    for file in files:
        names.setdefault(file["reason"], []).append(file["name"])
    rows, often = [], sorted(names.items(), key=lambda item: -len(item[1]))
    for reason, found in often[:MAX_REASONS]:
        more = f" and {len(found) - MAX_NAMES:,} more" if len(found) > MAX_NAMES else ""
        rows.append((literal(reason), f"{len(found):,}", literal(", ".join(found[:MAX_NAMES])) + more))
    if rest := sum(len(found) for _, found in often[MAX_REASONS:]):
        rows.append(("another reason, listed in the result file", f"{rest:,}", ""))
    return "\n\n" + _table(["left out because", "files", "which"], rows, align="lrl")


def literal(text: str) -> str:
    """Text from data, such as the name of a class or file, escaped for Markdown."""
    # mistune reads "\&lt\;" as an entity.
    return re.sub(r"[!-/:-@\[-`{-~]", lambda sign: "&amp;" if sign[0] == "&" else f"\\{sign[0]}", printable(text))


def show(value: Any, unit: str | None = None) -> str:
    """A number formatted for readers.

    Without a `unit`, a float from 0 to 1 is shown in per cent. `unit=""` shows such a number unchanged (a loss, an
    AUROC); any other unit is written after the number.
    """
    if value is None:
        return "–"
    if isinstance(value, str | bool):
        return str(value)
    if unit is None and isinstance(value, float) and 0 <= value <= 1:
        return f"{100 * value:.1f} %"
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    return f"{text} {unit}".strip() if unit else text


def show_limit(limit: float, value: float, unit: str | None = None) -> str:
    """A limit of the interval of `value`, formatted with at least as many decimals: 0.92 beside 0.903 is `0.920`."""
    text, decimals = show(limit, unit), len(show(value, unit).partition(".")[2])
    return max(text, f"{limit:,.{decimals}f}", key=len) if unit == "" else text


def limits(claim: Mapping[str, Any], stage: str, between: str = " to ") -> str:
    """Limits of the interval of a claim, `76.6 to 78.2`; empty if it has none."""
    found, unit = claim.get("intervals", {}).get(stage), claim.get("unit")
    if found is None:
        return ""
    if unit is None and 0 <= claim[stage] <= 1:  # an interval over seeds may reach beyond what a share can be
        found = [min(max(limit, 0.0), 1.0) for limit in found]
    return between.join(show_limit(float(limit), claim[stage], unit).removesuffix(" %") for limit in found)


def _with_limits(claim: Mapping[str, Any], stage: str) -> str:
    """A cell of the claims table: the number, and its interval if it has one."""
    interval = limits(claim, stage, ", ")
    return show(claim[stage], claim.get("unit")) + (f" [{interval}]" if interval else "")


def validate(content: Any, case: str | None = None) -> list[str]:
    """Everything that is wrong with a result, one sentence each; empty if it is valid.

    Args:
        content: What the result file holds, checked against `result.schema.json`.
        case: Name of the notebook that should have written it.
    """
    import jsonschema  # takes a quarter of a second, which a refused request does without

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    problems = []
    for error in jsonschema.Draft202012Validator(schema).iter_errors(content):
        message = "is empty" if error.validator == "pattern" else error.message
        problems.append(f"{error.json_path.removeprefix('$').removeprefix('.') or 'result'}: {message}")
    if problems:
        return problems
    if case is not None and content["case"] != case:
        problems.append(f"case: {content['case']!r} instead of {case!r}")
    for k, row in enumerate(content["headline"]):
        if not row["low"] <= row["value"] <= row["high"]:
            problems.append(f"headline[{k}]: {row['value']} is outside [{row['low']}, {row['high']}]")
    return problems


def _plain(value: Any, where: str = "result") -> Any:
    """The value in JSON's own types; arrays, tensors and intervals become numbers.

    Raises:
        ValueError: a number is not finite.
    """
    try:
        return json.loads(json.dumps(value, default=_number_or_text, allow_nan=False))
    except ValueError as error:
        raise ValueError(f"{where} contains nan or inf: {error}") from None


def _number_or_text(value: Any) -> Any:
    if hasattr(value, "low") and hasattr(value, "value"):
        return value.value
    return value.item() if hasattr(value, "item") else str(value)  # NumPy scalars, one-element arrays and tensors


def _variables(case: str) -> dict[str, Any]:
    """Parameters of an open notebook: the current values of its variables."""
    try:
        from IPython import get_ipython

        from course.reports import parameters

        namespace = get_ipython().user_ns
        return {key: namespace[key] for key in parameters.read(case) if key in namespace}
    except (ImportError, AttributeError, OSError, ValueError):  # no notebook, or one without parameters
        return {}


def _markdown(text: str) -> Any:
    from IPython.display import Markdown

    return Markdown(text)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str | None = None) -> str:
    """Markdown table."""
    rule = [{"l": ":---", "r": "---:"}[letter] for letter in align or "l" * len(header)]
    lines = [header, rule, *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)[|$]", r"\\\g<0>", str(text).replace("\n", " "))  # `literal` has escaped its own
