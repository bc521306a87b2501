"""The figures of a report. Each is narrow, so that it can be read on a telephone and in a column of a paper."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from recbole.evaluator.register import smaller_metrics

from recbole_cfgdiff.escape import bounded
from recbole_cfgdiff.files import in_one_piece

# Okabe and Ito's colours, told apart also by the colour-blind, and markers for print without colours.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_WIDTH, _HEIGHT = 3.9, 2.7  # inches, without the legend
_LEGEND_ROW = 0.19
_STYLE: Any = {
    "font.size": 8,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "svg.hashsalt": "recbole-cfgdiff",
    "savefig.dpi": 200,
    "text.parse_math": False,  # a $ of a label is one
}
FEW = 30  # members; the mean of a smaller group tells little


class Drawing(NamedTuple):
    """A figure, the name of its files, and what it shows."""

    name: str
    caption: str
    figure: Figure

    def save(self, folder: Path) -> None:
        """Write ``NAME.png`` and ``NAME.pdf``, each in one piece."""
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, metadata in (("png", {}), ("pdf", {"CreationDate": None})):
            with matplotlib.rc_context(_STYLE), in_one_piece(folder / f"{self.name}.{suffix}") as unfinished:
                self.figure.savefig(unfinished, metadata=metadata)

    def data_uri(self) -> str:
        """The figure as an SVG image that a page can hold in itself."""
        buffer = io.BytesIO()
        with matplotlib.rc_context(_STYLE):
            self.figure.savefig(buffer, format="svg", metadata={"Date": None})
        return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


class _Canvas:
    """One pair of axes with a legend of the labels drawn below it. ``models`` are the labels of all figures, so that
    each has its colour and marker in all of them."""

    def __init__(self, labels: Collection[str], models: Sequence[str], xlabel: str, ylabel: str) -> None:
        self._models = list(models)
        self._columns = 1 if max(map(len, labels), default=0) > 24 else 2
        rows = -(-len(labels) // self._columns)
        with matplotlib.rc_context(_STYLE):
            self.figure = Figure(figsize=(_WIDTH, _HEIGHT + _LEGEND_ROW * rows), layout="constrained")
            self.axes = self.figure.subplots()
        self.axes.set_xlabel(xlabel)
        self.axes.set_ylabel(ylabel)

    def look(self, label: str) -> dict[str, Any]:
        round_, place = divmod(self._models.index(label), len(_COLOURS))
        return {"color": _COLOURS[place], "marker": _MARKERS[(place + round_) % len(_MARKERS)], "markersize": 4}

    def use_log_scale(self) -> None:
        """On the x axis, with plain numbers."""
        self.axes.set_xscale("log")
        self.axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
        self.axes.xaxis.set_major_formatter("{x:g}")
        self.axes.xaxis.set_minor_formatter(NullFormatter())

    def drawing(self, name: str, caption: str) -> Drawing:
        with matplotlib.rc_context(_STYLE):
            handles, labels = self.axes.get_legend_handles_labels()
            self.figure.legend(handles, labels, loc="outside lower center", ncols=self._columns, frameon=False)
        return Drawing(bounded(name), caption, self.figure)


def learning_curves(
    curves: Mapping[str, list[pd.DataFrame]], models: Sequence[str], metric: str, dataset: str
) -> Drawing:
    """The validation score by epoch.

    Args:
        curves: by label, a table with ``epoch`` and ``valid_score`` for each seed.
        models: the labels of all figures.
        metric: name of the score.
        dataset: name of the data set.
    """
    canvas = _Canvas(curves, models, "epoch", f"validation {metric}")
    for label, tables in curves.items():
        if all(len(table) == 1 for table in tables):
            score = pd.concat(tables)["valid_score"].mean()
            canvas.axes.axhline(score, linestyle=":", label=label, color=canvas.look(label)["color"])
            continue
        for table in tables:
            canvas.axes.plot(table["epoch"] + 1, table["valid_score"], color=canvas.look(label)["color"], alpha=0.25)
        # Seeds stop at different epochs; a mean of fewer of them would jump.
        mean = pd.concat(tables).groupby("epoch")["valid_score"].agg(["mean", "size"])
        mean = mean[mean["size"] == len(tables)]["mean"]
        canvas.axes.plot(mean.index + 1, mean, label=label, markevery=0.1, **canvas.look(label))
    canvas.use_log_scale()
    caption = (
        f"Learning curves on {dataset}: thin lines are seeds, thick ones their mean while all of them train, dotted "
        "ones models that are validated once."
    )
    return canvas.drawing(f"{dataset}-learning", caption)


def guidance_curves(sweeps: Mapping[str, pd.DataFrame], models: Sequence[str], metric: str, dataset: str) -> Drawing:
    """A metric by guidance scale.

    Args:
        sweeps: by label, ``part``, ``guidance_scale`` and metrics, rows of all seeds.
        models: the labels of all figures.
        metric: name of a column.
        dataset: name of the data set.
    """
    canvas = _Canvas(sweeps, models, "guidance scale (0: unguided, 1: guided)", metric)
    for label, table in sweeps.items():
        last = table["part"].iloc[-1]
        for part, line in (("valid", "--"), ("test", "-")):
            by_scale = table[table["part"] == part].groupby("guidance_scale")[metric]
            mean, deviation = by_scale.mean(), by_scale.std().fillna(0)
            look = canvas.look(label)
            canvas.axes.plot(mean.index, mean, line, label=label if part == last else None, **look)
            canvas.axes.fill_between(mean.index, mean - deviation, mean + deviation, color=look["color"], alpha=0.15)
    caption = f"{metric} by guidance scale on {dataset}, test (lines) and validation (dashed); bands: one deviation."
    return canvas.drawing(f"{dataset}-guidance-{metric.replace('@', '-')}", caption)


def cost(table: pd.DataFrame, models: Sequence[str], metric: str, dataset: str) -> Drawing:
    """A metric by seconds of training.

    Args:
        table: ``model``, ``training_seconds`` and the metric, a row a run.
        models: the labels of all figures.
        metric: name of a column.
        dataset: name of the data set.
    """
    canvas = _Canvas(models, models, "seconds of training, validations included", f"test {metric}")
    for label, rows in table.groupby("model", sort=False):
        canvas.axes.plot(rows["training_seconds"], rows[metric], linestyle="", label=label, **canvas.look(str(label)))
    canvas.use_log_scale()
    return canvas.drawing(f"{dataset}-cost", f"Accuracy and cost on {dataset}: a point a run.")


def search_progress(trials: pd.DataFrame, metric: str) -> Drawing:
    """The validation score of each trial of a search, and the best so far.

    Args:
        trials: ``trial`` and ``valid_score``, which is empty for those that failed.
        metric: name of the score.
    """
    canvas = _Canvas(["trial", "best so far"], ["trial", "best so far"], "trial", f"validation {metric}")
    scores = trials["valid_score"]
    best = scores.cummin() if metric.partition("@")[0] in smaller_metrics else scores.cummax()
    canvas.axes.plot(trials["trial"], scores, linestyle="", label="trial", **canvas.look("trial"))
    canvas.axes.plot(trials["trial"], best, drawstyle="steps-post", label="best so far", **canvas.look("best so far"))
    return canvas.drawing("trials", "Trials of the search.")


def by_group(groups: Mapping[str, pd.DataFrame], xlabel: str, ylabel: str, name: str, caption: str) -> Drawing:
    """A metric by group of users or items.

    Args:
        groups: by label, of all models, ``group``, ``members`` (how many) and ``value``; groups in order.
        xlabel: what the groups are.
        ylabel: name of the metric.
        name: of the drawing's files.
        caption: what it shows.
    """
    canvas = _Canvas(groups, list(groups), xlabel, ylabel)
    members = pd.concat(groups.values()).groupby("group", sort=False)["members"].first()
    for label, table in groups.items():
        look, places = canvas.look(label), members.index.get_indexer(table["group"])
        canvas.axes.plot(places, table["value"], label=label, **look)
        few = (table["members"] < FEW).to_numpy()
        hollow = {"facecolors": "white", "edgecolors": look["color"], "s": look["markersize"] ** 2, "zorder": 3}
        canvas.axes.scatter(places[few], table["value"][few], marker=look["marker"], **hollow)
    canvas.axes.set_xticks(range(len(members)), [f"{group}\n({count:,.0f})" for group, count in members.items()])
    canvas.axes.tick_params("x", labelsize=6)
    return canvas.drawing(name, caption)
