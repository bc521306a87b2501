"""Seconds of training, and epochs and seconds until a model is as good as another."""

from pathlib import Path

import pandas as pd
import pytest
from experiments import write_run

from recbole_cfgdiff.commands.compare import parse_variants
from recbole_cfgdiff.reporting.learning import time_to_quality
from recbole_cfgdiff.reporting.report import report
from recbole_cfgdiff.runs import worker
from recbole_cfgdiff.runs.prepare import prepare
from recbole_cfgdiff.runs.spec import make_runs
from recbole_cfgdiff.runs.worker import LearningCurve, train_and_test


def curve(*scores):
    rows = [(epoch, 10.0 * (epoch + 1), score) for epoch, score in enumerate(scores)]
    return pd.DataFrame(rows, columns=["epoch", "seconds", "valid_score"])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_first_epoch_that_is_as_good_counts(sign):
    curves = {
        "A": [curve(*(sign * score for score in scores)) for scores in ((1, 4, 3), (2, 3, 6))],
        "B": [curve(sign * 3)],
    }
    table = time_to_quality(curves, bigger=sign > 0).set_index(["model", "as_good_as"])
    # A's bests are 4 and 6: its second and third epoch. Both its seeds are as good as B in the second one.
    assert table.loc[("A", "A")].to_list() == [sign * 5, 2, 2, 2.5, 25]
    assert table.loc[("A", "B")].to_list() == [sign * 3, 2, 2, 2, 20]
    assert table.loc[("B", "B")].to_list() == [sign * 3, 1, 1, 1, 10]
    assert table.loc[("B", "A"), "reached"] == 0 and pd.isna(table.loc[("B", "A"), "epochs"])


def test_seeds_that_do_not_get_there_are_told():
    row = time_to_quality({"A": [curve(1, 2), curve(1, 1)], "B": [curve(2)]}, bigger=True).iloc[1]
    assert list(row) == ["A", "B", 2, 1, 2, 2, 20]


def test_equal_scores_are_as_good_as_their_mean():
    table = time_to_quality({"A": [curve(0.1)], "B": [curve(0.1)] * 3}, bigger=True)
    assert sum([0.1] * 3) / 3 > 0.1 and (table["reached"] == table["seeds"]).all()


def test_without_validation_there_are_no_rows(tmp_path):
    assert time_to_quality({}, bigger=True).empty
    run = write_run(tmp_path, "A", 2020, [1, 0])
    (run.folder(tmp_path) / "curve.csv").unlink()
    report("Never validated", [run], tmp_path)
    assert len(pd.read_csv(tmp_path / "learning.csv")) == 0
    assert "Epochs and seconds of training" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_report_tells_them(tmp_path):
    report("Two models", [write_run(tmp_path, label, 2020, [1, 0]) for label in "AB"], tmp_path)
    table = pd.read_csv(tmp_path / "learning.csv")
    assert table[["model", "as_good_as"]].to_numpy().tolist() == [["A", "A"], ["A", "B"], ["B", "A"], ["B", "B"]]
    assert (table["epochs"] == 2).all() and (table["dataset"] == "toy").all()
    assert "2.0; 2.0 s" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_without_validation_that_was_interrupted_keeps_its_seconds(tiny):
    options = {"epochs": 3, "eval_step": 0, "show_progress": False, "state": "ERROR", "run_name": "x"}
    prepared = prepare("DiffRec", "tiny", None, options)
    curve = LearningCurve(prepared.trainer, Path("curve.csv"), prepared.model_seconds)
    prepared.fit(callback_fn=curve.add)
    assert curve.epochs == 3
    again = prepare("DiffRec", "tiny", None, {"resume": "saved/x", "epochs": 4})
    resumed = LearningCurve(again.trainer, Path("curve.csv"), again.model_seconds)
    assert resumed.seconds() >= pd.read_csv("curve.csv")["seconds"].max() > 0
    again.fit(callback_fn=resumed.add)
    assert resumed.epochs == 4


def test_what_is_fitted_while_the_model_is_made_counts_as_training(tiny, monkeypatch):
    def slow(*arguments, prepare=worker._prepare):
        prepared = prepare(*arguments)
        assert prepared.model_seconds > 0
        return prepared._replace(model_seconds=100.0)

    monkeypatch.setattr(worker, "_prepare", slow)
    (ease,) = make_runs(parse_variants("EASE"), [tiny], 1)
    Path("out").mkdir()
    assert train_and_test(ease, Path("out"))["training_seconds"] > 100
    assert pd.read_csv("out/curve.csv")["seconds"].min() > 100
