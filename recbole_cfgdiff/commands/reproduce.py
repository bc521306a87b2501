"""``reproduce``: the paper's Tables II and III beside ours, by the same protocol."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recbole_cfgdiff.commands.arguments import add_experiment_arguments, further_options
from recbole_cfgdiff.errors import ConfigError, TrainingError, nearest
from recbole_cfgdiff.escape import for_markdown, markdown_code, write_table
from recbole_cfgdiff.files import write_text
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.properties import PROPERTIES
from recbole_cfgdiff.reporting.outputs import OutputFolder, Results
from recbole_cfgdiff.reporting.report import report
from recbole_cfgdiff.reporting.statistics import LEVEL, differences, holm
from recbole_cfgdiff.reporting.summary import users_by_seed
from recbole_cfgdiff.runs.data_sets import DataSets
from recbole_cfgdiff.runs.pool import check_jobs, run_missing
from recbole_cfgdiff.runs.spec import Run, Variant, make_runs

PAPER = PROPERTIES / "paper"
TABLES = {2: PAPER / "table2.csv", 3: PAPER / "table3.csv"}
PROTOCOL = "properties/protocol/heldout_users.yaml"
GUIDANCE = ("raw", "embedding")
GUIDANCE_SCALES = (0.0, 0.5, 1.0, 2.0)
MAIN_METRIC = "ndcg@10"
_FIXED = {"metrics", "topk", "valid_metric", "eval_args", "heldout_users", "heldout_targets", "guidance_encoder"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command, and those of any experiment."""
    parser.epilog = "Further --key=value options are RecBole's or the models' and apply to all runs."
    parser.add_argument("--table", type=int, help="2 or 3")
    parser.add_argument("--setting", help="ml-1m-clean, ml-1m-noisy, yelp-clean, amazon-office, ...")
    add_experiment_arguments(parser, seeds=3)


def call(known: argparse.Namespace, rest: list[str]) -> None:
    """``reproduce`` by arguments of the command line."""
    options = further_options(known, rest, "table", "setting")
    output = known.output or Path("results") / f"table{known.table}-{known.setting}"
    reproduce(known.table, known.setting, known.seeds, output, known.jobs, options)


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


def label_of(guidance: str, settings: Settings) -> str:
    """The label of the variant with that guidance encoder, or of DiffRec if empty."""
    return f"CFGDiffRec {guidance} ({settings.name})" if guidance else f"DiffRec ({settings.name})"


def variants_of(settings: Settings) -> list[Variant]:
    """DiffRec, and CFGDiffRec with raw and with embedded guidance, by the same hyperparameters."""
    files = (settings.config_file,)
    guided = [
        Variant(label_of(guidance, settings), "CFGDiffRec", {"guidance_encoder": guidance}, files)
        for guidance in GUIDANCE
    ]
    return [Variant(label_of("", settings), "DiffRec", {}, files), *guided]


def plan(setting: str, n_seeds: int, options: dict[str, Any], data_sets: DataSets) -> list[Run]:
    """All runs of a setting.

    Raises:
        ConfigError: if the data is not there.
    """
    variants = [variant for settings in settings_of(setting) for variant in variants_of(settings)]
    config = Config("DiffRec", setting, [PROTOCOL], options)
    try:
        data_sets.check(config)
    except ConfigError as error:
        raise ConfigError(f"{error}; dataset/README.md says how {setting} is made") from error
    return make_runs(variants, [setting], n_seeds, [PROTOCOL], options, GUIDANCE_SCALES, data_sets)


def reproduce(
    table: int,
    setting: str,
    n_seeds: int,
    output: Path,
    jobs: int = 1,
    options: dict[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Run DiffRec and CFGDiffRec on a data set of the paper's under its protocol, and compare with its table.

    Args:
        table: 2 or 3.
        setting: name of the data set, as in the table's CSV file and below ``data_path``.
        n_seeds: seeds ``2020, 2021, ...``, so many.
        output: the experiment's folder, where also ``cells.csv`` and ``reproduction.md`` are written.
        jobs: runs at a time.
        options: over everything else.
        say: called with each line of progress, then with the result.

    Raises:
        ConfigError: on a mistake in the options, or if the data is not there, before anything is run.
        TrainingError: if a run failed.
    """
    check_jobs(jobs)
    figures = paper_table(table, setting)
    if fixed := sorted(_FIXED & set(options or {})):
        raise ConfigError(f"{', '.join(fixed)}: fixed by the paper's table; use compare for another protocol")
    data_sets = DataSets()
    runs = plan(setting, n_seeds, options or {}, data_sets)
    identity = {"command": "reproduce", "table": table, "setting": setting, "options": options or {}}
    with OutputFolder(output, identity):
        run_missing(runs, output, jobs, say, data_sets)
        results, _ = report(f"The paper's table {table}, {setting}", runs, output)
        failed = results.table[results.table["status"] == "failed"]
        if len(failed):
            raise TrainingError(f"{len(failed)} of {len(runs)} runs failed; the first: {failed['error'].iloc[0]}")
        cells = compare_cells(results, setting, figures)
        write_table(cells, output / "cells.csv")
        given = {"table": table, "setting": setting, "seeds": n_seeds, **(options or {})}
        command = shlex.join(["reproduce", *(f"--{name}={value}" for name, value in given.items())])
        text = to_markdown(cells, results, f"Table {table}, {setting}", command)
        write_text(output / "reproduction.md", text)
    say(f"\n{text}\nreport: {output / 'report.html'}")


def compare_cells(results: Results, setting: str, figures: pd.DataFrame) -> pd.DataFrame:
    """Every cell of the paper's table beside ours.

    Args:
        results: of all runs of ``plan``.
        setting: the data set.
        figures: of ``paper_table``.

    Returns:
        for each settings, guidance encoder and metric the paper's two figures, the means and deviations of DiffRec and
        CFGDiffRec, all in percent, the ``difference`` of the latter two, its p-value corrected over the settings and
        encoders, whether it is ``significant`` (see ``statistics.METHOD``), and whether it has the sign of the paper's
        (``holds``; empty where the paper's two figures are equal).
    """
    table = results.table
    metrics = list(figures["metric"])
    by_label = table.groupby("model", sort=False)[metrics]
    means, deviations = 100 * by_label.mean(), 100 * by_label.std()
    users = users_by_seed(results, setting, metrics)
    rows: list[dict[str, Any]] = []
    for settings in settings_of(setting):
        unguided = label_of("", settings)
        for guidance in GUIDANCE:
            guided = label_of(guidance, settings)
            (found,) = differences(users[guided], [users[unguided]])
            rows += [
                {
                    "settings": settings.name,
                    "guidance": guidance,
                    "metric": cell.metric,
                    "paper_original": cell.original,
                    "paper_ours": cell.ours,
                    "diffrec": means.loc[unguided, cell.metric],
                    "diffrec_sd": deviations.loc[unguided, cell.metric],
                    "cfgdiffrec": means.loc[guided, cell.metric],
                    "cfgdiffrec_sd": deviations.loc[guided, cell.metric],
                    "difference": 100 * found[cell.metric].mean,
                    "low": 100 * found[cell.metric].low,
                    "high": 100 * found[cell.metric].high,
                    "p_value": found[cell.metric].p_value,
                    "same_sign": found[cell.metric].same_sign,
                }
                for cell in figures.itertuples()
            ]
    cells = pd.DataFrame(rows)
    cells["p_holm"] = cells.groupby("metric")["p_value"].transform(holm)
    cells["significant"] = (cells["p_holm"] < LEVEL) & cells["same_sign"]
    paper = np.sign(cells["paper_ours"] - cells["paper_original"])
    cells["holds"] = (np.sign(cells["difference"]) == paper).astype(object).where(paper != 0, "")
    return cells


def verdict(cells: pd.DataFrame) -> str:
    """What ``cells`` say of the paper's claim for this data set, in words.

    The gain reproduces with given settings and encoder if CFGDiffRec is above DiffRec in at least three quarters of the
    cells in which the paper has it above, and significantly above in ndcg@10.
    """
    outcomes = []
    for (settings, guidance), group in cells.groupby(["settings", "guidance"], sort=False):
        claimed = group[group["paper_ours"] > group["paper_original"]]
        holding = int((claimed["holds"] == True).sum())  # noqa: E712 - the column also has empty text
        above = int((group["significant"] & (group["difference"] > 0)).sum())
        below = int((group["significant"] & (group["difference"] < 0)).sum())
        main = group[group["metric"] == MAIN_METRIC].iloc[0]
        is_claimed = main["paper_ours"] > main["paper_original"]
        reproduced = is_claimed and holding >= 0.75 * len(claimed) and main["significant"] and main["difference"] > 0
        word = "**reproduces**" if reproduced else "does **not** reproduce"
        outcomes.append(
            f"- {settings} settings, {guidance} guidance: the gain {word}. CFGDiffRec is above DiffRec in {holding} of "
            f"the {len(claimed)} cells in which the paper has it above; of all {len(group)} cells the difference is "
            f"significant in {above} for CFGDiffRec and in {below} for DiffRec. "
            f"{MAIN_METRIC}: {main['diffrec']:.2f} to {main['cfgdiffrec']:.2f} "
            f"({_signed(main['difference'])}, 95% interval {main['low']:.2f} to {main['high']:.2f}); the paper: "
            f"{main['paper_original']:.2f} to {main['paper_ours']:.2f} "
            f"({_signed(main['paper_ours'] - main['paper_original'])})."
        )
    return "\n".join(outcomes)


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def to_markdown(cells: pd.DataFrame, results: Results, title: str, command: str) -> str:
    """The page of a setting: verdict, every cell, and the guided models at other guidance scales."""
    parts = [
        f"## {title}\n",
        markdown_code(f"python -m recbole_cfgdiff {command}")
        + "; test metrics in percent, mean ± standard deviation over the seeds, "
        f"held-out users (`{PROTOCOL}`); \\*: differs significantly from DiffRec.\n",
        verdict(cells) + "\n",
    ]
    for settings, group in cells.groupby("settings", sort=False):
        parts += [f"### {settings} settings\n", _cells_table(group), ""]
    parts += ["### Guidance scale\n", _scales_table(results), ""]
    return "\n".join(parts)


def _cells_table(group: pd.DataFrame) -> str:
    """One settings' cells: a row a metric."""
    header = ["metric", "paper: original", "paper: ours", "DiffRec"]
    for guidance in GUIDANCE:
        header += [f"CFGDiffRec {guidance}", "paper's direction holds"]
    lines = [header, ["---"] * len(header)]
    for metric, rows in group.groupby("metric", sort=False):
        first = rows.iloc[0]
        line = [metric, f"{first['paper_original']:.2f}", f"{first['paper_ours']:.2f}"]
        line.append(_mean_and_deviation(first["diffrec"], first["diffrec_sd"]))
        for _, row in rows.iterrows():
            mark = " \\*" if row["significant"] else ""
            line.append(_mean_and_deviation(row["cfgdiffrec"], row["cfgdiffrec_sd"]) + mark)
            line.append({True: "yes", False: "no"}.get(row["holds"], "a tie there"))
        lines.append(line)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _mean_and_deviation(mean: float, deviation: float) -> str:
    return f"{mean:.2f}" if np.isnan(deviation) else f"{mean:.2f} ± {deviation:.2f}"


def _scales_table(results: Results) -> str:
    """The main metric of each guided variant by guidance scale, validation / test, in percent."""
    header = ["", *(f"scale {scale:g}" for scale in GUIDANCE_SCALES)]
    lines = [header, ["---"] * len(header)]
    by_label: dict[str, list[pd.DataFrame]] = {}
    for run in results.runs:
        if (sweep := results.sweep(run)) is not None:
            by_label.setdefault(run.label, []).append(sweep)
    for label, sweeps in by_label.items():
        mean = 100 * pd.concat(sweeps).groupby(["part", "guidance_scale"])[MAIN_METRIC].mean()
        lines.append(
            [for_markdown(label), *(f"{mean['valid', s]:.2f} / {mean['test', s]:.2f}" for s in GUIDANCE_SCALES)]
        )
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    what = f"{MAIN_METRIC} in percent, validation / test, of the same trained models; the tables above are scale 1."
    return f"{what}\n\n{text}"
