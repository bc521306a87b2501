"""Damaged files of runs: told, and the run done again; nothing in them runs, nothing is read that is too large."""

import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import ranking_of_hits, record_of, write_run

from recbole_cfgdiff.commands.compare import parse_variants
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.evaluation.rankings import Ranking
from recbole_cfgdiff.files import write_json
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.reporting.outputs import OutputFolder
from recbole_cfgdiff.runs import pool
from recbole_cfgdiff.runs.data_sets import DataSets
from recbole_cfgdiff.runs.pool import record_or_none
from recbole_cfgdiff.runs.records import write_record
from recbole_cfgdiff.runs.spec import CURVE, RECORD, SPEC, SWEEP, TEST, make_folder, make_runs, read_spec
from recbole_cfgdiff.runs.worker import train_and_test


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path, "A", 2020, [1, 0, 1])


def is_told(run, output, name):
    """Whether the run has to be done again, and one line names the file and what it is."""
    lines = []
    is_damaged = record_or_none(run, output, lines.append) is None
    if is_damaged:
        assert len(lines) == 1 and "\n" not in lines[0]
        assert str(run.folder(output) / name) in lines[0] and "A on toy, seed 2020 is done again" in lines[0]
    return is_damaged


def test_an_undamaged_run_is_taken_as_it_is(run, tmp_path):
    assert not is_told(run, tmp_path, RECORD)


@pytest.mark.parametrize(
    "content",
    ["", "{", "{}", "[]", "null", "1", '"ended"', "[" * 100_000, "\x00", '{"status": "ended"}', '{"status": []}'],
)
def test_a_record_that_is_none_is_told(content, run, tmp_path):
    (run.folder(tmp_path) / RECORD).write_text(content)
    assert is_told(run, tmp_path, RECORD)


NEEDED = ("dataset", "model", "seed", "config_hash", "status", "valid", "test", "beyond_accuracy")
NEEDED += ("training_seconds", "inference_seconds", "epochs", "valid_metric")


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -1, [], {}, "x", {"a": "b"}, 10**400])
def test_a_value_of_another_kind_is_told(name, value, run, tmp_path):
    record = {**record_of(run, 0.5), name: value}
    write_json(run.folder(tmp_path) / RECORD, record)
    if name == "valid" and value == {}:
        (run.folder(tmp_path) / SWEEP).unlink()  # a run that was never validated
        assert not is_told(run, tmp_path, RECORD)
    else:
        assert is_told(run, tmp_path, RECORD)


def test_a_figure_that_is_not_as_it_was_written_is_told(run, tmp_path):
    folder = run.folder(tmp_path)
    write_record(folder, record_of(run, 0.5))
    assert not is_told(run, tmp_path, RECORD)
    text = (folder / RECORD).read_text()
    (folder / RECORD).write_text(text.replace('"recall@1": 0.5', '"recall@1": 0.6'))
    assert is_told(run, tmp_path, RECORD)
    (folder / RECORD).write_text(text)
    for name in (TEST, CURVE, SWEEP):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before[:-3] + bytes([before[-3] ^ 1]) + before[-2:])
        assert is_told(run, tmp_path, name)
        (folder / name).write_bytes(before)
    assert not is_told(run, tmp_path, RECORD)


@pytest.mark.parametrize("name", [RECORD, TEST, CURVE, SWEEP])
def test_a_folder_in_place_of_a_file_is_told_and_removed(name, run, tmp_path):
    path = run.folder(tmp_path) / name
    path.unlink()
    path.mkdir()
    assert is_told(run, tmp_path, name)
    make_folder(run, run.folder(tmp_path))
    assert not path.is_dir()


def arrays_with(**changed):
    return {**ranking_of_hits([1, 0, 1])._asdict(), **changed}


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"users": np.arange(3)},
        arrays_with(more=np.zeros(1)),
        arrays_with(users=np.array([{}, {}, {}], dtype=object)),
        arrays_with(users=np.array(["a"] * 4)),
        arrays_with(items=np.array([[1, 2], [1, 2], [1, 5]])),
        arrays_with(items=np.array([[1, 2], [1, 2], [1, -1]])),
        arrays_with(items=np.array([1, 2, 3])),
        arrays_with(items=np.array([[1], [1], [1]])),
        arrays_with(items=np.array([[1.0, 2], [1, 2], [1, 2]])),
        arrays_with(target_rows=np.array([0, 1, 3])),
        arrays_with(target_rows=np.array([0, 1, 2**63], dtype=np.uint64)),
        arrays_with(target_items=np.array([0, 1, 1])),
        arrays_with(target_items=np.array([1, 1])),
        arrays_with(n_targets=np.array([1, 1, 0])),
        arrays_with(history_length=np.array([1, -1, 0])),
        arrays_with(item_counts=np.zeros((5, 1), dtype=int)),
        arrays_with(n_users=np.array(0)),
        arrays_with(n_users=np.array([3])),
    ],
)
def test_rankings_that_can_not_be_are_told(arrays, run, tmp_path):
    path = run.folder(tmp_path) / TEST
    np.savez_compressed(path, **arrays)
    assert is_told(run, tmp_path, TEST)


def test_a_cut_file_of_rankings_is_told(run, tmp_path):
    path = run.folder(tmp_path) / TEST
    content = path.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert is_told(run, tmp_path, TEST)
    path.unlink()
    assert is_told(run, tmp_path, TEST)


def test_rankings_that_unpack_to_more_than_they_say_or_may_are_not_read(tmp_path, monkeypatch):
    ranking_of_hits([1, 0]).save(tmp_path / "good.npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (2**32,)})
    with zipfile.ZipFile(tmp_path / "good.npz") as good, zipfile.ZipFile(tmp_path / "bomb.npz", "w") as bomb:
        for name in good.namelist():
            bomb.writestr(name, header.getvalue() if name == "target_rows.npy" else good.read(name))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ConfigError, match=r"bomb.npz: damaged.*(length|size)"):
        Ranking.load(tmp_path / "bomb.npz")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "epoch,seconds\n0,1\n",
        "epoch,seconds,train_loss,valid_score\n0,x,9.0,0.1\n",
        "epoch,seconds,train_loss,valid_score\n1,1,1,1\n0,2,1,1\n",
        "epoch,seconds,train_loss,valid_score\n0.5,1,1,1\n",
        "epoch,seconds,train_loss,valid_score\n0,-1,1,1\n",
        "epoch,seconds,train_loss,valid_score\n0,inf,1,1\n",
        "\x00\x00\x00",
    ],
)
def test_a_curve_that_is_none_is_told(text, run, tmp_path):
    (run.folder(tmp_path) / CURVE).write_text(text)
    assert is_told(run, tmp_path, CURVE)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.iloc[1:],
        lambda table: table.drop(columns="novelty@2"),
        lambda table: table.assign(part="other"),
        lambda table: table.assign(guidance_scale=[0, 1, 0, 2]),
        lambda table: table.assign(**{"recall@2": "x"}),
        lambda table: table.assign(**{"recall@2": np.nan}),
    ],
)
def test_a_sweep_that_is_none_is_told(change, run, tmp_path):
    path = run.folder(tmp_path) / SWEEP
    change(pd.read_csv(path)).to_csv(path, index=False)
    assert is_told(run, tmp_path, SWEEP)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"label": 1}', "{"])
def test_of_a_damaged_spec_nothing_is_kept_but_of_a_record_all(content, run, tmp_path):
    folder = run.folder(tmp_path)
    (folder / SPEC).write_text(content)
    assert not is_told(run, tmp_path, RECORD)
    make_folder(run, folder)
    assert read_spec(folder) == run and not (folder / TEST).exists()


@pytest.mark.parametrize("content", ["", "[]", "1", "{"])
def test_a_damaged_identity_is_told_and_may_be_removed(content, run, tmp_path):
    path = tmp_path / "experiment.json"
    path.write_text(content)
    with (
        pytest.raises(ConfigError, match=r"experiment.json is damaged: .*remove that file"),
        OutputFolder(tmp_path, {}),
    ):
        pass
    path.unlink()
    with OutputFolder(tmp_path, {"command": "compare"}):
        assert json.loads(path.read_text()) == {"command": "compare"}
    assert (run.folder(tmp_path) / RECORD).is_file()


def interrupt(curve):
    if curve.epochs == 3:
        raise KeyboardInterrupt


@pytest.fixture
def interrupted(tiny):
    """A run that was interrupted after three of its six epochs; an output folder."""
    options = {"epochs": 6, "stopping_step": 10}
    run, other = make_runs(parse_variants("DiffRec"), ["tiny"], 2, options=options)
    for each in (run, other):
        make_folder(each, each.folder(Path("out").resolve()))
        with pytest.raises(KeyboardInterrupt):
            train_and_test(each, each.folder(Path("out").resolve()), interrupt)
    return run, other, Path("out").resolve()


def test_a_damaged_checkpoint_is_told_and_the_run_starts_again(interrupted):
    run, other, output = interrupted
    folder = run.folder(output)
    kept = shutil.copytree(folder, "kept")
    said = []
    record = train_and_test(run, folder, say=said.append)
    assert said == [] and record["epochs"] == 6  # undamaged it goes on

    def cut(path):
        path.write_bytes(path.read_bytes()[:1000])

    def of_another_run(path):
        shutil.copy(other.folder(output) / "checkpoint" / path.name, path)

    def of_other_shapes(path):
        state = checkpoint.load(path)
        checkpoint.save({**state, "state_dict": {}}, path)

    damages = [("last.pth", cut), ("best.pth", cut), ("last.pth", of_another_run), ("best.pth", of_another_run)]
    damages += [("last.pth", of_other_shapes), ("best.pth", Path.unlink)]
    for name, damage in damages:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        damage(folder / "checkpoint" / name)
        said.clear()
        again = train_and_test(run, folder, say=said.append)
        assert len(said) == 1 and name in said[0] and "the run starts again from the beginning" in said[0]
        assert again["test"] == record["test"] and again["epochs"] == 6
        assert pd.read_csv(folder / CURVE)["epoch"].tolist() == list(range(6))
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    (folder / CURVE).write_text("epoch,sec")
    assert train_and_test(run, folder, say=said.append)["test"] == record["test"] and "curve.csv" in said[-1]


def test_what_a_worker_tells_is_said(interrupted):
    run, _, output = interrupted
    path = run.folder(output) / "checkpoint" / "last.pth"
    path.write_bytes(path.read_bytes()[:1000])
    lines = []
    pool.run_missing([run], output, 1, lines.append, DataSets())
    (told,) = (line for line in lines if "starts again" in line)
    assert told.startswith(f"DiffRec on tiny, seed 2020: checkpoint {path}")
    assert lines[-1].startswith("[1/1] DiffRec on tiny, seed 2020: ended")
    assert {each.name for each in path.parent.iterdir()} == {"best.pth"}


def test_a_metric_that_is_no_number_fails_the_run(interrupted, monkeypatch):
    run, _, output = interrupted
    from recbole_cfgdiff.runs import worker

    test = worker.Prepared.test
    monkeypatch.setattr(worker.Prepared, "test", lambda self: {**test(self), "ndcg@10": float("nan")})
    record = worker.attempt(replace(run, seed=5), output / "new")
    assert record["status"] == "failed" and "ndcg@10 is nan" in record["error"]
