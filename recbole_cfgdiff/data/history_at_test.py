"""What a model is told of a user at test time: the training rows, or also the validation rows (``history_at_test``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from recbole_cfgdiff.data.histories import pairs_in_order
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.scoring.histories import Histories

TRAIN, TRAIN_AND_VALID = "train", "train_and_valid"


def is_with_validation(config: Any) -> bool:
    """Whether a history at test time has the validation rows too.

    Raises:
        ConfigError: for users who are held out, of whom validation rows may be what is to be found.
    """
    if config["history_at_test"] == TRAIN:
        return False
    if config["heldout_users"] is not None:
        raise ConfigError(
            "history_at_test: held-out users (heldout_users) are tested by their training rows; set it to train"
        )
    return bool(config["fit"] != "all")


def rows_at_test(train_part: Any, valid_part: Any) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of the training and the validation rows, shape ``(n_rows,)``; each user's in time order.

    Args:
        train_part: of a split data set.
        valid_part: its validation part. Of a split in time order, and of a given one, its rows come after those of the
            training part.
    """
    parts = [pairs_in_order(part) for part in (train_part, valid_part)]
    users, items, places = (np.concatenate(columns) for columns in zip(*parts))
    order = np.argsort(places, kind="stable")
    return users[order], items[order]


def histories_at_test(train_part: Any, valid_part: Any) -> Histories:
    """Everybody's histories of the training and the validation rows. Arguments as of ``rows_at_test``."""
    return Histories.of_pairs(*rows_at_test(train_part, valid_part), train_part.user_num, train_part.item_num)
