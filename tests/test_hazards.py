"""Every place in RecBole's source that runs what an option or a file says, and why none is reached with others' words.

A RecBole that has more of them, or others, fails here first.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.foreign_options import FILES_OF_MODELS
from recbole_cfgdiff.overlay.hazards import check_files_of_model
from recbole_cfgdiff.properties import RECBOLE_ROOT

_RUNS_CODE = re.compile(
    r"(?<![.\w])(eval|exec|compile|__import__)\("
    r"|\b(pickle|cPickle|dill|joblib|marshal|shelve)\.(load|loads|open)\("
    r"|\b(torch|np|numpy)\.load\(|\bread_pickle\(|\byaml\.(load|unsafe_load|full_load)\("
    r"|\b(os\.system|os\.popen|subprocess\.\w+)\("
)

_LOADED_SAFELY = "torch >= 2.6 loads plain values only, unless told otherwise; refused in files of others"
_NOT_REACHED = "not reached: ours takes its place"
_WHY_SAFE = {
    ("config/configurator.py", "eval(param)"): "not reached: Config._convert_config_dict reads Python literals",
    ("config/configurator.py", "yaml.load("): "RecBole's own files only: others are read by yaml_files.read_yaml",
    ("data/dataset/dataset.py", "yaml.load("): "RecBole's own table of addresses",
    ("data/utils.py", "pickle.load(f)"): "not reached: loading.py makes the data set and finds no saved loaders",
    ("model/context_aware_recommender/kd_dagfm.py", "eval("): "hazards.check_hazards: one of two names",
    ("model/context_aware_recommender/kd_dagfm.py", "torch.load("): _LOADED_SAFELY,
    ("model/general_recommender/convncf.py", "torch.load("): _LOADED_SAFELY,
    (
        "model/general_recommender/ldiffrec.py",
        "np.load(",
    ): "hazards.check_files_of_model reads it first",
    ("model/general_recommender/nais.py", "torch.load("): _LOADED_SAFELY,
    ("model/general_recommender/neumf.py", "torch.load("): _LOADED_SAFELY,
    ("model/general_recommender/ract.py", "torch.load("): _LOADED_SAFELY,
    ("model/sequential_recommender/s3rec.py", "torch.load("): _LOADED_SAFELY,
    ("quick_start/quick_start.py", "torch.load("): _NOT_REACHED,
    ("trainer/hyper_tuning.py", "eval("): "not reached: search_space.py reads Python literals",
    ("trainer/trainer.py", "torch.load("): "not reached: trainer.py has its own checkpoints, read by checkpoint.load",
    ("trainer/trainer.py", "__import__("): "of a fixed name, in trainers of decision trees, which get_trainer refuses",
}


def found_in_recbole():
    for source in sorted(RECBOLE_ROOT.rglob("*.py")):
        for line in source.read_text(encoding="utf-8").splitlines():
            if _RUNS_CODE.search(line.partition("#")[0]):
                yield source.relative_to(RECBOLE_ROOT).as_posix(), line.strip()


def test_every_place_that_runs_code_is_known():
    found = set(found_in_recbole())
    unknown = [
        (file, line) for file, line in found if not any(file == known and part in line for known, part in _WHY_SAFE)
    ]
    gone = [place for place in _WHY_SAFE if not any(file == place[0] and place[1] in line for file, line in found)]
    assert not unknown and not gone


def test_every_option_that_names_a_file_to_load_is_known():
    """The options from which the arguments of torch.load come."""
    named = set()
    for source in (RECBOLE_ROOT / "model").rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        for argument in re.findall(r"torch\.load\(\s*([\w.\[\]\"']+)", text):
            attribute = argument.removeprefix("self.")
            direct = re.fullmatch(r"config\[[\"'](\w+)[\"']\]", argument)
            named.add(direct[1] if direct else re.search(rf"self\.{attribute}\s*=\s*config\[[\"'](\w+)", text)[1])
    assert named == set(FILES_OF_MODELS) - {"xgb_model"}


class Loaded:
    """A data set and a configuration of LDiffRec."""

    model_class = type("LDiffRec", (), {})

    def __init__(self, item_num):
        self.dataset_path, self.item_num = Path(), item_num

    def __getitem__(self, name):
        return {"n_cate": 2}[name]


class Payload:
    def __reduce__(self):
        return (Path("executed").touch, ())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([Payload(), None], dtype=object), "not a plain numpy array .*; nothing in it was executed"),
        (np.zeros((2, 4)), "expected a row of numbers for each of 3 items, found float64 .2, 4."),
        (np.array([["a"]] * 3), "expected a row of numbers"),
        (None, "needs the file item_emb.npy"),
    ],
    ids=["objects", "rows", "text", "missing"],
)
def test_embeddings_beside_the_data_are_numbers(array, message):
    if array is not None:
        np.save("item_emb.npy", array, allow_pickle=True)
    with pytest.raises(ConfigError, match=message):
        check_files_of_model(Loaded(4), Loaded(4))
    assert not Path("executed").exists()
    np.save("item_emb.npy", np.zeros((3, 2)))
    check_files_of_model(Loaded(4), Loaded(4))


def test_this_torch_loads_no_objects_unless_told_to():
    torch.save({"a": Payload()}, "a.pth")
    with pytest.raises(Exception, match="weights_only"):
        torch.load("a.pth")
    assert not Path("executed").exists()
