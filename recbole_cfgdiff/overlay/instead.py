"""What someone is told who asks RecBole itself for one of our models, which it can neither configure nor train."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from recbole_cfgdiff.errors import ConfigError

_MODELS = ("CFGDiffRec", "ForwardCFGDiffRec", "RecBoleDiffRec")  # RecBole has a DiffRec of its own


class _Instead(ModuleType):
    """In the place where RecBole looks for a model's module."""

    def __getattr__(self, name: str) -> Any:
        if name in _MODELS:
            raise ConfigError(
                f"{name} is a model of recbole_cfgdiff, which RecBole alone can't run: take run_recbole, "
                "objective_function and load_data_and_model of recbole_cfgdiff.quick_start, which have RecBole's "
                "signatures"
            )
        raise AttributeError(name)


def tell_recbole_callers() -> None:
    """Let ``recbole.quick_start.run_recbole(model="CFGDiffRec")`` say what takes its place."""
    for model in _MODELS:
        name = f"recbole.model.general_recommender.{model.lower()}"
        module = _Instead(name)
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = module
