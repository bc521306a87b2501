"""What an experiment leaves for people: tables as files, figures, and one page that holds all of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup
from recbole.evaluator.register import smaller_metrics

from recbole_cfgdiff.errors import TrainingError
from recbole_cfgdiff.escape import for_markdown, latex_comment, one_line, write_table
from recbole_cfgdiff.evaluation.metrics import (
    by_history_length,
    by_popularity,
    guidance_effects,
    is_per_user,
    split_metric,
)
from recbole_cfgdiff.files import write_text
from recbole_cfgdiff.reporting import figures
from recbole_cfgdiff.reporting.figures import FEW, Drawing
from recbole_cfgdiff.reporting.learning import time_to_quality
from recbole_cfgdiff.reporting.outputs import Results
from recbole_cfgdiff.reporting.statistics import METHOD
from recbole_cfgdiff.reporting.summary import (
    HTML,
    Summary,
    conditions,
    first_place,
    meaning_of_marks,
    rows_of,
    summarise,
    tables_of,
    to_csv,
    to_latex,
    to_markdown,
)
from recbole_cfgdiff.runs.spec import Run

_COSTS = {
    "training_seconds": "training, s",
    "inference_seconds": "test, s",
    "epochs": "epochs",
    "parameters": "parameters",
    "peak_memory_mb": "peak memory, MB",
}
_GROUP_FIGURES = (("users", "history-length"), ("targets", "popularity"))


class Section(NamedTuple):
    """What a report says of one data set.

    Attributes:
        summary: means, ranks and tests.
        metric: the metric that models were chosen by.
        k: the list length that matters most.
        metrics: all test metrics, by list length, the one that matters most first.
        groups: metrics by group: ``model``, ``by``, ``group``, ``members``, ``value``, means over the seeds.
        beyond: beyond-accuracy metrics, means over the seeds, a row a model.
        costs: likewise seconds, epochs, parameters and memory.
        learning: of ``time_to_quality``, of the models that were validated.
        drawings: the figures.
    """

    summary: Summary
    metric: str
    k: int
    metrics: list[list[str]]
    groups: pd.DataFrame
    beyond: pd.DataFrame
    costs: pd.DataFrame
    learning: pd.DataFrame
    drawings: list[Drawing]


def make_section(results: Results, dataset: str) -> Section:
    """Everything that a report says of one data set."""
    table = results.table
    rows = table[(table["dataset"] == dataset) & (table["status"] == "ended")]
    runs = [run for run in results.runs if run.dataset == dataset]
    metric = str(rows["valid_metric"].iloc[0])
    beyond = results.beyond_accuracy(dataset)
    k = split_metric(beyond[0])[1]
    metrics = results.metrics(dataset)
    summary = summarise(results, dataset, metrics)
    by_model = rows.groupby("model", sort=False)
    groups = _groups(results, runs, metric if is_per_user(metric) else f"ndcg@{k}", k)
    curves = _curves(results, runs)
    return Section(
        summary,
        metric,
        k,
        tables_of(metrics, k),
        groups,
        by_model[beyond].mean(),
        by_model[[name for name in _COSTS if name in rows]].mean().rename(columns=_COSTS),
        time_to_quality(curves, bigger=split_metric(metric)[0] not in smaller_metrics),
        _drawings(results, runs, rows, groups, curves, metric, k),
    )


def _groups(results: Results, runs: Sequence[Run], metric: str, k: int) -> pd.DataFrame:
    """Metrics by history length and by popularity, means over the seeds."""
    tables = []
    for run in runs:
        ranking = results.ranking(run)
        lengths = by_history_length(ranking, metric).rename(columns={"users": "members"})
        popularity = by_popularity(ranking, k).rename(columns={"targets": "members"})
        tables.append(lengths.assign(model=run.label, by=f"{metric} by history length"))
        tables.append(popularity.assign(model=run.label, by=f"recall@{k} by popularity of the target"))
    by = ["by", "model", "group"]
    return pd.concat(tables).groupby(by, sort=False)[["members", "value"]].mean().reset_index()


def _curves(results: Results, runs: Sequence[Run]) -> dict[str, list[pd.DataFrame]]:
    """The learning curves by label, a table a seed, of the runs that were validated."""
    curves: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        if len(curve := results.curve(run)):
            curves.setdefault(run.label, []).append(curve)
    return curves


def _drawings(
    results: Results,
    runs: Sequence[Run],
    rows: pd.DataFrame,
    groups: pd.DataFrame,
    curves: dict[str, list[pd.DataFrame]],
    metric: str,
    k: int,
) -> list[Drawing]:
    dataset, models = runs[0].dataset, list(dict.fromkeys(run.label for run in runs))
    sweeps: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        if (sweep := results.sweep(run)) is not None:
            sweeps.setdefault(run.label, []).append(sweep)
    is_trained = any(len(table) > 1 for tables in curves.values() for table in tables)
    drawings = [figures.learning_curves(curves, models, metric, dataset)] if is_trained else []
    drawings.append(figures.cost(rows, models, metric, dataset))
    if sweeps:
        joined = {label: pd.concat(tables) for label, tables in sweeps.items()}
        names = guidance_effects(metric, k)
        drawings += [figures.guidance_curves(joined, models, name, dataset) for name in names]
    for (by, table), (counted, name) in zip(groups.groupby("by", sort=False), _GROUP_FIGURES):
        of_model = {str(label): rows for label, rows in table.groupby("model", sort=False)}
        value, _, what = by.partition(" by ")
        caption = f"{by} on {dataset}{_hollow(table)}."
        drawings.append(figures.by_group(of_model, f"{what} ({counted})", value, f"{dataset}-{name}", caption))
    return drawings


def _hollow(groups: pd.DataFrame) -> str:
    return f"; hollow: fewer than {FEW}" if (groups["members"] < FEW).any() else ""


def write_tables(results: Results, sections: Sequence[Section], output: Path) -> None:
    """Write ``results.csv``, ``summary.csv``, ``.md`` and ``.tex``, ``comparisons.csv``, ``groups.csv``,
    ``learning.csv``, and of guided models ``sweeps.csv``."""
    write_table(results.table, output / "results.csv")
    write_table(pd.concat([to_csv(each.summary) for each in sections]), output / "summary.csv")
    comparisons = [each.summary.comparisons.assign(dataset=each.summary.dataset) for each in sections]
    write_table(pd.concat(comparisons), output / "comparisons.csv")
    groups = [each.groups.assign(dataset=each.summary.dataset) for each in sections]
    write_table(pd.concat(groups), output / "groups.csv")
    learning = [each.learning.assign(dataset=each.summary.dataset) for each in sections]
    write_table(pd.concat(learning), output / "learning.csv")
    if len(sweeps := results.sweeps()):
        write_table(sweeps, output / "sweeps.csv")
    write_text(output / "summary.md", "\n".join(map(_markdown, sections)))
    write_text(output / "summary.tex", "\n".join(map(_latex, sections)))


def _markdown(section: Section) -> str:
    summary = section.summary
    first, *others = (to_markdown(summary, metrics) for metrics in section.metrics)
    told = [f"## {for_markdown(summary.dataset)}", for_markdown(first_place(summary, section.metric))]
    told += map(for_markdown, conditions(summary))
    return "\n".join([*(f"{line}\n" for line in told), first, f"{_marks(summary)}\n", *others, f"{METHOD}\n"])


def _marks(summary: Summary) -> str:
    return for_markdown(meaning_of_marks(summary))


def _latex(section: Section) -> str:
    summary = section.summary
    comments = (summary.dataset, first_place(summary, section.metric), *conditions(summary))
    told = [latex_comment(each) for each in (*comments, meaning_of_marks(summary))]
    return "\n".join([*told, *(to_latex(summary, metrics) for metrics in section.metrics)])


def write_report(title: str, results: Results, sections: Sequence[Section], output: Path) -> None:
    """Write ``report.html``, which needs no other file and no network, and ``figures/*.png`` and ``.pdf``."""
    for section in sections:
        for drawing in section.drawings:
            drawing.save(output / "figures")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recbole_cfgdiff.reporting", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: one_line(value) if type(value) is str else value,
    )
    page = environment.get_template("report.html.jinja").render(
        title=title,
        method=METHOD,
        notes=notes(results, sections),
        sections=[_for_page(section) for section in sections],
        made_by=_made_by(results.table),
    )
    write_text(output / "report.html", page)


def notes(results: Results, sections: Sequence[Section]) -> list[str]:
    """What a reader must know before comparing: failed runs, unequal effort, runs of different code."""
    table = results.table
    found = [
        f"{row.model} on {row.dataset}, seed {row.seed} failed: {row.error}"
        for row in table[table["status"] == "failed"].itertuples()
    ]
    found += [told for section in sections for told in conditions(section.summary)]
    ended = table[table["status"] == "ended"]
    found += [
        f"The runs were made with different {name}: {', '.join(sorted(map(str, ended[name].unique())))}."
        for name in ("git_commit", "versions", "threads")
        if ended[name].nunique(dropna=False) > 1
    ]
    return found


def _made_by(table: pd.DataFrame) -> str:
    row = table[table["status"] == "ended"].iloc[0]
    commit = f", commit {row['git_commit']}" if row["git_commit"] else ""
    return f"{row['versions']}{commit}; {row['threads']} threads a run"


def _for_page(section: Section) -> dict[str, Any]:
    summary, columns = (
        section.summary,
        ["model", "versus", "difference", "low", "high", "p_value", "p_holm", "same_sign"],
    )
    by_length = []
    for metrics in section.metrics:
        chosen_first = sorted(metrics, key=lambda name: name != section.metric)
        header, rows = rows_of(summary, chosen_first, HTML)
        by_length.append((header, [list(map(Markup, row)) for row in rows]))
    table, *others = by_length
    comparisons = summary.comparisons
    tested = comparisons[comparisons["metric"].isin(section.metrics[0])]
    compared = [
        (metric, columns, [[_shown(row[name]) for name in columns] for _, row in table.iterrows()])
        for metric, table in tested.groupby("metric", sort=False)
    ]
    return {
        "dataset": summary.dataset,
        "first_place": first_place(summary, section.metric),
        "marks": meaning_of_marks(summary),
        "table": table,
        "others": others,
        "compared": compared,
        "beyond": _frame_for_page(section.beyond, digits=4),
        "costs": _frame_for_page(section.costs, digits=1),
        "metric": section.metric,
        "learning": _learning_for_page(section.learning),
        "drawings": [(drawing.name, drawing.caption, drawing.data_uri()) for drawing in section.drawings],
    }


def _frame_for_page(table: pd.DataFrame, digits: int) -> tuple[list[str], list[list[str]]]:
    rows = [
        [str(label), *(f"{value:,.{digits}f}" for value in row)] for label, row in zip(table.index, table.to_numpy())
    ]
    return ["model", *table.columns], rows


def _learning_for_page(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    labels = list(dict.fromkeys(table["model"]))
    cells = {(row.model, row.as_good_as): _arrival(row) for row in table.itertuples()}
    return ["model", *labels], [[label, *(cells[label, other] for other in labels)] for label in labels]


def _arrival(row: Any) -> str:
    if not row.reached:
        return "never"
    seeds = "" if row.reached == row.seeds else f" ({row.reached} of {row.seeds} seeds)"
    return f"{row.epochs:,.1f}; {row.seconds:,.1f} s{seeds}"


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else {True: "yes", False: "no"}.get(value, str(value))


def report(title: str, runs: Sequence[Run], output: Path) -> tuple[Results, list[Section]]:
    """Write everything that an experiment leaves beside its runs.

    Returns:
        the results, and a section for each data set that has any.

    Raises:
        TrainingError: if no run ended well.
    """
    results = Results(runs, output)
    datasets = dict.fromkeys(run.dataset for run in results.runs)
    if not datasets:
        write_table(results.table, output / "results.csv")
        raise TrainingError(f"all runs failed; the first: {results.table['error'].iloc[0]}")
    sections = [make_section(results, dataset) for dataset in datasets]
    write_tables(results, sections, output)
    write_report(title, results, sections, output)
    return results, sections


def write_sweep(table: pd.DataFrame, model: str, dataset: str, columns: Sequence[str], output: Path) -> None:
    """Write ``sweep.csv`` and a figure of each of some columns, as PNG and PDF, into a folder.

    Args:
        table: of ``sweep.sweep``.
        model: its name.
        dataset: name of the data set.
        columns: names of metrics.
        output: the folder, made if it is not there.
    """
    output.mkdir(parents=True, exist_ok=True)
    write_table(table, output / "sweep.csv")
    for column in columns:
        figures.guidance_curves({model: table}, [model], column, dataset).save(output)


def draw_guidance_curve(run_dir: Path) -> None:
    """Draw the validation score by guidance scale of a run that chose its scale, into its folder."""
    result = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    model, metric = result["model"], result["options"]["valid_metric"].lower()
    scales, scores = zip(*result["guidance_curve"].items())
    table = pd.DataFrame({"part": "valid", "guidance_scale": map(float, scales), metric: scores})
    figures.guidance_curves({model: table}, [model], metric, result["dataset"]).save(run_dir)
