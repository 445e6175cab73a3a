"""What `make reports` says beforehand, from planted records and a planted speed."""

import json
import os
from types import SimpleNamespace

import pytest

from course.reports import duration, pages
from course.reports.errors import ReportError
from course.reports.files import Files
from imgcls import paths, reproducibility

HERE = {"device": "cpu", "threads": 2, "precision": "bfloat16", "torch": "2.12.1", "python": "3.11.7"}
NOTEBOOK = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}}
CELL = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "epochs: int = 3  # passes", "outputs": []}


@pytest.fixture
def course(own_folders, monkeypatch):
    """Three notebooks on a machine that is half as fast as that of the record, which has two of them."""
    monkeypatch.setattr(paths, "NOTEBOOKS", own_folders / "notebooks")
    (paths.NOTEBOOKS / "profiles").mkdir(parents=True)
    for name in ("01_short", "02_long", "03_new"):
        (paths.NOTEBOOKS / f"{name}.ipynb").write_text(json.dumps(NOTEBOOK | {"cells": [CELL]}))
    runs = {"01_short": {"seconds": 100}, "02_long": {"seconds": 400}}
    runs = {name: run | {"images_per_second": 3000, "machine": "another"} for name, run in runs.items()}
    duration.record_file().write_text(json.dumps({"default": runs}))
    monkeypatch.setattr(duration, "measure_speed", lambda: 1500.0)
    monkeypatch.setattr(duration.psutil, "cpu_percent", lambda interval: 0.0)
    here = dict(HERE)
    monkeypatch.setattr(reproducibility, "provenance", lambda: here)
    return here


def finish(name, seconds, environment):
    files = Files(name)
    for path in (files.executed, files.json):
        path.parent.mkdir(exist_ok=True, parents=True)
    files.executed.touch()
    files.json.write_text(json.dumps({"seconds": seconds, "environment": environment}))


@pytest.mark.parametrize(("busy", "said"), [(10, False), (60, True)])
def test_a_busy_processor_is_named_as_the_estimate_is_then_too_high(course, monkeypatch, busy, said):
    monkeypatch.setattr(duration.psutil, "cpu_percent", lambda interval: busy)
    assert ("other programs use 60 % of the processor" in duration.estimate("default")) is said


def test_the_estimate_is_recorded_work_over_measured_speed(course):
    text = duration.estimate("default")
    assert text.startswith("3 notebooks to run: about 17 min on this machine, 13 min of them for 02_long\n")  # 1,000 s
    assert f"  {pages.computer(HERE)}; 1,500 images/s in training" in text
    assert "without 03_new: no recorded time" in text
    assert "make report-02 ARGS=" in text
    assert "float32" not in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_float32_is_named_with_its_reason(course, monkeypatch):
    course["precision"] = "float32"
    monkeypatch.delenv("IMGCLS_PRECISION", raising=False)
    assert "float32 (no bfloat16 units here) takes up to twice as long" in duration.estimate("default")
    monkeypatch.setenv("IMGCLS_PRECISION", "float32")
    assert "float32 (IMGCLS_PRECISION is set to it)" in duration.estimate("default")


def test_only_what_would_run_is_counted(course):
    duration.stale("default")  # stamps the inputs
    finish("02_long", 400, HERE)
    assert duration.stale("default") == ["01_short", "03_new"]
    assert duration.estimate("default").startswith("2 notebooks to run: about 3 min")
    assert duration.stale("default", ["epochs=5"]) == ["01_short", "02_long", "03_new"]
    duration.stale("default")
    finish("01_short", 100, HERE)
    os.utime(Files("02_long").executed, (1, 1))  # the notebook was changed since
    assert duration.stale("default") == ["02_long", "03_new"]


def test_nothing_is_measured_where_nothing_is_known(course, monkeypatch):
    monkeypatch.setattr(duration, "measure_speed", lambda: pytest.fail("measured"))
    duration.record_file().unlink()
    assert duration.estimate("default") == ""


def test_a_record_takes_the_reports_of_this_machine_and_keeps_the_others(course):
    with pytest.raises(ReportError, match=r"no report of profile 'default' was made here \(cpu, 2 threads"):
        duration.write_record("default")
    finish("02_long", 300.4, HERE)
    finish("03_new", 60, HERE | {"precision": "float32"})
    duration.write_record("default")
    runs = duration.read_record()["default"]
    assert runs["01_short"] == {"seconds": 100, "images_per_second": 3000, "machine": "another"}
    assert runs["02_long"] == {"seconds": 300, "images_per_second": 1500, "machine": pages.computer(HERE)}
    assert "03_new" not in runs


def test_the_speed_is_that_of_real_training(monkeypatch):
    import imgcls.training

    rates = iter([10.0, 300.0, 100.0, 200.0])  # the first one warms up
    times = iter([0.0, 0.5, 1.1])
    monkeypatch.setattr(duration.time, "perf_counter", lambda: next(times))
    rows = SimpleNamespace(rows=[{"images_per_second": 0}])

    def fit(model, train, val, recipe, show):
        assert len(train.images) == len(train.labels)
        rows.rows[0]["images_per_second"] = next(rates)
        return rows

    monkeypatch.setattr(imgcls.training, "fit", fit)
    assert duration.measure_speed(1.0) == 200.0
