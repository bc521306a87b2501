"""How the time grows with items, users, interactions and steps: exponents, and a figure.

    python benchmarks/scaling.py [--quick] [--repeats=2] [--threads=N] [--output=benchmarks/scaling.json]

Generated data around 5,000 items, 2,000 users, 50 interactions a user and 5 steps; hidden width 1,000. The figure lies
beside the JSON file, with the suffix .svg.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from datasets import make_synthetic, working_folder
from harness import Case, measure, parse_arguments, write

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from recbole_cfgdiff.files import in_one_piece

_HIDDEN = 1000
_MODELS = (
    ("CFGDiffRec", "CFGDiffRec", 2.0),
    ("RecBole's DiffRec", "RecBoleDiffRec", None),
    ("MultiVAE", "MultiVAE", None),
)
_AXES: dict[str, tuple[int, ...]] = {
    "items": (2_000, 6_000, 20_000),
    "users": (1_000, 3_000, 9_000),
    "interactions a user": (50, 150, 450),
    "steps": (5, 20, 80),
}
_QUICK_AXES: dict[str, tuple[int, ...]] = {"items": (1_000, 2_000, 4_000), "steps": (5, 20)}


def cases_at(axis: str, value: int) -> list[Case]:
    """Every model's scoring, and CFGDiffRec's training, at one point of an axis."""
    point = {"items": 5_000, "users": 2_000, "interactions a user": 50, "steps": 5, axis: value}
    dataset = make_synthetic(point["items"], point["users"], point["interactions a user"])
    scoring = [
        Case(label, model, dataset, "score", _HIDDEN, None if model == "MultiVAE" else point["steps"], scale)
        for label, model, scale in _MODELS
        if not (axis == "steps" and model == "MultiVAE")
    ]
    return [*scoring, Case("CFGDiffRec, training", "CFGDiffRec", dataset, "train", _HIDDEN, point["steps"], 2.0)]


def exponents(rows: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """Of ``seconds = c * value^exponent``, fitted to the logarithms by least squares, for each axis and model."""
    found = {}
    for axis, model in dict.fromkeys((row["axis"], row["model"]) for row in rows):
        points = [(row["value"], row["seconds_median"]) for row in rows if (row["axis"], row["model"]) == (axis, model)]
        values, seconds = np.log(np.array(points)).T
        found[axis, model] = float(np.polyfit(values, seconds, deg=1)[0])
    return found


def table(rows: list[dict[str, Any]], fitted: dict[tuple[str, str], float]) -> str:
    """A Markdown table: a line an axis and model."""
    lines = ["| axis | model | seconds, first to last point | exponent |", "|---|---|---|---|"]
    for (axis, model), exponent in fitted.items():
        of_line = [row for row in rows if (row["axis"], row["model"]) == (axis, model)]
        first, last = of_line[0], of_line[-1]
        lines.append(
            f"| {axis}, {first['value']:,} to {last['value']:,} | {model} | "
            f"{first['seconds_median']:.2f} to {last['seconds_median']:.2f} | {exponent:.2f} |"
        )
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], fitted: dict[tuple[str, str], float], path: Path) -> None:
    """One panel an axis, both scales logarithmic; the ticks are the points measured."""
    axes_names = list(dict.fromkeys(row["axis"] for row in rows))
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, panels = plt.subplots(1, len(axes_names), figsize=(3.2 * len(axes_names), 4.2), sharey=True)
    for panel, axis in zip(panels, axes_names):
        for color, model in enumerate(models):
            points = [row for row in rows if (row["axis"], row["model"]) == (axis, model)]
            values, seconds = ([row[name] for row in points] for name in ("value", "seconds_median"))
            panel.loglog(values, seconds, "o--" if "training" in model else "o-", color=f"C{color}", label=model)
            if points:
                label, offset = f"{fitted[axis, model]:.2f}", (6, -11 if color == 0 else 2)
                panel.annotate(label, (values[-1], seconds[-1]), xytext=offset, textcoords="offset points")
        ticks = sorted({row["value"] for row in rows if row["axis"] == axis})
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        panel.minorticks_off()
        panel.set_xlim(ticks[0] * 0.8, ticks[-1] * 1.7)
        panel.set_xlabel(axis)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("seconds for all users")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=len(models), frameon=False)
    figure.suptitle("The numbers beside the lines are fitted exponents", fontsize=10)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    with in_one_piece(path) as unfinished:
        figure.savefig(unfinished)
    plt.close(figure)


def main() -> None:
    arguments = parse_arguments(__doc__ or "", Path(__file__).with_suffix(".json"), repeats=2)
    repeats = 1 if arguments.quick else arguments.repeats
    rows = []
    with working_folder():
        for axis, values in (_QUICK_AXES if arguments.quick else _AXES).items():
            for value in values:
                measured = measure(cases_at(axis, value), repeats, arguments.threads)
                rows += [{"axis": axis, "value": value, **row} for row in measured]
    fitted = exponents(rows)
    for row in rows:
        row["exponent"] = fitted[row["axis"], row["model"]]
    write(rows, arguments.threads, arguments.output)
    draw(rows, fitted, arguments.output.with_suffix(".svg"))
    print(table(rows, fitted))


if __name__ == "__main__":
    main()
