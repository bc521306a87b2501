"""The models' hyperparameters: declared once, checked before a network is built."""

from dataclasses import dataclass

import pytest
import yaml

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model import CFGDiffRec, DiffRec, ForwardCFGDiffRec, NextItemRidge, SeqCFGDiffRec
from recbole_cfgdiff.options import Integer
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.properties import PROPERTIES
from recbole_cfgdiff.scoring.hyperparameters import DiffRecHyperparameters, hyperparameter, rows, yaml_lines

MODELS = [DiffRec, CFGDiffRec, ForwardCFGDiffRec, NextItemRidge, SeqCFGDiffRec]
# What the files set beside hyperparameters.
SETTINGS = {"train_batch_size", "train_neg_sample_args", "learner"}


@pytest.mark.parametrize("model", MODELS)
def test_the_yaml_file_has_the_rows(model):
    text = (PROPERTIES / "model" / f"{model.__name__}.yaml").read_text(encoding="utf-8")
    expected = yaml_lines(model.hyperparameters_class)
    found = {name: line for line in text.splitlines() if (name := line.partition(":")[0]) in expected}
    assert found == expected
    assert set(yaml.safe_load(text)) - SETTINGS == set(expected)


@pytest.mark.parametrize("model", MODELS)
def test_they_are_read_from_a_configuration_and_from_defaults_alike(model):
    declared = model.hyperparameters_class
    assert declared.read(Config(model.__name__, "ml-1m-clean")) == declared()
    assert declared.read({row.name: row.default for row in rows(declared)}) == declared()
    assert all(row.meaning for row in rows(declared))


def test_values_are_of_their_kind():
    assert ForwardCFGDiffRec.hyperparameters_class().input_scale is None  # auto
    assert DiffRec.hyperparameters_class(noise_scale=1).noise_scale == 1.0
    with pytest.raises(ConfigError, match="time-aware: expected True or False, got 3"):
        DiffRec.hyperparameters_class(time_aware=3)
    with pytest.raises(ConfigError, match=r"sampling_steps: expected at most steps \(2\), got 3"):
        DiffRec.hyperparameters_class(steps=2, sampling_steps=3)
    with pytest.raises(ConfigError, match="mean_type: expected one of x0, got 'eps'"):
        ForwardCFGDiffRec.hyperparameters_class(mean_type="eps")


class Undecorated(DiffRecHyperparameters):
    mine: int = hyperparameter(1, Integer(1), "Mine.")


@dataclass(frozen=True)
class Plain(DiffRecHyperparameters):
    mine: int = 1


@dataclass(frozen=True)
class Taken(DiffRecHyperparameters):
    epochs: int = hyperparameter(3, Integer(1), "Mine.")


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        (Undecorated, r"Undecorated: mine is no field; decorate the class by @dataclass"),
        (Plain, r"Plain.mine: make the field by hyperparameter"),
        (Taken, r"Taken: epochs is an option of every run"),
    ],
)
def test_hyperparameters_declared_wrongly_are_told(declared, told, tiny):
    model = type("Mine", (DiffRec,), {"hyperparameters_class": declared})
    with pytest.raises(TypeError, match=told):
        Config(model, tiny)


def test_a_model_of_ones_own_is_told_where_to_declare_an_option(tiny):
    with pytest.raises(
        ConfigError, match=r"unknown option mine .*: nothing reads it; .* in Mine.hyperparameters_class"
    ):
        Config(type("Mine", (DiffRec,), {"__module__": "mine"}), tiny, config_dict={"mine": 1})
