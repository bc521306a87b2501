"""Hyperparameters of any model: which it has, of what kind, and what their defaults are.

RecBole's models declare theirs in RecBole's YAML files, but for a few rows here. Ours, and those of users, declare them
in a ``hyperparameters_class`` (``scoring/hyperparameters.py``), or in a YAML file in ``properties/model/``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from recbole.model.general_recommender.diffrec import DiffRec as RecBolesDiffRec

from recbole_cfgdiff.model import MODELS
from recbole_cfgdiff.options import ANYTHING, TEXT, Flag, Kind, Number, OrNone, Sizes, refused
from recbole_cfgdiff.overlay.options import OPTIONS
from recbole_cfgdiff.overlay.yaml_files import read_yaml
from recbole_cfgdiff.properties import PROPERTIES, RECBOLE_PROPERTIES, top_level_keys
from recbole_cfgdiff.scoring.hyperparameters import Row, rows

# What classes of RecBole's read and its YAML files do not declare; test_options.py compares it with their source.
_UNDECLARED: dict[str, dict[str, Kind]] = {
    "ContextRecommender": {"double_tower": OrNone(Flag())},
    "AutoInt": {"has_residual": OrNone(Flag())},
    "FEARec": {
        "contrast": OrNone(TEXT),
        "sim": OrNone(TEXT),
        "tau": OrNone(Number()),
        "use_filter": OrNone(Flag()),
    },
    "HRM": {"reg_weight": OrNone(Number())},
    "KD_DAGFM": {"cin": OrNone(Sizes())},
    "xgboost": {"xgb_early_stopping_rounds": ANYTHING},
}
# What RecBole has among the options of data sets, and a model that reads sequences declares.
_OF_SEQUENTIAL_MODELS = {"MAX_ITEM_LIST_LENGTH"}
# Declared as a number, and read as text or as True and False too (SASRecCPR, GRU4RecCPR).
_OF_SEVERAL_KINDS = ("reranker_CAN_NUM", "use_proj_bias")
_TYPES: dict[str, tuple[type, ...]] = {
    "True or False": (bool,),
    "a number": (int, float),
    "text": (str,),
    "a list": (list, tuple),
    "keys and values": (dict,),
}


def _type_of(value: Any) -> str:
    return next((told for told, types in _TYPES.items() if isinstance(value, types)), "")


@dataclass(frozen=True)
class Like:
    """Of the type of what is declared in a YAML file; RecBole itself does not check it."""

    declared: Any

    @property
    def expected(self) -> str:
        """As of ``Kind``."""
        return f"{_type_of(self.declared)}, such as {self.declared!r}"

    def read(self, name: str, value: Any) -> Any:
        """As of ``Kind``."""
        if isinstance(value, float) and not math.isfinite(value):
            raise refused(name, f"a finite number, such as {self.declared!r}", value)
        if _type_of(value) != _type_of(self.declared):
            raise refused(name, self.expected, value)
        if name.endswith("_size") and _type_of(value) == "a number" and value < 1:
            raise refused(name, f"at least 1, such as {self.declared!r}", value)
        return value


def _kind_like(name: str, declared: Any) -> Kind:
    return ANYTHING if declared is None or name in _OF_SEVERAL_KINDS else Like(declared)


def model_files(model_class: type) -> list[Path]:
    """The YAML files of a model and of the classes it derives from, in the order in which they apply."""
    files = [
        _file(folder, base) for base in reversed(model_class.__mro__) for folder in (RECBOLE_PROPERTIES, PROPERTIES)
    ]
    return [file for file in files if file.is_file()]


def _file(folder: Path, model_class: type) -> Path:
    is_recboles = folder is PROPERTIES and model_class is RecBolesDiffRec  # of which ours has the name
    return folder / "model" / f"{'RecBole' if is_recboles else ''}{model_class.__name__}.yaml"


def _content(folder: Path, model_class: type) -> dict[str, Any]:
    path = _file(folder, model_class)
    return read_yaml(path) if path.is_file() else {}


def _own_rows(model_class: type) -> list[Row]:
    """What the class itself declares, or gives another default."""
    declared = vars(model_class).get("hyperparameters_class")
    if declared is None:
        return []
    before = {row.name: row.default for row in rows(declared.__mro__[1])}
    return [row for row in rows(declared) if row.name not in before or before[row.name] != row.default]


def default_options(model_class: type) -> dict[str, Any]:
    """The hyperparameters of a model with their defaults, and other options that its files set. A class goes over those
    it derives from, RecBole's file under what it declares, and ours over both."""
    found: dict[str, Any] = {}
    for base in reversed(model_class.__mro__):
        found |= _content(RECBOLE_PROPERTIES, base)
        found |= {row.name: copy.deepcopy(row.default) for row in _own_rows(base)}
        found |= _content(PROPERTIES, base)
    return found


def _kinds_in_files(model_class: type) -> dict[str, Kind]:
    """By name, what RecBole's classes and the YAML files have."""
    found: dict[str, Kind] = {}
    for base in reversed(model_class.__mro__):
        found |= _UNDECLARED.get(base.__name__, {})
        found |= {name: _kind_like(name, value) for name, value in _content(RECBOLE_PROPERTIES, base).items()}
        found = {**dict.fromkeys(_content(PROPERTIES, base), ANYTHING), **found}
    return found


def declared_rows(model_class: type) -> list[Row]:
    """The rows of the model's ``hyperparameters_class``; none of a model without.

    Raises:
        TypeError: if one has the name of an option that every model has.
    """
    declared = getattr(model_class, "hyperparameters_class", None)
    if declared is None:
        return []
    found = rows(declared)
    if taken := sorted({row.name for row in found} & set(OPTIONS) - _OF_SEQUENTIAL_MODELS):
        raise TypeError(f"{declared.__name__}: {taken[0]} is an option of every run; choose another name")
    return found


def hyperparameter_names(model_class: type) -> set[str]:
    """Names of the options that are a model's own."""
    declared = {row.name for row in declared_rows(model_class)}
    undeclared = (_UNDECLARED.get(base.__name__, ()) for base in model_class.__mro__)
    return declared.union(*undeclared, *map(top_level_keys, model_files(model_class))) - set(OPTIONS)


def all_hyperparameter_names() -> set[str]:
    """Names of the options that are any model's own."""
    return _names_in_files() | {row.name for model in MODELS.values() for row in declared_rows(model)}


@lru_cache
def _names_in_files() -> set[str]:
    files = [*RECBOLE_PROPERTIES.glob("model/*.yaml"), *PROPERTIES.glob("model/*.yaml")]
    return set().union(*map(top_level_keys, files), *_UNDECLARED.values()) - set(OPTIONS)


def check_hyperparameters(options: Mapping[str, Any], model_class: type) -> None:
    """Check the hyperparameters of a model, before anything of it is made.

    Args:
        options: all options.
        model_class: the model.

    Raises:
        ConfigError: on a value of another kind than the declared one, or against a rule of the model's.
    """
    declared = {row.name for row in declared_rows(model_class)}
    if declared:
        model_class.hyperparameters_class.read(options)  # type: ignore[attr-defined]
    for name, kind in _kinds_in_files(model_class).items():
        if name in options and name not in declared:
            kind.read(name, options[name])
