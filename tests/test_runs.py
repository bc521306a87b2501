"""What a run is, and when what is there is a run's: its options, its data, how its hyperparameters were chosen."""

from dataclasses import replace
from pathlib import Path

import pytest
from experiments import ranking_of_hits, record_of

from recbole_cfgdiff.commands.compare import parse_variants
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import write_json
from recbole_cfgdiff.runs.records import read_record
from recbole_cfgdiff.runs.spec import RECORD, TEST, make_folder, make_runs
from recbole_cfgdiff.runs.worker import train_and_test


def leave(run, status):
    """The record of a run, and its rankings."""
    record = {**record_of(run, 0.5), "data_hash": run.data_hash, "status": status}
    ranking_of_hits([1, 0]).save(run.folder(Path("out")) / TEST)
    write_json(run.folder(Path("out")) / RECORD, record)
    return record


def test_a_run_with_other_options_is_not_taken_for_this_one(tiny):
    (old,) = make_runs(parse_variants("DiffRec"), ["tiny"], 1)
    make_folder(old, old.folder(Path("out")))
    leave(old, "ended")
    assert read_record(old, Path("out"))["status"] == "ended"
    (new,) = make_runs(parse_variants("DiffRec"), ["tiny"], 1, options={"steps": 7})
    with pytest.raises(ConfigError, match=r"was run with other options \(steps\)"):
        read_record(new, Path("out"))
    # One that failed is simply run again, and nothing of it is left.
    leave(old, "failed")
    assert read_record(new, Path("out")) is None
    checkpoint = new.folder(Path("out")) / "checkpoint"
    checkpoint.mkdir()
    make_folder(old, old.folder(Path("out")))
    assert checkpoint.exists()
    make_folder(new, new.folder(Path("out")))
    assert not checkpoint.exists()


@pytest.mark.parametrize(("name", "other"), [("history_at_test", "train_and_valid"), ("sampler", "ddim")])
def test_a_run_of_before_an_option_is_as_one_with_its_default(name, other, tiny):
    (now,) = make_runs(parse_variants("DiffRec"), ["tiny"], 1)
    before = replace(now, options={key: value for key, value in now.options.items() if key != name})
    make_folder(before, before.folder(Path("out")))
    leave(before, "ended")
    assert read_record(now, Path("out"))["status"] == "ended"
    with pytest.raises(ConfigError, match=rf"was run with other options \({name}\)"):
        read_record(replace(now, options={**now.options, name: other}), Path("out"))


def test_a_run_on_other_data_is_not_taken_for_this_one(tiny):
    (old,) = make_runs(parse_variants("DiffRec"), ["tiny"], 1)
    make_folder(old, old.folder(Path("out")))
    record = leave(old, "ended")
    file = Path("dataset/tiny/tiny.inter")
    file.write_text(file.read_text() + "u0\ti0\t5\n")
    Path("dataset/tiny/tiny.inter.bak").mkdir()  # no part of the data
    (new,) = make_runs(parse_variants("DiffRec"), ["tiny"], 1)
    assert new.config_hash == old.config_hash and read_record(old, Path("out")) == record
    with pytest.raises(ConfigError, match="was run on other files of the data set tiny"):
        read_record(new, Path("out"))
    with pytest.raises(ConfigError, match="the files of the data set tiny have changed"):
        train_and_test(old, Path("elsewhere"))


def test_what_an_unfinished_run_left_is_kept_unless_the_data_differs(tiny):
    (run,) = make_runs(parse_variants("DiffRec"), ["tiny"], 1)
    checkpoint = run.folder(Path("out")) / "checkpoint"
    checkpoint.mkdir(parents=True)
    for before, now, is_kept in (("", "a", True), ("a", "a", True), ("a", "b", False)):
        make_folder(replace(run, data_hash=before), run.folder(Path("out")))
        checkpoint.mkdir(exist_ok=True)
        make_folder(replace(run, data_hash=now), run.folder(Path("out")))
        assert checkpoint.exists() == is_kept


def test_surroundings_are_not_part_of_the_hash_but_hyperparameters_are(tiny):
    def hash_of(**options):
        (made,) = make_runs(parse_variants("DiffRec"), ["tiny"], 1, options=options)
        return made.config_hash

    assert hash_of() == hash_of(state="ERROR", use_gpu=False) != hash_of(dropout_prob=0.4)


def test_how_hyperparameters_were_chosen(tiny):
    Path("mine.yaml").write_text("dropout_prob: 0.3\n")
    Path("where.yaml").write_text("data_path: dataset\ntopk: [5, 10]\n")
    Path("tuned.yaml").write_text("dropout_prob: 0.3\nchosen_by: 'tuned: 20 trials'\n")

    def told(models, config_files=(), **options):
        return [made.hyperparameters for made in make_runs(parse_variants(models), ["tiny"], 1, config_files, options)]

    assert told("DiffRec,DiffRec:mine.yaml,DiffRec:tuned.yaml") == [
        "shipped YAML",
        "given: mine.yaml",
        "tuned: 20 trials",
    ]
    assert told("DiffRec", ["where.yaml"], state="ERROR") == ["shipped YAML"]
    Path("quoted.yaml").write_text("{'dropout_prob': 0.4}\n")
    assert told("DiffRec:quoted.yaml") == ["given: quoted.yaml"]
    Path("dataset/tiny/tiny.yaml").write_text("learning_rate: 0.5\n")
    assert told("DiffRec") == ["given: tiny.yaml"]
    Path("dataset/tiny/tiny.yaml").unlink()
    assert told("DiffRec,Pop", steps=4, epochs=3) == ["given: epochs, steps", "given: epochs"]
