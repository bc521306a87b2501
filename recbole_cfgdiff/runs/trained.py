"""From a run's folder to a recommender: the model with the ids, titles and histories of its data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import ModelType

from recbole_cfgdiff import data
from recbole_cfgdiff.compat import RECBOLE
from recbole_cfgdiff.data.convert.tokens import unescaped_ids
from recbole_cfgdiff.data.histories import histories_of
from recbole_cfgdiff.data.items import item_fields
from recbole_cfgdiff.data.sequences import item_sequences, needs_sequences
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import read_json
from recbole_cfgdiff.model.history_recommender import HistoryRecommender
from recbole_cfgdiff.recommender.catalogue import ITEM, Catalogue
from recbole_cfgdiff.recommender.ids import Ids
from recbole_cfgdiff.recommender.recommender import Recommender, Users
from recbole_cfgdiff.recommender.source import HistorySource, Source
from recbole_cfgdiff.runs.prepare import load_trained
from recbole_cfgdiff.runs.recbole_source import RecBoleSource
from recbole_cfgdiff.runs.single import RESULT, Prepared
from recbole_cfgdiff.runs.spec import RECORD
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.version import __version__

_OF_OPTIONS = ("seed", "chosen_by", "noise_threshold")
_OF_RESULT = ("epochs", "training_seconds", "fit", "like")


def recommender_of_run(path: str | Path) -> Recommender:
    """The best epoch of a run, with the histories of all rows of its data set, not only those that it was trained on.

    Args:
        path: a run's folder, also of one of ``compare``, or a ``best.pth``.

    Raises:
        ConfigError: as ``quick_start.load_data_and_model``; or if the model can't rank what is in no interaction yet.
    """
    trained = load_trained(path)
    dataset = trained.dataset
    ids = dataset.field2id_token
    items = Catalogue(_items(trained, ids[dataset.iid_field][1:]))
    users = Users(Ids("user", unescaped_ids(ids[dataset.uid_field][1:].tolist())), _histories(trained))
    guidance_scale = getattr(trained.trainer.model, "guidance_scale", 0.0)
    source = _source(trained, users.histories)
    return Recommender(source, items, users, guidance_scale, _about(trained, Path(path), users))


def _histories(trained: Prepared) -> Histories:
    """Those of all rows, also where RecBole's split of sequential models has made the first row of each user part of a
    sequence."""
    dataset = trained.dataset
    if _has_recboles_sequences(trained):
        if trained.config["benchmark_filename"] is not None:
            raise ConfigError(f"data set {trained.config['dataset']}: it comes with sequences instead of single rows")
        dataset = data.create_dataset(trained.config)
        Dataset._change_feat_format(dataset)
    return histories_of(dataset)


def _has_recboles_sequences(trained: Prepared) -> bool:
    return trained.config["MODEL_TYPE"] is ModelType.SEQUENTIAL and not needs_sequences(trained.config)


def _source(trained: Prepared, histories: Histories) -> Source:
    model = trained.trainer.model
    if isinstance(model, HistoryRecommender):
        return HistorySource(model.scorer, model.hyperparameters, lambda _, given: model.taken(given))
    dataset = trained.dataset
    known = Interaction({dataset.uid_field: torch.arange(dataset.user_num)})
    if _has_recboles_sequences(trained):  # which are of rows, not of users
        starts, ends = histories.offsets[:-1].numpy(), histories.offsets[1:].numpy()
        known.update(item_sequences(trained.config, histories.items.numpy(), starts, ends))
    return RecBoleSource(trained.trainer, trained.test_data._dataset.join(known), dataset.get_item_feature())


def _items(trained: Prepared, ids: np.ndarray) -> pd.DataFrame:
    """A row an item: its id, and the fields of ``.item`` where the data set has such a file."""
    table = pd.DataFrame({ITEM: unescaped_ids(ids.tolist())})
    fields = item_fields(trained.config)
    if fields is None:
        return table
    return table.join(fields.rename(columns={ITEM: "item_"}).reindex(ids.astype(object)).reset_index(drop=True))


def _about(trained: Prepared, path: Path, users: Users) -> dict[str, Any]:
    """What the card tells."""
    config, told = trained.config, _result(path)
    is_measured = config["fit"] != "all"
    protocol = {
        "split": config["benchmark_filename"] or config["eval_args"]["split"],
        "ranking": "all items that the user has not interacted with in the training part",
        "valid_metric": config["valid_metric"],
    }
    return {
        "model": config["model"],
        "dataset": config["dataset"],
        "n_users": len(users.ids),
        "n_interactions": int(users.histories.counts().sum()),
        "rows": config["val_interval"],
        **(protocol if is_measured else {}),
        **{name: config[name] for name in _OF_OPTIONS},
        **{name: told[name] for name in _OF_RESULT if name in told},
        "valid": (told.get("best_valid_result") or told.get("valid") or {}) if is_measured else {},
        "test": (told.get("test_result") or told.get("test") or {}) if is_measured else {},
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
