"""Statements about methods tested over seeds with a correction for many tests, and searches averaged over studies."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd

from course.diagnostics import best_so_far
from imgcls.evaluation.statistics import holm, paired_over_seeds, paired_p_over_seeds

VERDICTS = ("supported", "contradicted", "inconclusive")


def paired_tests(pairs: Mapping[str, tuple[Any, Any]], level: float = 0.05) -> pd.DataFrame:
    """Test statements of the form "b is more accurate than a" over seeds, one by one and together.

    Args:
        pairs: Statement -> whether each run of a and of b is correct on each image, bool (seeds, N) both.
        level: Of significance: for each test alone, and for all of them together after Holm's correction.

    Returns:
        One row per statement: statement; gain of b over a with low and high (`paired_over_seeds`); p; p_holm, adjusted
        for the number of statements; alone and verdict, one of `VERDICTS` each, without and with the correction.
    """
    rows = []
    for statement, (a, b) in pairs.items():
        gain = paired_over_seeds(a, b)
        rows.append(
            {"statement": statement, "gain": gain.value, "low": gain.low, "high": gain.high,
             "p": paired_p_over_seeds(a, b)}
        )  # fmt: skip
    table = pd.DataFrame(rows).assign(p_holm=holm([row["p"] for row in rows]))
    return table.assign(
        alone=[_verdict(gain, p, level) for gain, p in zip(table["gain"], table["p"], strict=True)],
        verdict=[_verdict(gain, p, level) for gain, p in zip(table["gain"], table["p_holm"], strict=True)],
    )


def _verdict(gain: float, p: float, level: float) -> str:
    return "inconclusive" if p >= level else "supported" if gain > 0 else "contradicted"


def verdict_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The result of `paired_tests` as text: gain in points with its interval, both p-values, the verdict."""
    gains = [
        f"{100 * gain:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        for gain, low, high in tests[["gain", "low", "high"]].to_numpy(float)
    ]
    p, p_holm = (["< 0.0001" if one < 1e-4 else f"{one:.4f}" for one in tests[name]] for name in ("p", "p_holm"))
    columns = {"statement": tests["statement"], "gain (points)": gains, "p": p, "p (Holm)": p_holm}
    return pd.DataFrame(columns | {"verdict": tests["verdict"]})


def verdict_list(tests: pd.DataFrame) -> str:
    """The statements of `paired_tests` by verdict, as a Markdown list: `- supported: a; b`.

    Verdicts that no statement has are left out.
    """
    groups = {name: tests.loc[tests["verdict"] == name, "statement"] for name in VERDICTS}
    return "\n".join(f"- {name}: {'; '.join(found)}" for name, found in groups.items() if len(found))


def verdict_counts(tests: pd.DataFrame) -> str:
    """How many statements of `paired_tests` have each verdict: `2 supported, 1 contradicted, 0 inconclusive`."""
    return ", ".join(f"{(tests['verdict'] == name).sum()} {name}" for name in VERDICTS)


def best_over_studies(studies: Sequence[optuna.Study], series: str, panel: str = "search") -> pd.DataFrame:
    """Best validation accuracy against the epochs spent, averaged over studies of one sampler, for `plots.curves`.

    Returns:
        Columns panel, x (epochs), series, value (mean), low and high (worst and best study); rows start where every
        study has a value.
    """
    curves = [best_so_far(study, of="epochs").groupby("x")["value"].last() for study in studies]
    together = pd.concat(curves, axis=1).sort_index().ffill().dropna()
    return pd.DataFrame(
        {"panel": panel, "x": together.index, "series": series, "value": together.mean(axis=1).to_numpy(),
         "low": together.min(axis=1).to_numpy(), "high": together.max(axis=1).to_numpy()}
    )  # fmt: skip


def chance_of_a_false_verdict(tests: int, level: float = 0.05) -> float:
    """Chance that at least one of several independent tests of true null hypotheses is significant."""
    return 1 - (1 - level) ** tests


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds as text: `61.3 ± 1.2 %`."""
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f} %"
