"""An example small enough to be computed by hand: eight users with one target each, four models, two seeds.

A: 7 and 8 hits of 8; B: none; C: as A; D: the first six users, with both seeds.
"""

import numpy as np
import pytest
from experiments import ranking_of_hits, write_run

from recbole_cfgdiff.reporting.outputs import Results
from recbole_cfgdiff.reporting.summary import (
    first_place,
    meaning_of_marks,
    mixed_hyperparameters,
    summarise,
    tables_of,
    to_csv,
    to_latex,
    to_markdown,
    to_text,
)

ALL, MOST, SIX, NONE = [1] * 8, [1] * 7 + [0], [1] * 6 + [0] * 2, [0] * 8
ONE_OF = [1] + [0] * 7
HITS = {"A": (MOST, ALL), "B": (NONE, NONE), "C": (MOST, ALL), "D": (SIX, SIX)}


@pytest.fixture
def summary(tmp_path):
    runs = [
        write_run(tmp_path, label, 2020 + index, hits)
        for label, seeds in HITS.items()
        for index, hits in enumerate(seeds)
    ]
    return summarise(Results(runs, tmp_path), "toy", ["recall@2", "recall@1"])


def test_means_and_deviations(summary):
    assert summary.means["recall@2"].to_dict() == {"A": 0.9375, "B": 0.0, "C": 0.9375, "D": 0.75}
    # A: 0.875 and 1, half of the difference times the root of 2.
    assert summary.deviations["recall@2"].to_dict() == pytest.approx(
        {"A": 0.0625 * 2**0.5, "B": 0, "C": 0.0625 * 2**0.5, "D": 0}
    )
    assert summary.models["seeds"].to_dict() == dict.fromkeys("ABCD", 2)


def test_ties_are_both_best_and_the_next_is_second(summary):
    assert summary.ranks["recall@2"].to_dict() == {"A": 1, "B": 3, "C": 1, "D": 2}


def test_p_values_are_exact_and_corrected_over_the_models(summary):
    rows = summary.comparisons.query("metric == 'recall@2'").set_index("model")
    # B: eight differences of one sign, 2 / 2^8. D: two, of which both signs together, 2 / 2^2. C: none.
    assert rows["p_value"].to_dict() == pytest.approx({"A": 1, "B": 2 / 256, "C": 1, "D": 0.5})
    assert rows["p_holm"].to_dict() == pytest.approx({"A": 1, "B": 3 * 2 / 256, "C": 1, "D": 1})
    assert rows["versus"].to_dict() == {"A": "C", "B": "A", "C": "A", "D": "A"}
    assert rows["difference"].to_dict() == pytest.approx({"A": 0, "B": -0.9375, "C": 0, "D": -0.1875})
    assert (rows["low"] <= rows["difference"]).all() and (rows["difference"] <= rows["high"]).all()


def test_only_the_significant_difference_is_marked(summary):
    assert summary.marked["recall@2"].to_dict() == {"A": False, "B": True, "C": False, "D": False}


def test_the_best_is_marked_where_it_differs_from_the_second(tmp_path):
    runs = [write_run(tmp_path, label, 2020, HITS[label][0]) for label in "AB"]
    summary = summarise(Results(runs, tmp_path), "toy", ["recall@2"])
    assert summary.marked["recall@2"].to_dict() == {"A": True, "B": True}
    assert summary.deviations.isna().all(axis=None)
    assert "| A | **0.8750** \\* |" in to_markdown(summary, ["recall@2"])


def test_every_format_has_the_same_marks(summary):
    markdown = to_markdown(summary, ["recall@2"]).splitlines()
    assert markdown[2] == "| A | **0.9375** ± 0.0884 | 2 | shipped YAML |"
    assert markdown[3] == "| B | 0.0000 ± 0.0000 \\* | 2 | shipped YAML |"
    assert markdown[5] == "| D | <u>0.7500</u> ± 0.0000 | 2 | shipped YAML |"
    latex = to_latex(summary, ["recall@2"])
    assert "A & \\textbf{0.9375} $\\pm$ 0.0884 & 2 \\\\" in latex
    assert "B & 0.0000 $\\pm$ 0.0000$^{*}$ & 2 \\\\" in latex
    assert "D & \\underline{0.7500} $\\pm$ 0.0000 & 2 \\\\" in latex
    assert "% hyperparameters: A: shipped YAML" in latex
    assert "0.0000 ± 0.0000 *" in to_text(summary, ["recall@2"])
    table = to_csv(summary).set_index("model")
    assert table.loc["B", "recall@2 significant"] and table.loc["D", "recall@2 rank"] == 2
    assert list(table.columns[:3]) == ["dataset", "hyperparameters", "seeds"]


def test_a_seed_that_only_one_model_ended_with_is_not_compared(tmp_path):
    runs = [write_run(tmp_path, "A", seed, MOST) for seed in (2020, 2021)] + [write_run(tmp_path, "B", 2021, SIX)]
    summary = summarise(Results(runs, tmp_path), "toy", ["recall@2"])
    assert summary.models["seeds"].to_dict() == {"A": 2, "B": 1}
    assert set(summary.comparisons["seeds"]) == {1}


def test_one_model_is_compared_with_none(tmp_path):
    summary = summarise(Results([write_run(tmp_path, "A", 2020, MOST)], tmp_path), "toy", ["recall@2"])
    assert summary.comparisons.empty and not summary.marked.any(axis=None)


def test_hyperparameters_chosen_in_different_ways_are_told(tmp_path):
    runs = [
        write_run(tmp_path, "A", 2020, MOST, "tuned: 20 trials of random search"),
        write_run(tmp_path, "B", 2020, NONE),
        write_run(tmp_path, "C", 2020, NONE, "tuned: 10 trials"),
    ]
    summary = summarise(Results(runs, tmp_path), "toy", ["recall@2"])
    warning = mixed_hyperparameters(summary)
    assert "tuned (A, C)" in warning and "shipped YAML (B)" in warning
    assert mixed_hyperparameters(summary._replace(models=summary.models.loc[["A", "C"]])) == ""


def test_tables_are_by_length_the_chosen_one_first():
    assert tables_of(["recall@1", "recall@10", "ndcg@1", "ndcg@10", "gauc"], 10) == [
        ["recall@10", "ndcg@10"],
        ["gauc"],
        ["recall@1", "ndcg@1"],
    ]


def test_a_smaller_gini_index_is_better(tmp_path):
    runs = [write_run(tmp_path, label, 2020, MOST) for label in "AB"]
    results = Results(runs, tmp_path)
    results.table["giniindex@2"] = [0.7, 0.2]
    summary = summarise(results, "toy", ["giniindex@2"])
    assert summary.ranks["giniindex@2"].to_dict() == {"A": 2, "B": 1}
    assert summary.comparisons.empty  # no mean over users, so no test


def test_what_looks_the_same_has_the_same_rank(tmp_path):
    runs = [write_run(tmp_path, label, 2020, MOST) for label in "ABC"]
    results = Results(runs, tmp_path)
    # Printed 0.0101, 0.0103 and 0.0103: half-way cases go by the binary number, numpy rounds them to even.
    results.table["giniindex@2"] = [0.01015, 0.01025, 0.0103]
    summary = summarise(results, "toy", ["giniindex@2"])
    assert summary.ranks["giniindex@2"].to_dict() == {"A": 1, "B": 2, "C": 2}


def test_seeds_with_different_hyperparameters_are_told(tmp_path):
    runs = [
        write_run(tmp_path, "A", 2020, MOST, "given: a.yaml"),
        write_run(tmp_path, "A", 2021, MOST, "tuned: 5 trials"),
    ]
    summary = summarise(Results(runs, tmp_path), "toy", ["recall@2"])
    assert summary.models.loc["A", "hyperparameters"] == "given: a.yaml; tuned: 5 trials"
    assert "Unequal effort" in mixed_hyperparameters(summary)


def test_any_label_is_text_in_latex(tmp_path):
    summary = summarise(Results([write_run(tmp_path, "a_b~^\\&%", 2020, MOST)], tmp_path), "toy", ["recall@2"])
    escaped = "a\\_b\\textasciitilde{}\\textasciicircum{}\\textbackslash{}\\&\\% & "
    assert escaped in to_latex(summary, ["recall@2"])


def made(tmp_path, hits):
    runs = [
        write_run(tmp_path, label, 2020 + index, of_seed)
        for label, seeds in hits.items()
        for index, of_seed in enumerate(seeds)
    ]
    return summarise(Results(runs, tmp_path), "toy", ["recall@2"])


def test_the_sentence_says_who_is_first_and_whether_that_holds(tmp_path):
    assert first_place(made(tmp_path / "1", {"A": (ALL, ALL), "B": (NONE, ONE_OF)}), "recall@2") == (
        "A is first by recall@2, 1.0000, 0.9375 (1500.0%) ahead of B; the difference to B holds over users "
        "(corrected p = 0.00781), and has the same sign with each of the 2 seeds."
    )
    assert first_place(made(tmp_path / "2", {"A": (MOST, SIX), "B": (SIX, MOST)}), "recall@2") == (
        "A and B are first alike by recall@2, 0.8125; the difference to B does not hold over users "
        "(corrected p = 1), nor with each of the 2 seeds."
    )
    assert first_place(made(tmp_path / "3", {"B": (NONE,), "A": (ALL,)}), "recall@2") == (
        "A is first by recall@2, 1.0000, 1.0000 ahead of B; the difference to B holds over users "
        "(corrected p = 0.00781), but of other seeds one seed tells nothing: run more, as by --seeds=5."
    )
    assert first_place(made(tmp_path / "4", {"A": (ALL,)}), "recall@2") == (
        "A has recall@2 1.0000; there is no other model to compare it with."
    )


def test_of_a_metric_without_a_test_the_sentence_says_so(tmp_path):
    results = Results([write_run(tmp_path, label, 2020, MOST) for label in "AB"], tmp_path)
    results.table["giniindex@2"] = [0.7, 0.2]
    assert first_place(summarise(results, "toy", ["giniindex@2"]), "giniindex@2") == (
        "B is first by giniindex@2, 0.2000, 0.5000 (71.4%) ahead of A; whether that holds over users and seeds is not "
        "tested."
    )


def test_what_a_mark_means_is_told_and_that_one_seed_is_one(tmp_path):
    several = meaning_of_marks(made(tmp_path / "1", {"A": (ALL, ALL), "B": (NONE, NONE)}))
    one = meaning_of_marks(made(tmp_path / "2", {"A": (ALL,), "B": (NONE,)}))
    assert several.startswith("*: differs significantly from the best of the other models, the first from the second")
    assert one == several + " With one seed it says nothing of other seeds."


def test_models_tested_on_other_users_are_not_compared(tmp_path):
    summary = made(tmp_path, {"A": (ALL,), "B": ([1],)})
    assert set(summary.comparisons["users"]) == {1}
    (a, b) = (write_run(tmp_path / "2", label, 2020, ALL) for label in "AB")
    path = b.folder(tmp_path / "2") / "test.npz"
    ranking_of_hits(ALL)._replace(users=np.array([f"other{user}" for user in range(8)])).save(path)
    assert summarise(Results([a, b], tmp_path / "2"), "toy", ["recall@2"]).comparisons.empty
