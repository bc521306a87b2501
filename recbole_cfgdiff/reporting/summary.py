"""Means and deviations over the seeds, which is best, and which differences are significant; as CSV, Markdown, LaTeX,
HTML or plain text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from recbole.evaluator.register import smaller_metrics
from tabulate import tabulate

from recbole_cfgdiff.escape import for_html, for_latex, for_markdown, latex_comment, one_line
from recbole_cfgdiff.evaluation.metrics import is_per_user, split_metric, user_metrics
from recbole_cfgdiff.reporting.outputs import Results
from recbole_cfgdiff.reporting.statistics import LEVEL, differences, holm
from recbole_cfgdiff.runs.records import TRAIN_AND_VALID_ROWS, TRAIN_ROWS

DIGITS = 4


class Summary(NamedTuple):
    """The results of one data set.

    Attributes:
        dataset: its name.
        models: ``hyperparameters``, ``seeds`` and ``history_at_test`` (what it was told of a user) of each model, by
            label.
        means: over the seeds, a row a model, a column a metric.
        deviations: standard deviation over the seeds (n - 1), likewise; NaN with one seed.
        ranks: 1 for the best and 2 for the second as printed, ties alike; likewise.
        marked: whether the difference to the best of the other models is significant; likewise.
        comparisons: a row for each model and metric compared, see ``statistics.METHOD``.
    """

    dataset: str
    models: pd.DataFrame
    means: pd.DataFrame
    deviations: pd.DataFrame
    ranks: pd.DataFrame
    marked: pd.DataFrame
    comparisons: pd.DataFrame


def summarise(results: Results, dataset: str, metrics: Sequence[str]) -> Summary:
    """Summarise the runs of one data set that ended well.

    Args:
        results: of an experiment.
        dataset: one of its data sets.
        metrics: names of columns of ``results.table``.
    """
    table = results.table
    rows = table[(table["dataset"] == dataset) & (table["status"] == "ended")]
    by_model = rows.groupby("model", sort=False)
    means = by_model[list(metrics)].mean()
    printed = means.apply(lambda column: column.map(f"{{:.{DIGITS}f}}".format).astype(float))
    ranks = printed.rank(method="dense", ascending=False)
    for metric in metrics:
        if split_metric(metric)[0] in smaller_metrics:
            ranks[metric] = printed[metric].rank(method="dense")
    tested = [metric for metric in metrics if is_per_user(metric)]
    comparisons = _compare(users_by_seed(results, dataset, tested), means[tested])
    marked = pd.DataFrame(False, index=means.index, columns=means.columns)
    for row in comparisons.itertuples():
        marked.loc[row.model, row.metric] = row.significant
    rows = rows.reindex(columns=rows.columns.union(["history_at_test"], sort=False))  # older records have none
    models = (
        rows.fillna({"history_at_test": TRAIN_ROWS})
        .groupby("model", sort=False)
        .agg(
            hyperparameters=("hyperparameters", _joined),
            seeds=("seed", "count"),
            history_at_test=("history_at_test", _joined),
        )
    )
    return Summary(dataset, models, means, by_model[list(metrics)].std(), ranks, marked, comparisons)


def _joined(values: pd.Series) -> str:
    return "; ".join(dict.fromkeys(values))


_Users = dict[str, dict[int, pd.DataFrame]]  # by model and seed


def users_by_seed(results: Results, dataset: str, metrics: Sequence[str]) -> _Users:
    """By model and seed, each user's metrics."""
    found: _Users = {}
    for run in results.runs:
        if run.dataset == dataset and metrics:
            found.setdefault(run.label, {})[run.seed] = user_metrics(results.ranking(run), metrics)
    return found


def _compare(users: _Users, means: pd.DataFrame) -> pd.DataFrame:
    """Each model against the best of the others in each metric; the best one against the second."""
    columns = [
        "metric",
        "model",
        "versus",
        "difference",
        "low",
        "high",
        "p_value",
        "p_holm",
        "users",
        "seeds",
        "same_sign",
        "significant",
    ]
    rows: list[dict[str, Any]] = []
    orders = {metric: list(means[metric].sort_values(ascending=False, kind="stable").index) for metric in means}
    for best in dict.fromkeys(order[0] for order in orders.values()):
        of_best = [metric for metric in means if orders[metric][0] == best]
        others = [model for model in users if model != best and _have_pairs(users[model], users[best])]
        if not others:
            continue
        chosen = [{seed: each[of_best] for seed, each in users[model].items()} for model in (best, *others)]
        found = dict(zip(others, differences(chosen[0], chosen[1:])))
        for metric in of_best:
            rows += _rows_of_metric(metric, best, orders[metric], {model: found[model][metric] for model in others})
    return pd.DataFrame(rows, columns=columns)


def _have_pairs(first: dict[int, pd.DataFrame], other: dict[int, pd.DataFrame]) -> bool:
    """Whether two models were tested on a user with the same seed."""
    return any(first[seed].index.isin(other[seed].index).any() for seed in first if seed in other)


def _rows_of_metric(metric: str, best: str, order: list[str], found: dict[str, Any]) -> list[dict[str, Any]]:
    corrected = dict(zip(found, holm([difference.p_value for difference in found.values()])))
    rows = []
    second = next(model for model in order if model in found)
    for model, versus, key, sign in [(best, second, second, 1), *((model, best, model, -1) for model in found)]:
        difference = found[key]
        low, high = sorted((sign * difference.low, sign * difference.high))
        rows.append(
            {
                "metric": metric,
                "model": model,
                "versus": versus,
                "difference": sign * difference.mean,
                "low": low,
                "high": high,
                "p_value": difference.p_value,
                "p_holm": corrected[key],
                "users": difference.users,
                "seeds": difference.seeds,
                "same_sign": difference.same_sign,
                "significant": bool(corrected[key] < LEVEL and difference.same_sign),
            }
        )
    return rows


class Style(NamedTuple):
    """How a table format writes the best, the second, and other text."""

    bold: Callable[[str], str]
    underline: Callable[[str], str]
    plus_minus: str
    mark: str
    escape: Callable[[str], str]


MARKDOWN = Style("**{}**".format, "<u>{}</u>".format, "±", " \\*", for_markdown)
LATEX = Style("\\textbf{{{}}}".format, "\\underline{{{}}}".format, "$\\pm$", "$^{*}$", for_latex)
HTML = Style("<b>{}</b>".format, "<u>{}</u>".format, "±", "<sup>*</sup>", for_html)
TEXT = Style("{}".format, "{}".format, "±", " *", one_line)


def rows_of(summary: Summary, metrics: Sequence[str], style: Style) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table: model, the metrics' cells, number of seeds, and how it was configured."""
    rows = []
    for model, described in summary.models.iterrows():
        cells = [_cell(summary, str(model), metric, style) for metric in metrics]
        hyperparameters = style.escape(described["hyperparameters"])
        rows.append([style.escape(str(model)), *cells, str(described["seeds"]), hyperparameters])
    return ["model", *map(style.escape, metrics), "seeds", "hyperparameters"], rows


def _cell(summary: Summary, model: str, metric: str, style: Style) -> str:
    mean, deviation = summary.means.loc[model, metric], summary.deviations.loc[model, metric]
    text = f"{mean:.{DIGITS}f}"
    rank = summary.ranks.loc[model, metric]
    text = style.bold(text) if rank == 1 else style.underline(text) if rank == 2 else text
    if not pd.isna(deviation):
        text += f" {style.plus_minus} {deviation:.{DIGITS}f}"
    return text + (style.mark if summary.marked.loc[model, metric] else "")


def tables_of(metrics: Sequence[str], first: int) -> list[list[str]]:
    """The metrics of each table: those of one list length, the one that matters most first."""
    lengths = sorted({split_metric(metric)[1] for metric in metrics}, key=lambda k: (k != first, k))
    return [[metric for metric in metrics if split_metric(metric)[1] == k] for k in lengths]


def first_place(summary: Summary, metric: str) -> str:
    """Who is first by a metric, by how much, and whether that holds over users and seeds, in a sentence."""
    smaller = split_metric(metric)[0] in smaller_metrics
    means = summary.means[metric].sort_values(ascending=smaller, kind="stable")
    best, best_mean = str(means.index[0]), means.iloc[0]
    if len(means) < 2:
        return f"{best} has {metric} {best_mean:.{DIGITS}f}; there is no other model to compare it with."
    second, lead = str(means.index[1]), abs(best_mean - means.iloc[1])
    if summary.ranks.loc[second, metric] == 1:
        told = f"{best} and {second} are first alike by {metric}, {best_mean:.{DIGITS}f}"
    else:
        share = f" ({lead / abs(means.iloc[1]):.1%})" if means.iloc[1] else ""
        told = f"{best} is first by {metric}, {best_mean:.{DIGITS}f}, {lead:.{DIGITS}f}{share} ahead of {second}"
    comparisons = summary.comparisons
    tested = comparisons[(comparisons["metric"] == metric) & (comparisons["model"] == best)]
    if tested.empty:
        return f"{told}; whether that holds over users and seeds is not tested."
    return f"{told}; {_how_far_it_holds(tested.iloc[0])}."


def _how_far_it_holds(row: pd.Series) -> str:
    is_above_chance = row["p_holm"] < LEVEL
    over_users = f"the difference to {row['versus']} {'holds' if is_above_chance else 'does not hold'} over users"
    over_users += f" (corrected p = {row['p_holm']:.3g})"
    if row["seeds"] == 1:
        but = "but" if is_above_chance else "and"
        return f"{over_users}, {but} of other seeds one seed tells nothing: run more, as by --seeds=5"
    seeds = f"each of the {row['seeds']} seeds"
    if row["same_sign"]:
        return f"{over_users}, {'and' if is_above_chance else 'but'} has the same sign with {seeds}"
    return f"{over_users}, {'but not' if is_above_chance else 'nor'} with {seeds}"


def meaning_of_marks(summary: Summary) -> str:
    """What a mark in the tables means, for under them."""
    told = (
        "*: differs significantly from the best of the other models, the first from the second "
        f"(p < {LEVEL:g} over users, corrected over the models, the same sign with every seed); the mark is no error."
    )
    is_single = (summary.models["seeds"] == 1).any()
    return told + " With one seed it says nothing of other seeds." * bool(is_single)


def mixed_hyperparameters(summary: Summary) -> str:
    """A warning where the models' hyperparameters were not all chosen in the same way; otherwise empty."""
    by_kind: dict[str, list[str]] = {}
    for model, told in summary.models["hyperparameters"].items():
        for each in told.split("; "):
            by_kind.setdefault(each.partition(":")[0], []).append(str(model))
    if len(by_kind) < 2:
        return ""
    parts = [f"{kind} ({', '.join(models)})" for kind, models in by_kind.items()]
    return f"Unequal effort: the models' hyperparameters were chosen in different ways: {'; '.join(parts)}."


def told_at_test(summary: Summary) -> str:
    """What the models were told of a user at test time, where that is more than the training rows; otherwise empty."""
    told = summary.models["history_at_test"]
    if TRAIN_AND_VALID_ROWS not in set(told):
        return ""
    sentence = "Models that read histories read the validation rows at test time (history_at_test)"
    others = [f"{model} ({rows})" for model, rows in told.items() if rows != TRAIN_AND_VALID_ROWS]
    return f"{sentence}; not so {', '.join(others)}." if others else f"{sentence}."


def conditions(summary: Summary) -> list[str]:
    """What a reader must know of the models of a table before comparing them."""
    return [told for told in (mixed_hyperparameters(summary), told_at_test(summary)) if told]


def to_csv(summary: Summary) -> pd.DataFrame:
    """A row a model: means, deviations, ranks and marks of all metrics."""
    parts = {"mean": summary.means, "sd": summary.deviations, "rank": summary.ranks, "significant": summary.marked}
    named = [part.add_suffix(f" {name}") for name, part in parts.items()]
    columns = [f"{metric} {name}" for metric in summary.means for name in parts]
    table = pd.concat([summary.models, pd.concat(named, axis=1)[columns]], axis=1)
    table.insert(0, "dataset", summary.dataset)
    return table.rename_axis("model").reset_index()


def to_markdown(summary: Summary, metrics: Sequence[str]) -> str:
    """A table in GitHub's Markdown."""
    header, rows = rows_of(summary, metrics, MARKDOWN)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def to_latex(summary: Summary, metrics: Sequence[str]) -> str:
    """A ``tabular`` for LaTeX with the package booktabs."""
    header, rows = rows_of(summary, metrics, LATEX)
    header, rows = header[:-1], [row[:-1] for row in rows]
    lines = [
        f"\\begin{{tabular}}{{l{'c' * len(metrics)}r}}",
        "\\toprule",
        " & ".join(header) + " \\\\",
        "\\midrule",
        *(" & ".join(row) + " \\\\" for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    chosen = sorted({f"{model}: {how}" for model, how in summary.models["hyperparameters"].items()})
    return "\n".join([*lines, *(latex_comment(f"hyperparameters: {each}") for each in chosen)]) + "\n"


def to_text(summary: Summary, metrics: Sequence[str]) -> str:
    """A table for the terminal."""
    header, rows = rows_of(summary, metrics, TEXT)
    return tabulate(rows, headers=header, disable_numparse=True)
