"""Writes docs/options.md from the table of options and the models' hyperparameters: ``python docs/options.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_cfgdiff.model import MODELS
from recbole_cfgdiff.overlay import options
from recbole_cfgdiff.overlay.hyperparameters import declared_rows
from recbole_cfgdiff.overlay.options import Group, names_of
from recbole_cfgdiff.overlay.yaml_files import read_yaml
from recbole_cfgdiff.properties import PROPERTIES, RECBOLE_PROPERTIES

PAGE = Path(__file__).with_suffix(".md")
_HEAD = """# Options

Written by `python docs/options.py` from the rows in `recbole_cfgdiff/overlay/options.py` and
`recbole_cfgdiff/scoring/hyperparameters.py`; to change an option, change its row. An option is given as `--name=value`,
in a YAML file (`--config_files`) or in Python. A name that nothing reads, a value that is not what is expected, and
an option that would do nothing are errors. Hyperparameters of RecBole's models stand in RecBole's
`properties/model/`; a value has to be of the type that is declared there.
"""
_COLUMNS = "| option | expected | default | meaning |\n|---|---|---|---|"
_FILES = ("overall.yaml", "dataset/sample.yaml")


def page() -> str:
    """The text of docs/options.md."""
    return "\n".join([_HEAD, *_of_runs(), *_of_models()])


def _of_runs() -> Iterator[str]:
    defaults = _defaults()
    for group in Group:
        yield "\n\n".join([f"## {group.value}", *filter(None, [" ".join(_facts(group))]), _COLUMNS])
        for name in names_of(group):
            option = options.OPTIONS[name]
            ours = "" if option.source == "RecBole" else " Ours."
            yield _line(name, option.kind.expected, defaults.get(name, ""), option.meaning + ours)
        yield ""


def _of_models() -> Iterator[str]:
    for name, model in sorted(MODELS.items(), key=lambda each: len(each[1].__mro__)):
        base = model.__mro__[1]
        before = declared_rows(base)
        new = [row for row in declared_rows(model) if row not in before]
        if new:
            beside = [f"Beside those of {base.__name__}, or others than there."] if before else []
            yield "\n\n".join([f"## Hyperparameters of {name}", *beside, _COLUMNS])
            yield from (_line(row.name, row.kind.expected, row.default, row.comment) for row in new)
            yield ""


def _facts(group: Group) -> Iterator[str]:
    """What follows from the group."""
    (name, *_) = names_of(group)
    in_a_folder, in_a_checkpoint = name in options.IN_A_DATA_FOLDER, name in options.IN_A_CHECKPOINT
    if in_a_folder:
        yield "A data folder's `NAME.yaml` may set them."
    if not in_a_checkpoint:
        passed_over = name in options.PASSED_OVER_IN_A_CHECKPOINT
        yield f"In a checkpoint they are {'passed over' if passed_over else 'refused'}."
    if name in options.SAME_FOR_ALL_MODELS:
        yield "All models of an experiment have the same."
    if name in options.FIXED_AT_RESUME:
        yield "A run that is resumed keeps them."
    if name in options.SURROUNDINGS:
        yield "Runs of an experiment that differ in them alone have the same `config_hash`."


def _defaults() -> dict[str, Any]:
    return {
        name: value
        for file in _FILES
        for folder in (RECBOLE_PROPERTIES, PROPERTIES)
        for name, value in read_yaml(folder / file).items()
    }


def _line(name: str, expected: str, default: Any, meaning: str) -> str:
    told = "" if default == "" else f"`{default!r}`"
    return f"| `{name}` | {expected} | {told} | {meaning} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
