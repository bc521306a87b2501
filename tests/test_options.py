"""The table of options has all that RecBole reads, and what follows from it is what it should be."""

import ast
import inspect
import runpy
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
import recbole.model.abstract_recommender
from recbole.model.general_recommender import BPR
from recbole.utils import argument_list

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model import MODELS, CFGDiffRec
from recbole_cfgdiff.options import Choice, Form, Integer, Kind, Number, OrNone, Word, is_list_of_text
from recbole_cfgdiff.overlay import hyperparameters, options
from recbole_cfgdiff.overlay.config import Config, resolve_model
from recbole_cfgdiff.overlay.foreign_options import check_data_options, options_of_checkpoint
from recbole_cfgdiff.overlay.hyperparameters import hyperparameter_names
from recbole_cfgdiff.overlay.options import OPTIONS, Group, names_of
from recbole_cfgdiff.properties import PACKAGE_ROOT, PROPERTIES, RECBOLE_PROPERTIES, RECBOLE_ROOT, top_level_keys
from recbole_cfgdiff.scoring.hyperparameters import CFGDiffRecHyperparameters, Hyperparameters, changed, hyperparameter

# Read of a configuration by name, and no option: parts of eval_args, ranges of a search.
_NO_OPTIONS = {"train", "valid", "test", "choice", "uniform", "loguniform", "quniform"}


def names_read(source):
    """By code such as config["name"], config.get("name") and "name" in config; but what it sets itself is no option."""
    read, written = set(), set()
    for node in ast.walk(ast.parse(textwrap.dedent(source))):
        if isinstance(node, ast.Subscript):
            owner, key = node.value, node.slice
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "get"
            and node.args
        ):
            owner, key = node.func.value, node.args[0]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            owner, key = node.comparators[0], node.left
        else:
            continue
        name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
        if name.endswith(("config", "config_dict")) and isinstance(key, ast.Constant) and isinstance(key.value, str):
            (written if isinstance(getattr(node, "ctx", None), ast.Store) else read).add(key.value)
    return read - written


def names_read_by(model):
    """By a model of RecBole's: in the modules of its classes, but of the shared module in its own classes only."""
    shared = recbole.model.abstract_recommender
    for base in model.__mro__:
        if base.__module__.startswith("recbole."):
            yield from names_read(
                inspect.getsource(base if base.__module__ == shared.__name__ else inspect.getmodule(base))
            )


def models_of_recbole():
    for path in sorted((RECBOLE_PROPERTIES / "model").glob("*.yaml")):
        try:
            yield resolve_model("RecBoleDiffRec" if path.stem == "DiffRec" else path.stem)
        except ConfigError:  # of a package that is not here
            continue


def test_the_table_has_every_option_that_recbole_names():
    lists = set().union(*(value for value in vars(argument_list).values() if isinstance(value, list)))
    files = [
        *RECBOLE_PROPERTIES.glob("*.yaml"),
        *(file for file in RECBOLE_PROPERTIES.glob("dataset/*.yaml") if not file.stem.endswith("url")),
        *RECBOLE_PROPERTIES.glob("quick_start_config/*.yaml"),
        *(file for file in PROPERTIES.rglob("*.yaml") if file.parent.name not in ("model", "paper")),
    ]
    assert len(files) > 10
    assert not set().union(lists, *map(top_level_keys, files)) - set(OPTIONS)


def test_the_table_has_every_option_that_recboles_code_reads_outside_of_models():
    sources = [path for path in RECBOLE_ROOT.rglob("*.py") if path.relative_to(RECBOLE_ROOT).parts[0] != "model"]
    read = {name for path in sources for name in names_read(path.read_text(encoding="utf-8"))}
    known = {*OPTIONS, *_NO_OPTIONS, *hyperparameters.all_hyperparameter_names()}
    assert {"epochs", "tail_ratio", "encoding"} <= read and not read - known


def test_every_hyperparameter_that_a_model_of_recboles_reads_is_known():
    found = 0
    for model in models_of_recbole():
        read = set(names_read_by(model))
        assert not read - set(OPTIONS) - hyperparameter_names(model), model
        found += 1
    assert found > 80


def test_what_is_declared_for_recbole_is_read_there_and_not_in_its_files():
    by_name = {base.__name__: base for model in models_of_recbole() for base in model.__mro__}
    for name, kinds in hyperparameters._UNDECLARED.items():
        file = RECBOLE_PROPERTIES / "model" / f"{name}.yaml"
        assert not file.is_file() or not set(kinds) & top_level_keys(file)
        if name in by_name:
            assert set(kinds) <= set(names_read_by(by_name[name]))


def test_each_option_has_one_row_that_its_default_fits():
    rows = [option for group in options._TABLE.values() for option in group]
    assert len(rows) == len(OPTIONS) and set(options._TABLE) == set(Group)
    for model in (*MODELS, "SASRec", "Pop", "FM"):
        config = Config(model, "ml-100k", config_dict={} if model != "SASRec" else {"train_neg_sample_args": None})
        assert config.options


def test_files_of_others_set_nothing_that_is_the_users():
    users = {
        "checkpoint_dir",
        "dataset_save_path",
        "config_file",
        "log_wandb",
        "nproc",
        "model",
        "device",
        "MODEL_TYPE",
    }
    assert users <= set(OPTIONS)
    assert not users & {*options.IN_A_DATA_FOLDER, *options.IN_A_CHECKPOINT}
    assert not {"seed", "gpu_id", "data_path", "resume", "run_name"} & set(options.IN_A_DATA_FOLDER)


def test_what_identifies_a_run_is_not_where_it_is_made():
    assert {"data_path", "gpu_id", "checkpoint_dir", "seed"} <= options.SURROUNDINGS
    assert not options.SURROUNDINGS & {*options.SAME_FOR_ALL_MODELS, *names_of(Group.TRAINING)}
    assert {"seed", "repeatable", "eval_args", "heldout_seed", "load_col"} <= set(options.FIXED_AT_RESUME)


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (Integer(0, 256), 257, "expected at most 256, got 257"),
        (Integer(0, 256), True, "expected an integer of at least 0, got True"),
        (Integer(0, 2**32 - 1), 2**32, r"expected an integer below 2\^32"),
        (Integer(None), "a", "expected an integer, got 'a'"),
        (Choice((None, True)), 1, "expected one of None, True, got 1"),
        (Word(("adam", "sgd")), ["adam"], "expected one of adam, sgd, got"),
        (OrNone(Number(0)), -1, "expected a finite number of at least 0, got -1"),
        (Form("such as ['a']", is_list_of_text), [""], r"expected such as \['a'\], got \[''\]"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_kinds_refuse_what_is_of_another(kind, value, told):
    with pytest.raises(ConfigError, match=f"it: {told}"):
        kind.read("it", value)


def test_kinds_read_what_is_theirs():
    cases: list[tuple[Kind, object, object]] = [
        (Integer(None), -3, -3),
        (Word(("INFO",)), "info", "INFO"),
        (OrNone(Number()), None, None),
        (Form("", is_list_of_text), [], []),
    ]
    assert [kind.read("it", value) for kind, value, _ in cases] == [expected for *_, expected in cases]
    assert Integer(0, 2**32 - 1).expected == "an integer of at least 0, below 2^32"
    assert Integer(0, 256).expected == "an integer of at least 0, at most 256"


@dataclass(frozen=True)
class OwnHyperparameters(CFGDiffRecHyperparameters):
    own: int = hyperparameter(2, Integer(1), "One of a user's own.")
    steps: int = changed(CFGDiffRecHyperparameters, "steps", 3)

    def check(self):
        super().check()
        if self.own > self.steps:
            raise ConfigError(f"own: expected at most steps, got {self.own}")


class Own(CFGDiffRec):
    """A user's model, without a YAML file."""

    hyperparameters_class = OwnHyperparameters


@dataclass(frozen=True)
class OwnOfRecboles(Hyperparameters):
    margin: float = hyperparameter(0.5, Number(0), "One of a user's own.")


class OwnBPR(BPR):
    hyperparameters_class = OwnOfRecboles


def test_a_users_model_has_the_hyperparameters_that_it_declares():
    config = Config(Own, "ml-100k", config_dict={"own": "1"})
    assert (config["own"], config["steps"], config["p_uncond"], config["train_batch_size"]) == (1, 3, 0.2, 400)
    config = Config(OwnBPR, "ml-100k", config_dict={"embedding_size": 8})
    assert (config["margin"], config["embedding_size"]) == (0.5, 8)
    for model, given, told in (
        (Own, {"own": 0}, "own: expected an integer of at least 1, got 0"),
        (Own, {"own": 4}, "own: expected at most steps, got 4"),
        (Own, {"onw": 1}, r"unknown option onw \(did you mean own\?\)"),
        (OwnBPR, {"margin": "wide"}, "margin: expected a finite number of at least 0, got 'wide'"),
        (OwnBPR, {"embedding_size": 0}, "embedding_size: expected at least 1, such as 64, got 0"),
    ):
        with pytest.raises(ConfigError, match=told):
            Config(model, "ml-100k", config_dict=given)


def test_files_of_others_may_set_what_a_users_model_declares():
    path = Path("it.pth")
    path.touch()
    check_data_options({"own": 2}, Own, "it.yaml")
    assert options_of_checkpoint({"margin": 1.0, "seed": 3, "log_wandb": True}, OwnBPR, path) == {
        "margin": 1.0,
        "seed": 3,
    }
    with pytest.raises(ConfigError, match="refused, it sets own;"):
        options_of_checkpoint({"own": 2}, OwnBPR, path)


def test_a_users_model_may_have_a_yaml_file(monkeypatch):
    (Path("properties") / "model").mkdir(parents=True)
    Path("properties/model/OwnBPR.yaml").write_text("temperature: 0.2\nmargin: 0.7\n")
    Path("properties/overall.yaml").write_text("")
    hyperparameters.all_hyperparameter_names()  # which keeps what is in the files, here not of another folder
    monkeypatch.setattr(hyperparameters, "PROPERTIES", Path("properties").resolve())
    config = Config(OwnBPR, "ml-100k", config_dict={"temperature": 0.3})
    assert (config["temperature"], config["margin"]) == (0.3, 0.7)
    assert "temperature" in hyperparameter_names(OwnBPR)


def test_the_page_of_options_is_up_to_date():
    docs = PACKAGE_ROOT.parent / "docs"
    written = runpy.run_path(str(docs / "options.py"))["page"]()
    assert (docs / "options.md").read_text(encoding="utf-8") == written, "run python docs/options.py"


@pytest.mark.parametrize("model", ["RecBoleDiffRec", "LDiffRec"])
def test_recboles_diffrec_has_our_settings_and_no_option_that_it_never_reads(model):
    config = Config(model, "ml-100k", config_dict={"sampler": "ddim", "input_scale": "auto", "dropout_prob": 0.1})
    assert config.unread_options == ["dropout_prob", "input_scale", "sampler"]
    settings = ("train_batch_size", "train_neg_sample_args", "norm", "dims_dnn", "noise_scale")
    of_ours = Config("DiffRec", "ml-100k")
    scale = 0.1 if model == "LDiffRec" else 0.001  # as RecBole's file says
    assert [config[name] for name in settings] == [*(of_ours[name] for name in settings[:-1]), scale]
