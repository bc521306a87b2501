"""The guidance scale chosen by validation after training."""

import json
from pathlib import Path

import pytest

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay import guidance_choice as module
from recbole_cfgdiff.quick_start import load_data_and_model, run
from recbole_cfgdiff.runs.prepare import load_trained, prepare

SHORT = {"epochs": 3, "show_progress": False, "state": "ERROR", "metric_decimal_place": 8}


@pytest.fixture
def chosen(tiny):
    return run("CFGDiffRec", tiny, config_dict={**SHORT, "guidance_scales": [0, 0.5, 4]})


def test_the_best_by_validation_is_taken_and_never_a_worse_one_than_the_models_own(chosen):
    curve = chosen["guidance_curve"]
    assert list(curve) == [0, 0.5, 1, 4]
    assert chosen["best_valid_score"] == curve[chosen["guidance_scale"]] == max(curve.values()) >= curve[1]
    assert chosen["best_valid_result"]["ndcg@10"] == chosen["best_valid_score"]


def test_the_checkpoint_has_the_choice(chosen):
    path = Path(chosen["run_dir"]) / "best.pth"
    assert load_data_and_model(path)[1].guidance_scale == chosen["guidance_scale"]
    assert load_trained(path).test(load_best_model=False) == pytest.approx(chosen["test_result"])
    stored = json.loads((path.parent / "result.json").read_text())
    assert stored["guidance_scale"] == chosen["guidance_scale"] and len(stored["guidance_curve"]) == 4
    # A run that had ended is asked again: nothing is trained, the same is chosen.
    again = run(config_dict={**SHORT, "resume": chosen["run_dir"]})
    assert again["guidance_curve"] == chosen["guidance_curve"] and again["test_result"] == chosen["test_result"]


PLANTED = {0.0: (0.2, 0.9), 1.0: (0.3, 0.1), 2.0: (0.5, 0.0), 3.0: (0.5, 0.8)}  # scale: validation and test


def test_validation_decides_and_of_equals_the_nearest_to_the_models_own(tiny, monkeypatch):
    prepared = prepare("CFGDiffRec", tiny, None, {**SHORT, "guidance_scales": [0, 2, 3]})

    def planted(trainer, data, scales):
        return {scale: {"ndcg@10": PLANTED[scale][0 if data is prepared.valid_data else 1]} for scale in scales}

    monkeypatch.setattr(module, "evaluate_guidance_scales", planted)
    assert prepared.fit()["guidance_scale"] == 2
    assert prepared.trainer.model.guidance_scale == 2


def test_without_saving_the_last_epoch_is_chosen_for(tiny):
    result = run("CFGDiffRec", tiny, config_dict={**SHORT, "guidance_scales": [0]}, saved=False)
    assert set(result["guidance_curve"]) == {0, 1} and result["run_dir"] is None


@pytest.mark.parametrize("option", ["[0,'a']", "[1,1]", "2", "[true]"])
def test_other_things_than_lists_of_numbers_are_refused(option, tiny, cli):
    outcome = cli("--model=CFGDiffRec", "--dataset=tiny", f"--guidance_scales={option}")
    assert outcome.status == 2 and "guidance_scales: expected a list of different finite numbers" in outcome.err


@pytest.mark.parametrize(
    "options", [{"eval_args": {"mode": "uni20"}}, {"eval_args": {"split": {"RS": [0.8, 0, 0.2]}}, "eval_step": 0}]
)
def test_where_nothing_can_be_chosen_by_it_is_said_before_training(options, tiny):
    with pytest.raises(ConfigError, match="a choice by validation needs"):
        prepare("CFGDiffRec", tiny, None, {**SHORT, **options, "guidance_scales": [0, 2]})


def test_the_curve_is_drawn_beside_the_checkpoint(tiny, cli):
    outcome = cli("--model=CFGDiffRec", "--dataset=tiny", "--epochs=1", "--guidance_scales=[0,2]", "--state=ERROR")
    assert outcome.status == 0, outcome.err
    (folder,) = Path("saved").iterdir()
    assert {"tiny-guidance-ndcg-10.png", "tiny-guidance-ndcg-10.pdf"} <= {path.name for path in folder.iterdir()}
    assert "guidance scale" in outcome.out
