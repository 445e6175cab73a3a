"""Statements tested over seeds and together, and searches averaged over studies, on made-up results."""

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState, create_trial

from course.lessons import (
    best_over_studies,
    chance_of_a_false_verdict,
    mean_and_spread,
    paired_tests,
    verdict_counts,
    verdict_list,
    verdict_table,
)
from imgcls.evaluation.statistics import holm, paired_over_seeds, paired_p_over_seeds


def runs(accuracy, seed, images=400):
    return np.random.default_rng(seed).random((3, images)) < accuracy


def test_clear_gains_and_losses_have_a_verdict_and_noise_has_none():
    a = runs(0.5, 0)
    table = paired_tests({"better": (a, runs(0.8, 1)), "worse": (a, runs(0.2, 2)), "equal": (a, runs(0.5, 3))})
    assert table["verdict"].tolist() == ["supported", "contradicted", "inconclusive"]
    assert table["gain"][0] == pytest.approx(paired_over_seeds(a, runs(0.8, 1)).value)
    assert table["p"][0] == paired_p_over_seeds(a, runs(0.8, 1))
    assert table["p_holm"].tolist() == pytest.approx(holm(table["p"]))


def test_the_correction_withdraws_what_is_significant_only_alone():
    a = runs(0.5, 0)
    found = next(seed for seed in range(1, 200) if 0.01 < paired_p_over_seeds(a, runs(0.5, seed)) < 0.05)
    table = paired_tests({str(k): (a, runs(0.5, found)) for k in range(10)})
    assert set(table["alone"]) & {"supported", "contradicted"}
    assert set(table["verdict"]) == {"inconclusive"}


def test_the_table_of_tests_is_text():
    shown = verdict_table(paired_tests({"better": (runs(0.3, 0), runs(0.9, 1)), "same": (runs(0.5, 2), runs(0.5, 2))}))
    assert shown.columns.tolist() == ["statement", "gain (points)", "p", "p (Holm)", "verdict"]
    assert shown["gain (points)"][1] == "+0.0 [+0.0, +0.0]"
    assert shown["p (Holm)"].tolist()[1] == "1.0000"


def test_verdicts_are_listed_and_counted():
    verdicts = {"a": "supported", "b, then c": "supported", "d": "inconclusive"}
    tests = pd.DataFrame({"statement": verdicts.keys(), "verdict": verdicts.values()})
    assert verdict_list(tests) == "- supported: a; b, then c\n- inconclusive: d"
    assert verdict_counts(tests) == "2 supported, 0 contradicted, 1 inconclusive"


def test_studies_are_averaged_over_the_epochs_that_all_have_spent():
    def study(values):
        made = optuna.create_study(direction="maximize")
        for value in values:
            attributes = {"reached": value, "epochs": 2}
            made.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=attributes))
        return made

    frame = best_over_studies([study([0.2, 0.1, 0.5]), study([0.4, 0.6, 0.3])], "random")
    assert frame["x"].tolist() == [2, 4, 6]
    assert frame["value"].tolist() == pytest.approx([0.3, 0.4, 0.55])
    assert frame["low"].tolist() == [0.2, 0.2, 0.5]
    assert frame["high"].tolist() == [0.4, 0.6, 0.6]


def test_the_chance_of_a_false_verdict_and_a_mean_with_its_spread():
    assert chance_of_a_false_verdict(1) == pytest.approx(0.05)
    assert chance_of_a_false_verdict(10) == pytest.approx(0.4013, abs=1e-4)
    assert mean_and_spread([0.5, 0.6, 0.7]) == "60.0 ± 10.0 %"
