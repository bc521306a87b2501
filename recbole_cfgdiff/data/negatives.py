"""Whether there are items to draw as negatives, asked before training.

RecBole 1.2.1 refuses every data set in which a user has all items, also where nothing is drawn; and where a user has
none left to be drawn it searches for one forever. To go with a RecBole whose samplers tell the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from typing import Any

from recbole.data.dataloader import NegSampleDataLoader
from recbole.sampler import RepeatableSampler, Sampler
from recbole.utils import ModelType

from recbole_cfgdiff.compat import replaced
from recbole_cfgdiff.errors import ConfigError

_RECBOLES_USED_IDS = Sampler.get_used_ids


def _used_ids(sampler: Any) -> Any:
    """RecBole's, which refuses a user with as many items as there are: of None there are none."""
    n_items, sampler.item_num = sampler.item_num, None
    try:
        return _RECBOLES_USED_IDS(sampler)
    finally:
        sampler.item_num = n_items


@contextmanager
def users_may_have_all_items() -> Iterator[None]:
    """While loaders are made: RecBole's samplers take users who have all items."""
    with replaced(Sampler, get_used_ids=_used_ids):
        yield


def check_negatives(config: Any, dataset: Any, loaders: tuple[Any, Any, Any]) -> None:
    """Check that there is an item to draw for each user for whom one is to be drawn.

    Models that are fitted at once (EASE, ItemKNN, ...) read no batches: nothing is drawn for theirs if nothing can be.

    Args:
        config: the configuration.
        dataset: the whole data set.
        loaders: of the training, validation and test part.

    Raises:
        ConfigError: names the user, and what to do.
    """
    for phase, loader in zip(("train", "valid", "test"), loaders):
        loader = getattr(loader, "general_dataloader", loader)  # of the models with a knowledge graph
        if not _draws(loader) or len(loader._dataset) == 0:
            continue
        id_, left, n_items = _fewest_left(loader)
        user = dataset.id2token(dataset.uid_field, id_)
        if left == 0 and phase == "train" and _reads_no_batches(config):
            loader.neg_sample_args = {**loader.neg_sample_args, "distribution": "none"}
        elif left == 0:
            raise ConfigError(_nothing_left(config, phase, user, n_items))
        elif phase != "train" and left < loader.neg_sample_num:
            mode = config["eval_args"]["mode"][phase]
            getLogger().warning(f"mode {mode}: user {user} has {left} items left to draw from, some more than once")


def _reads_no_batches(config: Any) -> bool:
    return config["MODEL_TYPE"] is ModelType.TRADITIONAL and config["model"] != "Pop"


def _draws(loader: Any) -> bool:
    return isinstance(loader, NegSampleDataLoader) and "none" not in (
        loader.neg_sample_args["distribution"],
        loader.neg_sample_args["sample_num"],
    )


def _fewest_left(loader: Any) -> tuple[int, int, int]:
    """The user with the fewest items left to draw from, how many they are, and how many there are to draw from."""
    sampler, users = loader._sampler, loader._dataset.inter_feat[loader.uid_field].unique().tolist()
    drawn = set(sampler.prob) if sampler.distribution == "popularity" else range(1, sampler.item_num)
    if isinstance(sampler, RepeatableSampler):  # which leaves out the row's own item only
        return users[0], len(drawn) - 1, len(drawn)
    left = {user: len(drawn) - sum(item in drawn for item in sampler.used_ids[user]) for user in users}
    user = min(left, key=left.__getitem__)
    return user, left[user], len(drawn)


def _nothing_left(config: Any, phase: str, user: str, n_items: int) -> str:
    if phase == "train":
        what = f"train_neg_sample_args: model {config['model']}"
        instead = "choose a model that draws none, such as CFGDiffRec or EASE"
    else:
        what = f"eval_args: mode: {config['eval_args']['mode'][phase]}"
        instead = "set mode to full"
    return (
        f"data set {config['dataset']}: {what}: user {user} has all of the {n_items} items that can be drawn, none is "
        f"left as a negative one; leave such users out, as by --user_inter_num_interval='[0,{n_items})', or {instead}"
    )
