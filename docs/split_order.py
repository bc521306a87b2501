"""Which part of a given split comes next after training: the order in time, told from the items themselves.

    python docs/split_order.py dataset/ml-1m-clean dataset/ml-1m-noisy --output=docs/forward/split_order.csv

A file whose rows have no times does not say whether its test rows come before or after its validation rows. But items
that users take one soon after the other in training do so again across the parts. For two items ``a, b``, ``n(a, b)``
counts the users' training rows of ``b`` at most three places after one of ``a``, and ``e(a, b)`` is what independence
would give. The lift of a set of pairs is ``sum n / sum e``: 1 is no relation; next neighbours are the scale.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_cfgdiff.files import write_text

_PLACES = 3
_PAIRS = [
    ("train last", "valid first"),
    ("train last", "valid last"),
    ("train last", "test first"),
    ("train last", "test last"),
    ("valid last", "test first"),
    ("test last", "valid first"),
]


def read_parts(folder: Path) -> dict[str, pd.DataFrame]:
    """Users and items, as numbers, of the three atomic files."""
    parts = {part: pd.read_csv(folder / f"{folder.name}.{part}.inter", sep="\t") for part in ("train", "valid", "test")}
    items = pd.Index(pd.concat([rows["item_id:token"] for rows in parts.values()]).unique())
    return {
        part: pd.DataFrame({"user": rows["user_id:token"], "item": items.get_indexer(rows["item_id:token"])})
        for part, rows in parts.items()
    }


def lifts(folder: Path) -> pd.DataFrame:
    """The lift of each pair of ends, over the users who have at least two rows in each part."""
    parts = read_parts(folder)
    train = parts["train"]
    n_items = 1 + max(rows["item"].max() for rows in parts.values())
    counts = np.bincount(train["item"], minlength=n_items)
    followed = np.zeros((n_items, n_items), dtype=np.float32)
    for place in range(1, _PLACES + 1):
        after = train.groupby("user")["item"].shift(-place)
        known = after.notna()
        np.add.at(followed, (train["item"][known], after[known].astype(int)), 1)

    def lift(a: pd.Series, b: pd.Series) -> float:
        expected = _PLACES * counts[a] * counts[b] / counts.sum()
        return float(followed[a, b].sum() / expected.sum())

    ends = {}
    for part, rows in parts.items():
        place, place_from_last = rows.groupby("user").cumcount(), rows.groupby("user").cumcount(ascending=False)
        several = place + place_from_last > 0
        for end, chosen in (("first", place == 0), ("second", place == 1), ("last", place_from_last == 0)):
            ends[f"{part} {end}"] = rows[chosen & several].set_index("user")["item"]
    table = pd.DataFrame(ends).dropna().astype(int)
    neighbours = [(f"{part} first", f"{part} second") for part in parts]
    told = [(*pair, lift(table[pair[0]], table[pair[1]])) for pair in neighbours + _PAIRS]
    return pd.DataFrame(told, columns=["from", "to", "lift"]).assign(dataset=folder.name, users=len(table))


def main() -> None:
    """Write and print the lifts of each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="+", type=Path, help="with NAME.train.inter, NAME.valid.inter, NAME.test.inter"
    )
    parser.add_argument("--output", type=Path, required=True, help="a CSV file")
    options = parser.parse_args()
    table = pd.concat([lifts(folder) for folder in options.folders])
    write_text(options.output, table.to_csv(index=False, float_format="%.2f"))
    print(table.to_string(index=False, float_format="%.2f"))


if __name__ == "__main__":
    main()
