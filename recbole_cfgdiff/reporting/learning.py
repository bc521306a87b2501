"""How long the models of a comparison train until they are as good as another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

COLUMNS = ["model", "as_good_as", "valid_score", "reached", "seeds", "epochs", "seconds"]


def time_to_quality(curves: Mapping[str, Sequence[pd.DataFrame]], bigger: bool) -> pd.DataFrame:
    """Epochs and seconds that each model trains until its validation score is that of each model at its best.

    Args:
        curves: by label, a table with ``epoch`` (from 0), ``seconds`` (of training so far, validations included) and
            ``valid_score`` for each seed.
        bigger: whether a bigger score is better.

    Returns:
        ``COLUMNS``, a row for each ordered pair of labels: the score is the mean, over the seeds, of the best one of
        ``as_good_as``, but beside a model itself that of each seed; ``reached`` of ``seeds`` got there, ``epochs`` and
        ``seconds`` are means over these, empty if there are none.
    """
    sign = 1 if bigger else -1
    signed = {label: [table.assign(score=sign * table["valid_score"]) for table in of] for label, of in curves.items()}
    bests = {label: [float(table["score"].max()) for table in tables] for label, tables in signed.items()}
    rows = []
    for label, tables in signed.items():
        for other, scores in bests.items():
            mean = round(sum(scores) / len(scores), 12)  # that of equal scores is not to be above them
            targets = scores if other == label else [mean] * len(tables)
            arrivals = [table[table["score"] >= target] for table, target in zip(tables, targets)]
            first = pd.DataFrame([table.iloc[0] for table in arrivals if len(table)], columns=["epoch", "seconds"])
            epochs, seconds = (first["epoch"] + 1).mean(), first["seconds"].mean()
            rows.append([label, other, sign * mean, len(first), len(tables), epochs, seconds])
    return pd.DataFrame(rows, columns=COLUMNS)
