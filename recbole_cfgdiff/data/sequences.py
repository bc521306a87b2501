"""RecBole's sequential models under the split of the general ones: the same users, training rows, targets and masks."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import recbole.data.dataset
import torch
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from recbole.utils import FeatureSource, FeatureType, ModelType

from recbole_cfgdiff.data.history_at_test import TRAIN, is_with_validation, rows_at_test
from recbole_cfgdiff.data.time_order import time_order
from recbole_cfgdiff.errors import ConfigError, reported_if_raised_by_recbole


def needs_sequences(config: Any) -> bool:
    """Whether a sequential model is to be trained and tested on a split of each user's interactions.

    RecBole itself gives sequential models only splits that leave out the last rows (``LS``), ranks anew for every row
    of them, and reads given splits only with sequences as columns.
    """
    if config["MODEL_TYPE"] is not ModelType.SEQUENTIAL:
        return False
    if config["benchmark_filename"] is None:
        return "LS" not in config["eval_args"]["split"] or config["history_at_test"] != TRAIN
    return _names(config)[0] not in (config["load_col"] or {}).get("inter", [])


def _names(config: Any) -> tuple[str, str]:
    """Of the columns with sequences and with their lengths."""
    return config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"], config["ITEM_LIST_LENGTH_FIELD"]


def make_sequence_loaders(config: Any, dataset: Any) -> tuple[Any, Any, Any]:
    """Loaders of the training, validation and test part.

    Trained is on each training row but a user's first, after the training rows before it, as RecBole's augmentation
    has it. A user is ranked for once in each part, after the training rows, which general models are given too; what
    general models mask is masked.

    Args:
        config: of a sequential model; a sequence has at most ``MAX_ITEM_LIST_LENGTH`` items, the latest.
        dataset: a general ``recbole.data.dataset.Dataset`` with times.

    Raises:
        ConfigError: for an evaluation other than full ranking, without times, or for a model with rows of its own.
    """
    _check(config, dataset)
    sequence, length = _names(config)
    dataset.set_field_property(
        sequence, FeatureType.TOKEN_SEQ, FeatureSource.INTERACTION, config["MAX_ITEM_LIST_LENGTH"]
    )
    dataset.set_field_property(length, FeatureType.TOKEN, FeatureSource.INTERACTION, 1)
    parts = dataset.build()
    users, items = _in_time_order(parts[0])
    starts = np.searchsorted(users, np.arange(dataset.user_num + 1))

    targets = np.flatnonzero(np.arange(len(users)) > starts[users])
    if len(targets) == 0:
        raise ConfigError(f"model {config['model']}: no user has two training rows, of which the second is predicted")
    examples = item_sequences(config, items, starts[users[targets]], targets)
    told = {dataset.uid_field: torch.from_numpy(users[targets]), dataset.iid_field: torch.from_numpy(items[targets])}
    examples.update(Interaction(told))
    with reported_if_raised_by_recbole("training options"):
        train_data = TrainDataLoader(
            config, parts[0].copy(examples), _negatives(config, parts), shuffle=config["shuffle"]
        )

    of_valid = _histories(config, dataset, users, items)
    of_test = of_valid
    if is_with_validation(config):
        of_test = _histories(config, dataset, *_by_user(*rows_at_test(*parts[:2])))
    sampler = Sampler(["train", "valid", "test"], parts)
    rankings = []
    for part, phase, histories in zip(parts[1:], ("valid", "test"), (of_valid, of_test)):
        ranked = part.copy(part.inter_feat)
        ranked.user_feat = histories  # RecBole joins it to the users that are ranked for
        rankings.append(FullSortEvalDataLoader(_as_of_a_general_model(config), ranked, sampler.set_phase(phase)))
    return train_data, *rankings


def _check(config: Any, dataset: Any) -> None:
    if hasattr(recbole.data.dataset, f"{config['model']}Dataset"):
        raise ConfigError(
            f"model {config['model']}: RecBole makes training rows of its own for it, which only its own split has; "
            "give --eval_args=\"{'split': {'LS': 'valid_and_test'}}\""
        )
    if set(config["eval_args"]["mode"].values()) != {"full"}:
        raise ConfigError(f"model {config['model']}: under this split only full ranking is supported, set mode to full")
    if dataset.time_field not in dataset.inter_feat:
        raise ConfigError(f"model {config['model']}: no column {dataset.time_field!r} is loaded that orders a sequence")


def _negatives(config: Any, parts: list[Any]) -> Any:
    """What draws negative items of the training part, as ``train_neg_sample_args`` say; None if none are drawn."""
    args = config["train_neg_sample_args"]
    if args["distribution"] == "none":
        return None
    return Sampler(["train", "valid", "test"], parts, args["distribution"], args["alpha"]).set_phase("train")


def _in_time_order(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Users, ascending, and items of the rows; each user's in time order."""
    rows, order = dataset.inter_feat, time_order(dataset)
    return _by_user(rows[dataset.uid_field].numpy()[order], rows[dataset.iid_field].numpy()[order])


def _by_user(users: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(users, kind="stable")
    return users[order], items[order]


def _histories(config: Any, dataset: Any, users: np.ndarray, items: np.ndarray) -> Interaction:
    """Everybody's sequence, by rows of which each user's are together and in time order."""
    starts = np.searchsorted(users, np.arange(dataset.user_num + 1))
    histories = item_sequences(config, items, starts[:-1], starts[1:])
    histories.update(Interaction({dataset.uid_field: torch.arange(dataset.user_num)}))
    return histories


def item_sequences(config: Any, items: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Interaction:
    """``items[start:end]`` for each start and end, the latest ``MAX_ITEM_LIST_LENGTH`` of them, and their number."""
    length = config["MAX_ITEM_LIST_LENGTH"]
    starts = np.maximum(starts, ends - length)
    place = starts[:, None] + np.arange(length)
    sequences = np.where(place < ends[:, None], items[np.minimum(place, len(items) - 1)], 0)
    # Who has no training row gets a sequence of the padding item: the models look at place length - 1.
    columns = torch.from_numpy(sequences), torch.from_numpy(np.maximum(ends - starts, 1))
    return Interaction(dict(zip(_names(config), columns)))


def _as_of_a_general_model(config: Any) -> Any:
    """A copy whose ``MODEL_TYPE`` is general, by which RecBole ranks for each user once, with masks."""
    general = copy.copy(config)
    general.final_config_dict = {**config.final_config_dict, "MODEL_TYPE": ModelType.GENERAL}
    return general
