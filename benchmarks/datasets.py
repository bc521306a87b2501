"""The data sets of the benchmarks, made in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recbole_cfgdiff.commands.cli import main

_ML_1M = Path(__file__).resolve().parents[2] / "shared" / "data" / "diffrec_ml-1m_clean.zip"


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """An empty folder as the working folder, so that RecBole writes its logs there."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def make_ml_1m_clean() -> str:
    """``ml-1m-clean`` from the DiffRec authors' archive in ``../shared/data``; its name."""
    if not _ML_1M.is_file():
        raise SystemExit(f"{_ML_1M} is missing: dataset/README.md says where to get it; --quick does without")
    if main(["convert", "diffrec", str(_ML_1M), "--name=ml-1m-clean"]):
        raise SystemExit(f"{_ML_1M}: the conversion failed")
    return "ml-1m-clean"


def make_synthetic(n_items: int, n_users: int, per_user: int) -> str:
    """A data set of random histories of equal length; items by a power law, but each at least once. Its name."""
    name = f"synthetic-{n_items}-{n_users}-{per_user}"
    random = np.random.default_rng(0)
    total = n_users * per_user
    if total < n_items:
        raise ValueError(f"{total} interactions do not reach {n_items} items")
    popularity = 1 / np.arange(10, n_items + 10)
    items = random.choice(n_items, size=total, p=popularity / popularity.sum())
    items[random.permutation(total)[:n_items]] = np.arange(n_items)
    users = np.arange(total) // per_user
    folder = Path("dataset") / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"{user}\t{item}\t{place}" for place, (user, item) in enumerate(zip(users.tolist(), items.tolist()))]
    (folder / f"{name}.inter").write_text("\n".join(lines) + "\n")
    return name
