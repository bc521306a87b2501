"""Searches by Ray Tune, on a Ray of this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from recbole_cfgdiff.commands import cli
from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.quick_start import run
from recbole_cfgdiff.runs.pool import available_cores
from recbole_cfgdiff.tuning import ray_trials
from recbole_cfgdiff.tuning.cluster import Cluster, connected, import_ray
from recbole_cfgdiff.tuning.tune import tune

pytest.importorskip("pyarrow", reason="Ray Tune needs it")

PATIENCE = 600  # seconds, for what takes ten where nothing else runs


def space_file(text):
    Path("space.hyper").write_text(text)
    return Path("space.hyper")


def results(number):
    """What a trial has reported, of all its processes."""
    paths = sorted(Path("out/ray").glob(f"*/trial-{number:03d}/result.json"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def kill_once_it_has_reported(number, times):
    """Kill a trial's process in the background, after so many validations."""

    def watch():
        deadline = time.monotonic() + PATIENCE
        while len(found := results(number)) < times and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(found[-1]["pid"], signal.SIGKILL)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_dead_worker_costs_its_trial_no_more_than_what_came_after_its_checkpoint(tiny):
    path = space_file("learning_rate choice [0.002]\n")
    options = {"epochs": 200, "stopping_step": 1000, "metric_decimal_place": 8}
    killer = kill_once_it_has_reported(1, times=15)
    score, test = tune("DiffRec", tiny, Path("out"), path, "exhaustive", None, (), options, Cluster())
    killer.join()
    reported = results(1)
    assert len({result["pid"] for result in reported}) == 2
    epochs = [result["epochs"] for result in reported]
    # One report a validation, and the last when the trial ended; what came after the checkpoint is done again.
    assert epochs == sorted(epochs) and len(epochs) - len(set(epochs)) - 1 <= 2
    # What is kept is the run's end and its best epoch, which came after the restart, as of an unbroken run.
    # (The kill may leave the checkpoint that was just being written.)
    kept = max(Path("out/ray/1/trial-001").glob("checkpoint_*/curve.csv"))
    curve = pd.read_csv(kept)
    assert list(curve["epoch"]) == list(range(200)) and curve["valid_score"].idxmax() > 20
    assert checkpoint.load(kept.parent / "checkpoint" / "best.pth")["epoch"] == curve["valid_score"].idxmax()
    again = run(config_file_list=["out/best.yaml"], config_dict={"show_progress": False})
    assert again["best_valid_score"] == score and again["test_result"] == pytest.approx(test)


def test_the_weights_of_another_score_are_not_tested(tiny, monkeypatch):
    monkeypatch.setattr(ray_trials, "load", lambda path: {"best_valid_result": {"ndcg@10": -1.0}})
    with pytest.raises(TrainingError, match=r"no weights of trial-001 have its ndcg@10"):
        tune("EASE", tiny, Path("out"), space_file("reg_weight choice [10]\n"), "exhaustive", cluster=Cluster())
    assert not Path("out/best.yaml").exists()


def start(*options):
    """A search as a process, of its own group."""
    command = [sys.executable, "-m", "recbole_cfgdiff", "tune", "--model=DiffRec", "--dataset=tiny", "--tool=ray"]
    command += ["--params_file=space.hyper", "--algo=exhaustive", "--output=out", *options]
    return command, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize(
    ("done", "number", "told"), [(0, signal.SIGINT, "interrupted"), (1, signal.SIGTERM, "SIGTERM")]
)
def test_an_interrupted_search_chooses_nothing(done, number, told, tiny):
    space_file("learning_rate choice [0.001, 0.002, 0.003, 0.004]\n")
    _, first = start("--epochs=300", "--stopping_step=1000")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(0.1)
        over = Path("out/trials.csv").is_file() and len(pd.read_csv("out/trials.csv"))
        if (over >= done) if done else results(1):
            break
    first.send_signal(number)
    _, err = first.communicate(timeout=PATIENCE)
    assert first.returncode == 128 + number and told in err.splitlines()[-1] and "Traceback" not in err
    assert not Path("out/best.yaml").exists()


def test_bad_trials_are_stopped_and_validation_decides_where_test_disagrees(contrary):
    path = space_file("learning_rate choice [0.01, 1.0e-8, 1.0e-7, 1.0e-6]\n")
    one_at_a_time = Cluster(cpus_per_trial=available_cores())
    options = {"epochs": 15, "seed": 1}
    score, test = tune("DiffRec", contrary, Path("out"), path, "exhaustive", None, (), options, one_at_a_time)
    trials = pd.read_csv("out/trials.csv").set_index("learning_rate")
    assert set(trials["status"]) == {"ended", "stopped"}
    assert (trials.loc[trials["status"] == "stopped", "epochs"] < 15).all()
    assert yaml.safe_load(Path("out/best.yaml").read_text())["learning_rate"] == 0.01
    other = run("DiffRec", contrary, None, {**options, "learning_rate": 1e-8, "show_progress": False})
    assert score > other["best_valid_score"] and test["ndcg@10"] < other["test_result"]["ndcg@10"]
    # No worker has looked at the test part.
    assert not any("test" in result for number in range(1, 5) for result in results(number))


def test_a_killed_search_goes_on_and_a_failed_trial_is_recorded(tiny):
    space_file("learning_rate choice [1.0e+30, 0.001, 0.002, 0.003]\n")
    command, first = start("--epochs=40")
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("[2/4]"):
            break
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    done = {number: results(number) for number in range(1, 5)}
    ended = [number for number, reported in done.items() if reported and reported[-1]["status"] != "stopped"]
    for path in Path("out/ray/1").rglob("*.pkl"):  # Ray's, which somebody else may have written
        path.write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    trials = pd.read_csv("out/trials.csv")
    assert sorted(trials["trial"]) == [1, 2, 3, 4] and trials["learning_rate"].nunique() == 4
    assert "the training loss is" in trials.set_index("learning_rate").loc[1e30, "error"]
    assert len(ended) >= 2 and all(results(number) == done[number] for number in ended)
    assert "Traceback" not in second.stderr and not Path("ran").exists()
    assert {path.name for path in Path("out/ray").iterdir()} == {"1", "2"}
    # Done once more, it takes everything from what was written down.
    table = Path("out/trials.csv").read_bytes()
    third = subprocess.run(command, capture_output=True, text=True, check=True)
    assert Path("out/trials.csv").read_bytes() == table
    assert third.stdout.splitlines()[-2:] == second.stdout.splitlines()[-2:]


def test_an_interrupted_trial_goes_on_from_its_checkpoint(tiny):
    space_file("learning_rate choice [0.002]\n")
    command, first = start("--epochs=300", "--stopping_step=1000")
    deadline = time.monotonic() + PATIENCE
    while len(results(1)) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    subprocess.run(command, capture_output=True, check=True)
    again = [json.loads(line)["epochs"] for line in Path("out/ray/2/trial-001/result.json").read_text().splitlines()]
    # The worker may have gone on for a moment, and Ray have noted less than what its checkpoints have.
    before = len(pd.read_csv(max(Path("out/ray/1/trial-001").glob("checkpoint_*/curve.csv"))))
    assert 15 < again[0] <= before + 1 and again[-1] == 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address=127.0.0.1:1"], "nothing answers at 127.0.0.1:1"),
        (["--address=127.0.0.1:99999"], "nothing answers at 127.0.0.1:99999"),
        (["--address=somewhere"], "expected HOST:PORT or auto"),
        (["--address=ray://127.0.0.1:1"], "expected HOST:PORT or auto"),
        (["--address=auto"], "no Ray cluster at auto"),
        (["--cpus-per-trial=0"], "cpus_per_trial: expected at least 1, got 0"),
        (["--gpus-per-trial=-1"], "gpus_per_trial: expected a fraction of one or a whole number, got -1"),
        (["--gpus-per-trial=nan"], "gpus_per_trial: expected a fraction of one or a whole number, got nan"),
        (["--gpus-per-trial=1.5"], "gpus_per_trial: expected a fraction of one or a whole number, got 1.5"),
        (["--tool=dask"], "tool: expected optuna or ray, got dask"),
        (["--tool=optuna", "--cpus-per-trial=2"], "are options of --tool=ray"),
    ],
)
def test_mistakes_are_told_quickly(arguments, message, tiny, capfd):
    space_file("learning_rate choice [0.001]\n")
    base = {"--model": "DiffRec", "--dataset": tiny, "--params_file": "space.hyper", "--tool": "ray", "--output": "out"}
    given = base | dict(argument.split("=") for argument in arguments)
    started = time.monotonic()
    assert cli.main(["tune", *(f"{name}={value}" for name, value in given.items())]) == 2
    assert time.monotonic() - started < 30
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("out").exists()


def test_another_server_than_rays_is_told_quickly():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"what answers at .* is no Ray cluster"), connected(Cluster(address)):
            pass


def test_a_trial_that_fits_nowhere_is_told():
    with pytest.raises(ConfigError, match="the machine with most has"), connected(Cluster(cpus_per_trial=10_000)):
        pass


def test_without_ray_tunes_packages_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.tune", None)
    with pytest.raises(ConfigError, match=r"recbole-cfgdiff\[ray\]"):
        import_ray()
