"""Whole runs by the command line, on ml-100k (which RecBole ships) or on a tiny data set."""

import json
import logging
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import recbole.model.general_recommender
import scipy.sparse
import torch

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model import MODELS, CFGDiffRec
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.quick_start import load_data_and_model, objective_function, run
from recbole_cfgdiff.runs.pool import search_path

SCRIPT = Path(__file__).resolve().parents[1] / "run_recbole_cfg.py"
SHORT = ("--show_progress=False", "--state=ERROR")


def run_folder(outcome):
    return Path(re.search(r"run folder: (.+)", outcome.out).group(1))


def result_of(outcome):
    result = json.loads((run_folder(outcome) / "result.json").read_text())
    return result["best_valid_result"], result["test_result"]


def test_cfgdiffrec_trains_on_ml_100k_and_ends_with_a_table(cli):
    outcome = cli("--model=CFGDiffRec", "--dataset=ml-100k", "--epochs=2")
    assert outcome.status == 0
    assert "Train     1" in outcome.err and "Evaluate" in outcome.err  # progress bars
    table = outcome.out
    assert re.search(r"metric +valid +test", table)
    for metric in ("recall", "ndcg", "precision", "mrr"):
        for k in (1, 5, 10, 20):
            assert re.search(rf"^{metric}@{k} +0\.\d{{4}} +0\.\d{{4}}$", table, flags=re.MULTILINE)
    valid, test = result_of(outcome)
    assert 0 < valid["ndcg@10"] < 1 and len(test) == 16


@pytest.mark.parametrize("model", ["DiffRec", "RecBoleDiffRec", "LightGCN", "MultVAE", "EASE", "BPR", "Pop", "ItemKNN"])
def test_other_models_train_by_the_same_command(model, cli):
    outcome = cli(f"--model={model}", "--dataset=ml-100k", "--epochs=1", *SHORT)
    assert outcome.status == 0
    assert result_of(outcome)[1]["recall@10"] > 0


@pytest.mark.parametrize("mode", ["uni100", "labeled"])
def test_sampled_evaluation_scores_a_few_users_at_a_time(mode, cli, monkeypatch):
    most = 0
    score = CFGDiffRec.score

    def watched(self, history):
        nonlocal most
        most = max(most, len(history))
        return score(self, history)

    monkeypatch.setattr(CFGDiffRec, "score", watched)
    metric = {"uni100": ["--metrics=['NDCG']"], "labeled": ["--metrics=['AUC']", "--valid_metric=AUC"]}[mode]
    options = [f"--eval_args={{'mode': '{mode}', 'order': 'TO'}}", "--full_sort_eval_batch_size=145000", *metric]
    if mode == "labeled":
        options += ["--threshold={'rating': 4}", "--val_interval=None", "--unused_col=None"]
    outcome = cli("--model=CFGDiffRec", "--dataset=ml-100k", "--epochs=1", *options, *SHORT)
    assert outcome.status == 0, outcome.err
    assert 0 < most <= 100
    assert all(value > 0 for value in result_of(outcome)[1].values())


def test_pairs_are_scored_as_in_the_full_ranking(tiny):
    result = run("CFGDiffRec", tiny, config_dict={"epochs": 1, "state": "ERROR", "show_progress": False})
    _, model, dataset, _, _, test_data = load_data_and_model(result["run_dir"])
    model.eval()
    model.predict_users = 7
    inter = test_data._dataset.inter_feat.to(model.device)
    with torch.no_grad():
        full = model.full_sort_predict({"user_id": torch.arange(dataset.user_num, device=model.device)})
        pairs = model.predict(inter)
    torch.testing.assert_close(pairs, full[inter["user_id"], inter["item_id"]], rtol=1e-5, atol=1e-6)


def test_the_same_seed_gives_the_same_metrics_and_another_does_not(tiny, cli):
    results = [
        result_of(cli("--model=CFGDiffRec", f"--dataset={tiny}", "--epochs=3", f"--seed={seed}", *SHORT))
        for seed in (7, 7, 8)
    ]
    assert results[0] == results[1] != results[2]


LONG = ("--epochs=40", "--stopping_step=100", "--learning_rate=0.0001")


@pytest.mark.parametrize("model", ["CFGDiffRec", "RecBoleDiffRec"])
def test_a_killed_run_resumes_to_the_metrics_of_an_unbroken_one(model, tiny, cli):
    arguments = (f"--model={model}", f"--dataset={tiny}", *LONG)
    unbroken = cli(*arguments, *SHORT)

    command = [sys.executable, str(SCRIPT), *arguments, "--checkpoint_dir=killed", *SHORT]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(Path("killed").glob("*/last.pth")):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    folder = next(Path("killed").iterdir())
    assert checkpoint.load(folder / "last.pth")["epoch"] < 39

    resumed = cli(f"--resume={folder}", *SHORT)
    assert resumed.status == 0, resumed.err
    assert run_folder(resumed) == folder
    assert result_of(resumed) == result_of(unbroken)
    # Once more: there is nothing left to train.
    assert result_of(cli(f"--resume={folder}", *SHORT)) == result_of(unbroken)


@pytest.mark.parametrize(
    "model", ["CFGDiffRec", "MultVAE", "RecVAE", "LINE", "LightGCN", "RecBoleDiffRec", "LDiffRec", "MacridVAE", "SGL"]
)
def test_a_run_can_be_prolonged(model, tiny, cli):
    longer = cli(f"--model={model}", f"--dataset={tiny}", "--epochs=5", *SHORT)
    shorter = cli(f"--model={model}", f"--dataset={tiny}", "--epochs=2", *SHORT)
    prolonged = cli(f"--resume={run_folder(shorter) / 'last.pth'}", "--epochs=5", *SHORT)
    assert result_of(prolonged) == result_of(longer)


class CountingBPR(recbole.model.general_recommender.BPR):
    """Learns ever less, by a count that its state does not have."""

    counters = ("n_steps",)

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.n_steps = 0

    def calculate_loss(self, interaction):
        self.n_steps += 1
        return super().calculate_loss(interaction) / self.n_steps


def test_a_model_of_ones_own_names_what_it_counts_with(tiny, cli, monkeypatch):
    monkeypatch.setitem(MODELS, "CountingBPR", CountingBPR)
    longer = cli("--model=CountingBPR", f"--dataset={tiny}", "--epochs=5", *SHORT)
    shorter = cli("--model=CountingBPR", f"--dataset={tiny}", "--epochs=2", *SHORT)
    assert checkpoint.load(run_folder(shorter) / "last.pth")["counters"] == {"n_steps": 2}
    assert result_of(cli(f"--resume={run_folder(shorter)}", "--epochs=5", *SHORT)) == result_of(longer)


def test_a_resumed_run_takes_a_new_learning_rate_but_no_other_learner(tiny, cli):
    shorter = cli("--model=CFGDiffRec", f"--dataset={tiny}", "--epochs=1", *SHORT)
    resume = f"--resume={run_folder(shorter)}"
    assert "learner: the run was trained by adam" in cli(resume, "--epochs=2", "--learner=sgd", *SHORT).err
    assert "is a run of CFGDiffRec, not of DiffRec" in cli(resume, "--model=DiffRec", *SHORT).err
    weights = checkpoint.load(run_folder(shorter) / "last.pth")["state_dict"]
    assert cli(resume, "--epochs=3", "--learning_rate=0", "--model=CFGDiffRec", *SHORT).status == 0
    frozen = checkpoint.load(run_folder(shorter) / "last.pth")
    assert frozen["epoch"] == 2
    parameters = [name for name in weights if name.startswith("denoiser")]
    assert all(torch.equal(weights[name], frozen["state_dict"][name]) for name in parameters)


@pytest.mark.parametrize(
    "change", ["--valid_metric=Recall@5", "--eval_args={'order': 'RO'}", "--seed=7", "--TIME_FIELD=item_id"]
)
def test_a_resumed_run_keeps_its_split_and_what_its_best_epoch_was_chosen_by(change, tiny, cli):
    folder = run_folder(cli("--model=DiffRec", f"--dataset={tiny}", "--epochs=1", *SHORT))
    before = (folder / "last.pth").read_bytes()
    outcome = cli(f"--resume={folder}", "--epochs=2", change, *SHORT)
    assert outcome.status == 2 and f"{change[2:].split('=')[0]}: {folder} was trained and validated with" in outcome.err
    assert (folder / "last.pth").read_bytes() == before
    assert cli(f"--resume={folder}", "--valid_metric=ndcg@10", *SHORT).status == 0  # as it was, in another case


def test_the_result_of_a_run_without_validation_is_json(tiny, cli):
    outcome = cli("--model=Pop", f"--dataset={tiny}", "--eval_step=0", *SHORT)
    text = (run_folder(outcome) / "result.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["best_valid_score"] is None


def test_a_model_that_trains_in_stages_saves_in_our_format(tiny, cli, caplog):
    caplog.set_level(logging.INFO)  # at which RaCT logs a message that can't be formatted
    stage = ("--model=RaCT", f"--dataset={tiny}", "--pretrain_epochs=1", "--save_step=1", "--metrics_k=5", *SHORT)
    assert cli(*stage).status == 0
    first = "--pre_model_path=saved/RaCT-tiny-1.pth"
    assert cli(*stage, "--train_stage=critic_pretrain", first).status == 0
    assert "Load pretrained model from saved/RaCT-tiny-1.pth" in caplog.messages


def test_runs_started_at_once_have_folders_of_their_own(tiny, cli):
    arguments = ("--model=Pop", f"--dataset={tiny}", *SHORT)
    assert run_folder(cli(*arguments)) != run_folder(cli(*arguments))


def test_a_run_is_not_written_over(tiny, cli):
    arguments = ("--model=Pop", f"--dataset={tiny}", "--run_name=mine", *SHORT)
    assert cli(*arguments).status == 0
    outcome = cli(*arguments)
    assert outcome.status == 2 and "run_name: saved/mine has a run already" in outcome.err
    assert cli(*arguments[:2], "--run_name=mine/2", *SHORT).status == 0 and Path("saved/mine/2/best.pth").exists()


class Malicious:
    def __reduce__(self):
        return (os.system, ("touch executed",))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"state_dict": x, "options": {}, "config": x}])
@pytest.mark.parametrize("write", [torch.save, lambda value, path: Path(path).write_bytes(pickle.dumps(value))])
def test_a_checkpoint_of_another_origin_is_refused_without_running_its_code(write, wrap, cli):
    write(wrap(Malicious()), "foreign.pth")
    with pytest.raises(ConfigError, match=r"foreign\.pth: not a checkpoint of recbole-cfgdiff"):
        load_data_and_model("foreign.pth")
    outcome = cli("--resume=foreign.pth")
    assert outcome.status == 2 and "Nothing in it was executed" in outcome.err
    assert not Path("executed").exists()


def test_options_in_a_checkpoint_are_not_run_either(tiny):
    result = run("CFGDiffRec", tiny, config_dict={"epochs": 1, "state": "ERROR"})
    state = checkpoint.load(Path(result["run_dir"]) / "best.pth")
    state["options"]["chosen_by"] = "__import__('os').system('touch executed')"
    Path("data.bin").write_bytes(pickle.dumps(Malicious()))
    state["options"].update(dataset_save_path="data.bin", dataloaders_save_path="data.bin")
    checkpoint.save(state, Path("changed.pth"))
    load_data_and_model("changed.pth")
    assert not Path("executed").exists()


def test_checkpoints_hold_plain_values_and_restore_them(empty_folder):
    state = {
        "array": np.arange(6.0).reshape(2, 3),
        "matrix": np.asmatrix([[1, 2]]),
        "sparse": scipy.sparse.lil_matrix(np.eye(3)),
        "number": np.float64(0.25),
        "nested": {"list": [1, (2, None)], 3: torch.ones(2, requires_grad=True)},
        "model": "M",
        "dataset": "D",
        "options": {},
        "state_dict": {},
        "other_parameter": {},
        "epoch": 1,
        "cur_step": 0,
        "best_valid_score": 0.5,
        "best_valid_result": None,
        "counters": {},
        "optimizers": {},
        "random_states": {},
        "loader_generator": torch.zeros(1),
    }
    checkpoint.save(state, empty_folder / "a.pth")
    restored = checkpoint.load(empty_folder / "a.pth")
    assert type(restored["array"]) is np.ndarray and (restored["array"] == state["array"]).all()
    assert type(restored["matrix"]) is np.matrix
    assert restored["sparse"].format == "lil" and (restored["sparse"] != state["sparse"]).nnz == 0
    assert restored["number"] == 0.25 and restored["nested"]["list"] == [1, [2, None]]
    assert torch.equal(restored["nested"][3], torch.ones(2))
    with pytest.raises(TypeError, match="plain values and tensors only, not module"):
        checkpoint.save({"module": os}, empty_folder / "b.pth")
    assert [path.name for path in empty_folder.glob("*.pth")] == ["a.pth"]


def test_guidance_scale_changes_the_scores_of_a_trained_model(tiny):
    result = run("CFGDiffRec", tiny, config_dict={"epochs": 2, "state": "ERROR"})
    _, model, dataset, *_ = load_data_and_model(Path(result["run_dir"]) / "best.pth")
    model.eval()
    users = {"user_id": torch.arange(dataset.user_num, device=model.device)}
    scores = {}
    with torch.no_grad():
        for scale in (0.0, 1.0, 2.0):
            model.guidance_scale = scale
            scores[scale] = model.full_sort_predict(users)
    assert not torch.allclose(scores[1.0], scores[0.0]) and not torch.allclose(scores[2.0], scores[1.0])
    # The padding user has no history: its scores are the unconditional ones at any scale.
    torch.testing.assert_close(scores[2.0][0], scores[0.0][0])


def test_a_final_fit_trains_a_fixed_number_of_epochs_and_is_tested_once(tiny, cli):
    files = "--config_files=properties/protocol/final_fit.yaml"
    outcome = cli("--model=CFGDiffRec", f"--dataset={tiny}", "--epochs=3", files, *SHORT)
    assert outcome.status == 0
    assert re.search(r"metric +test\n", outcome.out)
    assert checkpoint.load(run_folder(outcome) / "best.pth")["epoch"] == 2


def test_objective_function_returns_what_recboles_does(tiny):
    trial = objective_function({"model": "CFGDiffRec", "dataset": tiny, "epochs": 1, "state": "ERROR"}, saved=False)
    assert trial["model"] == "CFGDiffRec" and trial["valid_score_bigger"] is True
    assert trial["best_valid_score"] == trial["best_valid_result"]["ndcg@10"]
    assert set(trial["test_result"]) == set(trial["best_valid_result"])
    assert not list(Path("saved").glob("*"))


def test_t_diffrec_trains(tiny, cli):
    outcome = cli("--model=CFGDiffRec", f"--dataset={tiny}", "--epochs=1", "--time-aware=True", *SHORT)
    assert outcome.status == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--steps=1",),
        ("--noise_scale=0",),
        ("--mean_type=eps",),
        ("--sampling_steps=3", "--sampling_noise=True"),
        ("--dims_dnn=[20, 10]", "--norm=True", "--time_embedding=False", "--guidance_encoder=embedding"),
    ],
    ids=str,
)
def test_variants_train(options, tiny, cli):
    assert cli("--model=CFGDiffRec", f"--dataset={tiny}", "--epochs=1", *options, *SHORT).status == 0


def test_a_loss_that_is_not_finite_stops_training_and_keeps_the_best_checkpoint(tiny, cli, monkeypatch):
    losses = CFGDiffRec.losses
    calls = []

    def poisoned(self, *arguments):
        calls.append(1)
        return losses(self, *arguments) * (float("nan") if len(calls) > 2 else 1)

    monkeypatch.setattr(CFGDiffRec, "losses", poisoned)
    outcome = cli("--model=CFGDiffRec", f"--dataset={tiny}", "--epochs=5", *SHORT)
    assert outcome.status == 1
    kept = re.search(r"epoch 2: the training loss is nan; .* the best checkpoint so far is (\S+)", outcome.err).group(1)
    state = checkpoint.load(kept)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())


UNCHANGED = """
import sys
import recbole.quick_start, recbole.trainer
from recbole_cfgdiff.overlay.config import resolve_model

def members():
    found = {}
    for name, module in sys.modules.items():
        if name.split(".")[0] == "recbole":
            for key, value in vars(module).items():
                found[name, key] = value
                if isinstance(value, type) and value.__module__.startswith("recbole."):
                    found.update({(name, key, attribute): id(item) for attribute, item in vars(value).items()})
    return {key: item for key, item in found.items() if callable(item) or len(key) == 3}

resolve_model("DiffRec")
before = members()
from recbole_cfgdiff.commands.cli import run_main
assert run_main(sys.argv[1:]) == 0
after = members()
changed = [key for key in before if before[key] != after[key] and not str(key[-1]).startswith("__")]
assert len(before) > 1000 and not changed, changed
"""


def test_recbole_is_left_as_it_is(tiny):
    """No function, class or method of RecBole's is another one after a run."""
    command = [sys.executable, "-c", UNCHANGED, "--model=CFGDiffRec", f"--dataset={tiny}", "--epochs=1", *SHORT]
    environment = {**os.environ, "PYTHONPATH": search_path()}
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr


def test_loading_a_run_leaves_no_folder_of_tensorboard(tiny):
    folder = run("DiffRec", tiny, config_dict={"epochs": 1, "state": "ERROR"})["run_dir"]
    shutil.rmtree("log_tensorboard")
    load_data_and_model(folder)
    assert not Path("log_tensorboard").exists()
