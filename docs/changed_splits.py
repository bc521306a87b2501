"""Two data sets that tell why ForwardCFGDiffRec loses on ml-100k; docs/results.md has what came of them.

    python docs/changed_splits.py dataset/ml-1m-clean --output=dataset

`ml-100k-next` is ml-100k, tested on the rows that come next: of each user's interactions in time order the first 70%
train as ever, but the next 20% test and the last 10% validate. `ml-1m-clean-943` is the DiffRec authors' clean split of
ML-1M with as many users as ml-100k has, drawn at random.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_cfgdiff.config import Config
from recbole_cfgdiff.data.convert import new_folder, write_yaml
from recbole_cfgdiff.data.loading import create_dataset

_COLUMNS = ["user_id:token", "item_id:token", "position:float"]
_N_USERS, _SEED = 943, 2020


def same_second(rows: pd.DataFrame) -> float:
    """The share of the rows that have another of the same user and time."""
    return rows.duplicated(["user_id", "timestamp"], keep=False).mean()


def ml_100k_next(dataset: Any) -> dict[str, pd.DataFrame]:
    """The parts of ml-100k under the paper's protocol, the latter two in each other's place."""
    train, valid, test = dataset.build()
    return {"train": _rows(train), "valid": _rows(test), "test": _rows(valid)}


def _rows(part: Any) -> pd.DataFrame:
    users, items = part.inter_feat[part.uid_field].numpy(), part.inter_feat[part.iid_field].numpy()
    names = [part.id2token(part.uid_field, users), part.id2token(part.iid_field, items)]
    rows = pd.DataFrame(dict(zip(_COLUMNS, names)))
    return rows.assign(**{_COLUMNS[-1]: rows.groupby(_COLUMNS[0]).cumcount()})


def some_users(folder: Path) -> dict[str, pd.DataFrame]:
    """The parts of a given split, of 943 users."""
    parts = {
        part: pd.read_csv(folder / f"{folder.name}.{part}.inter", sep="\t", dtype=str)
        for part in ("train", "valid", "test")
    }
    users = parts["train"]["user_id:token"].unique()
    chosen = np.random.default_rng(_SEED).choice(users, _N_USERS, replace=False)
    return {part: rows[rows["user_id:token"].isin(chosen)] for part, rows in parts.items()}


def write(parts: dict[str, pd.DataFrame], target: Path) -> None:
    """A data set that comes split, with the file that tells RecBole so."""
    with new_folder(target, overwrite=True) as folder:
        for part, rows in parts.items():
            rows.to_csv(folder / f"{target.name}.{part}.inter", sep="\t", index=False)
        names = [column.partition(":")[0] for column in _COLUMNS]
        options = {"TIME_FIELD": "position", "benchmark_filename": list(parts), "load_col": {"inter": names}}
        write_yaml(folder, target.name, options)


def main() -> None:
    """Write both, and print how much of the order of ml-100k its times tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the DiffRec authors' clean split of ML-1M, converted")
    parser.add_argument("--output", type=Path, required=True, help="folder of data sets")
    options = parser.parse_args()
    ml_100k = create_dataset(Config(model="EASE", dataset="ml-100k"))
    print(
        f"{same_second(ml_100k.inter_feat):.1%} of ml-100k's liked rows share their second with another of the user's"
    )
    write(ml_100k_next(ml_100k), options.output / "ml-100k-next")
    write(some_users(options.folder), options.output / f"{options.folder.name}-{_N_USERS}")


if __name__ == "__main__":
    main()
