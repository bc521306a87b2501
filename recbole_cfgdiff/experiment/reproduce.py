"""The paper's Tables II and III beside ours, by the same protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from recbole_cfgdiff.errors import ConfigError, nearest
from recbole_cfgdiff.experiment.outputs import OutputFolder
from recbole_cfgdiff.experiment.pool import run_missing
from recbole_cfgdiff.experiment.runs import Run, Variant, make_runs
from recbole_cfgdiff.properties import PROPERTIES

PAPER = PROPERTIES / "paper"
TABLES = {2: PAPER / "table2.csv", 3: PAPER / "table3.csv"}
PROTOCOL = "properties/protocol/heldout_users.yaml"
GUIDANCE_SCALES = (0.0, 0.5, 1.0, 2.0)

_CONVERT = {
    2: "convert diffrec ARCHIVE --name={name}, of the DiffRec authors' split",
    3: "convert amazon FILE --name={name}",
}


class Settings(NamedTuple):
    """Hyperparameters that all models of one table share: DiffRec's, so that guidance is the only difference."""

    name: str
    config_file: str


def paper_table(table: int, setting: str) -> pd.DataFrame:
    """The paper's figures.

    Returns:
        ``metric`` (such as ``ndcg@10``), ``original`` and ``ours`` in percent, ``bold`` (whether ours is, there).

    Raises:
        ConfigError: on an unknown table or setting.
    """
    if table not in TABLES:
        raise ConfigError(f"table: expected 2 or 3, got {table}")
    figures = pd.read_csv(TABLES[table])
    known = list(figures["setting"].unique())
    if setting not in known:
        similar = nearest(setting, known)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        raise ConfigError(f"setting: table {table} has {', '.join(known)}, not {setting}{hint}")
    figures = figures[figures["setting"] == setting].copy()
    figures["metric"] = figures["metric"] + "@" + figures["k"].astype(str)
    return figures[["metric", "original", "ours", "bold"]].reset_index(drop=True)


def settings_of(setting: str) -> list[Settings]:
    """The hyperparameters that a setting is run with: DiffRec's defaults, and its authors' for this data if known."""
    chosen = [Settings("defaults", "properties/paper/main_defaults.yaml")]
    if (PAPER / f"{setting}.yaml").is_file():
        chosen.append(Settings("published", f"properties/paper/{setting}.yaml"))
    return chosen


def variants_of(settings: Settings) -> list[Variant]:
    """DiffRec, and CFGDiffRec with raw and with embedded guidance."""
    files = (settings.config_file,)
    guided = {name: f"CFGDiffRec {name} ({settings.name})" for name in ("raw", "embedding")}
    return [
        Variant(f"DiffRec ({settings.name})", "DiffRec", {}, files),
        *(Variant(label, "CFGDiffRec", {"guidance_encoder": name}, files) for name, label in guided.items()),
    ]


def reproduce(
    table: int,
    setting: str,
    n_seeds: int,
    output: Path,
    jobs: int,
    options: dict[str, Any],
    report: Callable[[str], None] = print,
) -> None:
    """Run DiffRec and CFGDiffRec on a data set of the paper's under its protocol, and compare with its table.

    Args:
        table: 2 or 3.
        setting: name of the data set, as in the table's CSV file and below ``data_path``.
        n_seeds: number of seeds.
        output: the experiment's folder.
        jobs: runs at a time.
        options: over everything else.
        report: called with each line of progress.

    Raises:
        ConfigError: on a mistake in the options, or if the data is not there.
    """
    paper_table(table, setting)
    runs = plan(setting, n_seeds, options)
    identity = {"command": "reproduce", "table": table, "setting": setting, "options": options}
    with OutputFolder(output, identity):
        run_missing(runs, output, jobs, report)


def plan(setting: str, n_seeds: int, options: dict[str, Any]) -> list[Run]:
    """All runs of a setting."""
    variants = [variant for settings in settings_of(setting) for variant in variants_of(settings)]
    return make_runs(variants, [setting], n_seeds, [PROTOCOL], options, GUIDANCE_SCALES)
