"""From a run's folder to a recommender: the model with the ids, titles and histories of its data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_cfgdiff.compat import RECBOLE
from recbole_cfgdiff.data.histories import histories_of
from recbole_cfgdiff.data.items import item_fields
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import read_json
from recbole_cfgdiff.recommender.catalogue import ITEM, Catalogue
from recbole_cfgdiff.recommender.ids import Ids
from recbole_cfgdiff.recommender.recommender import Recommender, Users
from recbole_cfgdiff.recommender.source import HistorySource
from recbole_cfgdiff.runs.prepare import load_trained
from recbole_cfgdiff.runs.single import RESULT, Prepared
from recbole_cfgdiff.runs.spec import RECORD
from recbole_cfgdiff.version import __version__

_OF_OPTIONS = ("seed", "chosen_by", "noise_threshold", "valid_metric")
_OF_RESULT = ("epochs", "training_seconds", "fit", "like")


def recommender_of_run(path: str | Path) -> Recommender:
    """The best epoch of a run, with the histories of all rows of its data set, not only those that it was trained on.

    Args:
        path: a run's folder, also of one of ``compare``, or a ``best.pth``.

    Raises:
        ConfigError: as ``quick_start.load_data_and_model``.
    """
    trained = load_trained(path)
    dataset, model = trained.dataset, trained.trainer.model
    ids = dataset.field2id_token
    items = Catalogue(_items(trained, ids[dataset.iid_field][1:]))
    users = Users(Ids("user", list(ids[dataset.uid_field][1:])), histories_of(dataset))
    return Recommender(_source(model), items, users, model.guidance_scale, _about(trained, Path(path), users))


def _source(model: Any) -> HistorySource:
    return HistorySource(model.scorer, model.hyperparameters, model.is_guided)


def _items(trained: Prepared, ids: np.ndarray) -> pd.DataFrame:
    """A row an item: its id, and the fields of ``.item`` where the data set has such a file."""
    table = pd.DataFrame({ITEM: ids.astype(str)})
    fields = item_fields(trained.config)
    return table if fields is None else table.join(fields.rename(columns={ITEM: "item_"}), on=ITEM)


def _about(trained: Prepared, path: Path, users: Users) -> dict[str, Any]:
    """What the card tells."""
    config, told = trained.config, _result(path)
    split = config["benchmark_filename"] or config["eval_args"]["split"]
    return {
        "model": config["model"],
        "dataset": config["dataset"],
        "n_users": len(users.ids),
        "n_interactions": int(users.histories.counts().sum()),
        "rows": config["val_interval"],
        "split": split,
        "ranking": "all items that the user has not interacted with in the training part",
        **{name: config[name] for name in _OF_OPTIONS},
        **{name: told[name] for name in _OF_RESULT if name in told},
        "valid": told.get("best_valid_result") or told.get("valid") or {},
        "test": told.get("test_result") or told.get("test") or {},
        "versions": f"recbole-cfgdiff {__version__}, recbole {RECBOLE}, torch {torch.__version__}",
    }


def _result(path: Path) -> dict[str, Any]:
    """What a run wrote at its end; empty where there is no such file, such as of a run that was interrupted.

    Raises:
        ConfigError: if it is damaged.
    """
    folder = path if path.is_dir() else path.parent
    for file in (folder / RESULT, folder / RECORD, folder.parent / RECORD):
        if file.is_file():
            try:
                content = read_json(file)
            except (OSError, ValueError) as error:
                raise ConfigError(f"{file}: damaged: {error}") from error
            return content if isinstance(content, dict) else {}
    return {}
