"""What depends on the device, as far as a machine without an accelerator can tell."""

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.overlay.restoring import load_model_state
from recbole_cfgdiff.runs import prepare as preparing
from recbole_cfgdiff.runs.prepare import prepare
from recbole_cfgdiff.scoring import histories as histories_module

QUIET = {"epochs": 1, "show_progress": False, "state": "ERROR"}
IN_A_GROUP = {"local_rank": 0, "world_size": 2, "nproc": 1, "offset": 0, "ip": "localhost", "port": "5678"}


def test_several_processes_need_a_device_each(tiny, cli, monkeypatch):
    arguments = ["--model=CFGDiffRec", f"--dataset={tiny}", "--nproc=2"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    outcome = cli(*arguments)
    told = "error: nproc 2: RecBole trains in several processes on CUDA only"
    assert outcome.status == 2 and outcome.err.strip().splitlines()[-1].startswith(told)
    assert "Traceback" not in outcome.err
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for gpu_id, n_devices in (("0,1", 1), ("0", 2)):
        monkeypatch.setattr("torch.cuda.device_count", lambda n=n_devices: n)
        outcome = cli(*arguments, f"--gpu_id={gpu_id}")
        assert outcome.status == 2 and "Traceback" not in outcome.err
        assert f"for each device that gpu_id names, got gpu_id {gpu_id!r} and 1 such here" in outcome.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="a group of processes can be joined where there is CUDA")
def test_a_mistake_in_one_of_several_processes_is_one_clear_line(tiny, cli, monkeypatch):
    """In a process of its own, which can't join a group without CUDA."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    outcome = cli("--model=DiffRec", f"--dataset={tiny}", "--world_size=1", f"--port={port}", "--state=ERROR")
    last_line = outcome.err.strip().splitlines()[-1]
    assert outcome.status == 2 and last_line.startswith("error: options: ") and "NCCL" in last_line
    assert "Traceback" not in outcome.err


def test_a_run_is_loaded_without_the_group_that_trained_it(tiny, monkeypatch):
    joined = []
    monkeypatch.setattr("torch.distributed.init_process_group", lambda **options: joined.append(options["rank"]))
    monkeypatch.setattr("torch.cuda.set_device", lambda _: None)
    config = Config("DiffRec", tiny, config_dict={**QUIET, **IN_A_GROUP})
    assert joined == [0] and not config["single_spec"]
    assert not set(IN_A_GROUP) & set(config.options)
    assert Config("DiffRec", tiny, config_dict=config.options)["single_spec"] and joined == [0]


def test_processes_wait_for_the_checkpoint_that_they_read(tiny, monkeypatch):
    prepared = prepare("DiffRec", tiny, None, QUIET)
    prepared.fit()
    best = Path(prepared.trainer.saved_model_file)
    best.unlink()
    there = []
    monkeypatch.setattr("torch.distributed.barrier", lambda: there.append(best.is_file()))
    prepared.config["single_spec"] = False
    prepared.trainer._save_checkpoint(0)
    assert there == [True]


def test_mixed_precision_scales_the_loss_on_cuda_only(tiny):
    trainer = prepare("DiffRec", tiny, None, {**QUIET, "enable_amp": True}).trainer
    trainer.device = torch.device("cpu")
    trainer.enable_scaler = False
    trainer._scale_small_gradients()
    assert not trainer.enable_scaler
    trainer.device = torch.device("cuda")
    trainer._scale_small_gradients()
    assert trainer.enable_scaler
    trainer.clip_grad_norm = {"max_norm": 5}
    with pytest.raises(ConfigError, match="clip_grad_norm: RecBole clips gradients while they are scaled up"):
        trainer._scale_small_gradients()


@pytest.mark.parametrize("option", [{"use_gpu": False}, {"gpu_id": ""}])
def test_without_a_gpu_the_device_is_the_cpu(option, tiny):
    config = Config("DiffRec", tiny, config_dict={**QUIET, **option})
    assert config["gpu_id"] == "" and config["device"] == torch.device("cpu")


def test_a_resumed_run_is_on_the_device_that_is_named(tiny, cli, monkeypatch):
    prepare("DiffRec", tiny, None, {**QUIET, "run_name": "first"}).fit()
    named = []

    class Recorded(Config):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            named.append(self["gpu_id"])

    monkeypatch.setattr(preparing, "Config", Recorded)
    assert cli("--resume=saved/first", "--epochs=2", "--gpu_id=7", "--state=ERROR").status == 0
    assert named and set(named) == {"7"}


def test_what_a_model_keeps_beside_its_weights_goes_to_its_device():
    kept = {}
    own = {"scores": torch.zeros(2), "step": 0}
    device = torch.device("meta")
    model = SimpleNamespace(device=device, state_dict=dict, load_state_dict=dict, other_parameter=lambda: own)
    model.load_other_parameter = kept.update
    state = {"state_dict": {}, "other_parameter": {"scores": torch.ones(2), "step": 3}}
    load_model_state(model, state, "best.pth")
    assert kept["scores"].device == model.device and kept["step"] == 3


def test_states_of_more_devices_than_there_are_can_be_restored(monkeypatch):
    set_to = []
    states = {**checkpoint.random_states(), "cuda": [torch.zeros(1), torch.ones(1)]}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.set_rng_state_all", set_to.extend)
    checkpoint.restore_random_states(states)
    assert len(set_to) == 1


def test_a_user_who_occurs_twice_is_not_cut_in_silence_on_an_accelerator(tiny, monkeypatch):
    histories = prepare("DiffRec", tiny, None, QUIET).trainer.model.histories
    longest = histories.counts().argmax()
    monkeypatch.setattr(histories_module, "_may_wait_for", lambda _: False)
    assert histories.select(longest[None]).counts() == histories.counts()[longest]
    with pytest.raises(RuntimeError, match="expected different ones"):
        histories.select(longest.repeat(60))
