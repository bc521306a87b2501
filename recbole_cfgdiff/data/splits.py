"""Splits that RecBole does not have: every row to train on, the noisy setting, and users held out from training."""

from __future__ import annotations

import hashlib
from logging import getLogger
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.sampler import Sampler

from recbole_cfgdiff.data.loaders import UserDataLoader
from recbole_cfgdiff.errors import ConfigError

# Models that score from a history alone, and learn from batches of users: nothing of a user outside of the training
# batches enters them. Subclasses count, so RecBole's DiffRec by whatever name.
_FROM_HISTORIES = {"HistoryRecommender", "DiffRec", "MultiVAE", "MultiDAE", "MacridVAE", "RecVAE"}


def split_by_exact_time(dataset: Any, ratios: list[float], group_by: str) -> list[Any]:
    """RecBole's split ``TS``: the latest rows of all are to test on, the others are split within each user.

    RecBole 1.2.1 compares times that it has rounded to 64 to 128 seconds; to go with a RecBole that does not.

    Args:
        dataset: a RecBole data set in exact time order.
        ratios: of the three parts.
        group_by: the column of users.
    """
    times, shares = dataset.times_in_order, [ratio / sum(ratios) for ratio in ratios]
    boundary = np.percentile(times, 100 * (1 - shares[-1]))
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for rows in map(np.array, dataset._grouped_index(dataset.inter_feat[group_by].numpy())):
        is_test = times[rows] > boundary
        n_train = int((~is_test).sum() * (shares[0] / (1 - shares[-1])))
        for part, chosen in zip(parts, (rows[~is_test][:n_train], rows[~is_test][n_train:], rows[is_test])):
            part.extend(chosen)
    dataset._drop_unused_col()
    return [dataset.copy(dataset.inter_feat[part]) for part in parts]


def train_on_all_rows(dataset: Any) -> None:
    """Let every row that the data set has, of whichever part, be in the training part; the others are empty.

    Args:
        dataset: a RecBole data set before its split; it becomes one with a given split.
    """
    dataset.benchmark_filename_list = ["train", "valid", "test"]
    dataset.file_size_list = [len(dataset.inter_feat), 0, 0]
    getLogger().info(
        f"{len(dataset.inter_feat):,} rows to train on, all that there are: none to validate or test (fit)"
    )


def add_noise(dataset: Any, threshold: float, seed: int) -> None:
    """Split as the ``clean`` protocol does, then let ratings below ``threshold`` into training and validation.

    An approximation of DiffRec's noisy setting, whose sample is not published: each user's interactions rated at least
    ``threshold`` are split in time order; a lower one belongs to the part in whose span of time it lies, and is left
    out after the last validation row. Of the training part, clean and noisy together, as many rows are drawn as the
    clean one has; likewise of the validation part. The test part is that of ``clean``.

    Args:
        dataset: a RecBole data set before its split, in time order, with ratings; it becomes one with a given split.
        threshold: the lowest rating that counts as positive.
        seed: of the sample; not the model's.

    Raises:
        ConfigError: if the data set has no ratings, or if the split is not by ratio in time order.
    """
    rows, config = dataset.inter_feat, dataset.config
    rating = config["RATING_FIELD"]
    if rating not in rows:
        raise ConfigError(f"data set {dataset.dataset_name}: no column {rating!r} is loaded to tell noise by")
    ratios = config["eval_args"]["split"].get("RS")
    if ratios is None or config["eval_args"]["order"] != "TO":
        raise ConfigError(
            f"the noisy protocol needs a split by ratios in time order (RS, TO), got {config['eval_args']}"
        )
    clean = (rows[rating] >= threshold).to_numpy()
    part = np.full(len(rows), -1)
    for positions in rows.groupby(dataset.uid_field, sort=False).indices.values():
        positives = positions[clean[positions]]
        if len(positives):
            ends = dataset._calcu_split_ids(len(positives), [ratio / sum(ratios) for ratio in ratios])
            part[positives] = np.searchsorted(ends, np.arange(len(positives)), side="right")
            # A noisy row lies in the part of the next clean one.
            following = np.searchsorted(positives, positions[~clean[positions]])
            noise = positions[~clean[positions]][following < len(positives)]
            part[noise] = part[positives[following[following < len(positives)]]]
    part[(part == 2) & ~clean] = -1
    random = np.random.default_rng(seed)
    chosen = [
        _sample(np.flatnonzero(part == index), int((clean & (part == index)).sum()), random) for index in (0, 1, 2)
    ]
    dataset.inter_feat = rows.iloc[np.concatenate(chosen)].reset_index(drop=True)
    n_noise = int((~clean[np.concatenate(chosen)]).sum())
    getLogger().info(
        f"{len(rows) - len(dataset.inter_feat):,} of {len(rows):,} rows left out, {n_noise:,} with {rating} below "
        f"{threshold:g} let into training and validation (noise_threshold)"
    )
    dataset.benchmark_filename_list = ["train", "valid", "test"]
    dataset.file_size_list = [len(rows_) for rows_ in chosen]


def _sample(rows: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    return np.sort(random.choice(rows, size=size, replace=False))


def is_held_out(tokens: list[str], share: float, seed: int) -> np.ndarray:
    """Which users are held out: the given share of them, by a hash of their ids.

    So the choice depends on neither the order of the file nor the seed of a model.

    Args:
        tokens: ids of the users.
        share: in (0, 1).
        seed: another seed holds out others.

    Returns:
        bool, shape ``(len(tokens),)``.
    """
    digests = [hashlib.sha256(f"{seed}:{token}".encode()).digest() for token in tokens]
    held_out = np.zeros(len(tokens), dtype=bool)
    held_out[sorted(range(len(tokens)), key=digests.__getitem__)[: round(share * len(tokens))]] = True
    return held_out


def hold_users_out(config: Any, dataset: Any, loaders: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """The paper's protocol as reconstructed: train on some users, test on the others.

    Training batches have the training users only, validation has their validation rows. The held-out users are tested
    on their validation rows (``heldout_targets: valid``, the paper's figures) or test rows (``test``); their training
    rows are the input, and the only items left out of the ranking.

    Args:
        config: with ``heldout_users``, ``heldout_targets`` and ``heldout_seed``.
        dataset: the whole data set.
        loaders: of the training, validation and test part; the training one yields users.

    Returns:
        the same three, for the two groups of users.

    Raises:
        ConfigError: for a model that knows its users, an evaluation other than full ranking, or bad options.
    """
    _check_heldout_options(config)
    train, valid, test = loaders
    users = np.arange(1, dataset.user_num)
    held_out = np.zeros(dataset.user_num, dtype=bool)
    held_out[1:] = is_held_out(
        dataset.id2token(dataset.uid_field, users), config["heldout_users"], config["heldout_seed"]
    )
    if not held_out.any() or held_out[1:].all():
        raise ConfigError(
            f"heldout_users: a share of {config['heldout_users']} of {len(users)} users leaves none to "
            f"{'test' if not held_out.any() else 'train'} on"
        )
    getLogger().info(f"{held_out.sum():,} of {len(users):,} users held out from training (heldout_users)")
    mask = torch.from_numpy(held_out)
    train._dataset.held_out = mask  # for models that count something over the training rows
    targets = {"valid": valid, "test": test}[config["heldout_targets"]]
    make_loader = type(train) if isinstance(train, UserDataLoader) else UserDataLoader
    return (
        make_loader(config, train._dataset, train._sampler, users=torch.from_numpy(np.flatnonzero(~held_out))),
        _ranking(config, train._dataset, valid._dataset, ~mask),
        _ranking(config, train._dataset, targets._dataset, mask),
    )


def _ranking(config: Any, train_part: Any, part: Any, mask: torch.Tensor) -> FullSortEvalDataLoader:
    """Full ranking for the users of ``mask``, training rows left out."""
    rows = part.inter_feat
    chosen = part.copy(rows[mask[rows[part.uid_field]]])
    return FullSortEvalDataLoader(
        config, chosen, Sampler(["train", "target"], [train_part, chosen]).set_phase("target")
    )


def _check_heldout_options(config: Any) -> None:
    if config["heldout_targets"] == "valid" and config["eval_args"]["split"].get("RS", [1, 1, 1])[1] == 0:
        raise ConfigError("heldout_targets: the split has no validation part; set it to test")
    if not {base.__name__ for base in config.model_class.__mro__} & _FROM_HISTORIES:
        ours = ["CFGDiffRec", "ForwardCFGDiffRec", "NextItemRidge", "SeqCFGDiffRec"]
        able = ", ".join([*ours, *sorted(_FROM_HISTORIES - {"HistoryRecommender"})])
        raise ConfigError(
            f"heldout_users: {config['model']} has parameters of its own for each user or fits all users at once; only "
            f"models that score from a history can be tested on new users: {able}"
        )
    if set(config["eval_args"]["mode"].values()) != {"full"}:
        raise ConfigError("heldout_users: only full ranking is supported, set mode to full in eval_args")
