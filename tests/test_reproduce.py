"""The paper's tables and what is said of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import write_run

from conftest import write_inter
from recbole_cfgdiff.commands import cli
from recbole_cfgdiff.commands import reproduce as module
from recbole_cfgdiff.commands.reproduce import compare_cells, label_of, paper_table, settings_of, verdict
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.reporting.outputs import Results


def test_the_papers_figures():
    table = paper_table(2, "ml-1m-clean").set_index("metric")
    assert len(table) == 16 and table["bold"].all()
    assert table.loc["ndcg@10", ["original", "ours"]].tolist() == [8.43, 9.32]
    office = paper_table(3, "amazon-office").set_index("metric")
    assert office.loc["recall@20", ["original", "ours", "bold"]].tolist() == [1.34, 2.57, 1]
    assert office.loc["recall@5", "bold"] == 0
    # The text counts 85 of 128 cells in which ours is above or equal; the tables have 86, and one more in bold.
    cells = pd.concat([pd.read_csv(path) for path in module.TABLES.values()])
    not_below = cells["ours"] >= cells["original"]
    assert len(cells) == 128 and not_below.sum() == 86
    wrongly_bold = cells[(cells["bold"] == 1) & ~not_below]
    assert wrongly_bold[["setting", "metric", "k"]].to_numpy().tolist() == [["yelp-clean", "precision", 1]]


def test_unknown_tables_and_settings_are_told():
    with pytest.raises(ConfigError, match="table: expected 2 or 3, got 4"):
        paper_table(4, "ml-1m-clean")
    with pytest.raises(ConfigError, match="did you mean ml-1m-clean"):
        paper_table(2, "ml-1m-claen")
    with pytest.raises(ConfigError, match="table 3 has amazon-kitchen"):
        paper_table(3, "ml-1m-clean")


def test_guided_and_unguided_models_share_their_settings():
    for setting in ("ml-1m-clean", "ml-1m-noisy"):
        assert [settings.name for settings in settings_of(setting)] == ["defaults", "published"]
    assert [settings.name for settings in settings_of("amazon-toys")] == ["defaults"]


ONE, ALL = [1] + [0] * 7, [1] * 8


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Raw guidance is significantly better, embedded guidance alike, by one settings; the paper's figures are given."""
    (settings,) = settings_of("amazon-toys")
    hits = {"": ONE, "raw": ALL, "embedding": ONE}
    runs = [
        write_run(tmp_path, label_of(guidance, settings), seed, hits[guidance]) for guidance in hits for seed in (1, 2)
    ]
    monkeypatch.setattr(module, "MAIN_METRIC", "recall@2")
    monkeypatch.setattr(module, "settings_of", lambda _: [settings])

    def make(original, ours):
        figures = pd.DataFrame({"metric": ["recall@2"], "original": [original], "ours": [ours], "bold": [1]})
        return compare_cells(Results(runs, tmp_path), "toy", figures)

    return make


@pytest.fixture
def cells(toy):
    return toy(original=1.0, ours=2.0)


def test_cells_by_hand(cells):
    raw, embedding = (row for _, row in cells.iterrows())
    assert (raw["diffrec"], raw["cfgdiffrec"], raw["difference"]) == (12.5, 100, 87.5)
    # Seven of eight users differ, all one way: 2 / 2^7, times two comparisons.
    assert raw["p_value"] == pytest.approx(2 / 2**7) and raw["p_holm"] == pytest.approx(4 / 2**7)
    assert raw["significant"] and raw["holds"] is True
    assert embedding["difference"] == 0 and not embedding["significant"] and embedding["holds"] is False


def test_the_verdict_in_words(cells):
    raw, embedding = verdict(cells).splitlines()
    assert "defaults settings, raw guidance: the gain **reproduces**" in raw
    assert "in 1 of the 1 cells" in raw and "12.50 to 100.00 (+87.50" in raw
    assert "does **not** reproduce" in embedding and "in 0 of the 1 cells" in embedding


def test_nothing_reproduces_where_the_paper_claims_nothing(toy):
    (raw, *_) = verdict(toy(original=2.0, ours=2.0)).splitlines()
    assert "does **not** reproduce" in raw and "in 0 of the 0 cells" in raw
    (raw, *_) = verdict(toy(original=2.0, ours=1.0)).splitlines()
    assert "does **not** reproduce" in raw


def test_a_setting_is_run_and_told(empty_folder, capfd):
    random = np.random.default_rng(0)
    for part, size in (("train", 8), ("valid", 3), ("test", 2)):
        rows = [
            (f"u{user}", f"i{item}", place)
            for user in range(40)
            for place, item in enumerate(random.choice(60, size, replace=False))
        ]
        write_inter(Path("dataset"), "ml-1m-noisy", rows, "user_id:token\titem_id:token\tposition:float")
        Path("dataset/ml-1m-noisy/ml-1m-noisy.inter").rename(f"dataset/ml-1m-noisy/ml-1m-noisy.{part}.inter")
    options = ("--epochs=1", "--steps=2", "--dims_dnn=[8]", "--jobs=2")
    arguments = ("reproduce", "--table=2", "--setting=ml-1m-noisy", "--seeds=1", *options)
    assert cli.main(arguments) == 0
    out = capfd.readouterr().out
    assert "does **not** reproduce" in out or "**reproduces**" in out
    folder = Path("results/table2-ml-1m-noisy")
    cells = pd.read_csv(folder / "cells.csv")
    assert len(cells) == 2 * 2 * 16
    page = (folder / "reproduction.md").read_text(encoding="utf-8")
    assert "--table=2 --setting=ml-1m-noisy --seeds=1 --epochs=1" in page
    assert "| ndcg@10 | 3.97 | 4.58 |" in page and "scale 0.5" in page and "published settings" in page
    results = pd.read_csv(folder / "results.csv")
    assert set(results["model"]) == {
        f"{model} ({settings})"
        for model in ("DiffRec", "CFGDiffRec raw", "CFGDiffRec embedding")
        for settings in ("defaults", "published")
    }
    # 20% of 40 users are tested.
    assert set(pd.read_csv(folder / "comparisons.csv")["users"]) == {8}


def test_what_the_table_fixes_cannot_be_changed(empty_folder, capfd):
    assert cli.main(("reproduce", "--table=2", "--setting=ml-1m-clean", "--topk=[5]")) == 2
    assert "topk: fixed by the paper's table" in capfd.readouterr().err


def test_other_mistakes_are_not_blamed_on_the_data(empty_folder, capfd):
    write_inter(Path("dataset"), "amazon-vg", [("u", "i", 1)])
    assert cli.main(("reproduce", "--table=3", "--setting=amazon-vg", "--seeds=0")) == 2
    error = capfd.readouterr().err
    assert "seeds: expected at least 1" in error and "README" not in error


def test_data_that_is_not_there_is_told_with_how_to_make_it(empty_folder, capfd):
    assert cli.main(("reproduce", "--table=3", "--setting=amazon-vg")) == 2
    error = capfd.readouterr().err
    assert "amazon-vg.inter" in error and "dataset/README.md" in error and error.count("\n") == 1
    assert not Path("results").exists()
