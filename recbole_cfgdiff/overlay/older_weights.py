"""``init_from``: a run that starts from the weights of an older model, on data with other users and items.

What is of an item or of a user is matched by its id as in the data; what is new starts as the model draws it. Which
axis of a weight is the items', its lengths tell, before and now.
"""

from __future__ import annotations

from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import torch

from recbole_cfgdiff.data.convert.tokens import unescaped_ids
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model.history_recommender import HistoryRecommender
from recbole_cfgdiff.options import is_list_of_text
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.overlay.hyperparameters import hyperparameter_names
from recbole_cfgdiff.recommender.folder import CONFIG, load
from recbole_cfgdiff.recommender.source import HistorySource

# In our models, how far the training is and what is fitted before it, which start anew, as do all counts.
_ANEW = ("timestep_sampler.", "linear_part.")
_PADDING = "[PAD]"  # RecBole's token of user and item 0


class OldWeights(NamedTuple):
    """What an older model has to start from.

    Attributes:
        model: its name.
        state_dict: weights by name.
        ids: ``items``, and of a model that has weights for each user ``users``, as in the data, in the order of the
            weights.
    """

    model: str
    state_dict: dict[str, torch.Tensor]
    ids: dict[str, list[str]]


def old_weights(older: str | Path, networks: Sequence[str] = ()) -> OldWeights:
    """The weights of an older model, and whose they are.

    Args:
        older: the folder of a run, also of one of an experiment, whose best epoch is taken, or a checkpoint; or an
            exported model.
        networks: the modules that an exported model's weights are to be of; a run has them by its own names.

    Raises:
        ConfigError: if there is none, or if it does not say whose they are.
    """
    if (Path(older).expanduser() / CONFIG).exists():
        return _of_exported(Path(older).expanduser(), networks)
    path = checkpoint.find(older, checkpoint.BEST)
    state = checkpoint.load(path)
    if "ids" not in state:
        raise ConfigError(f"checkpoint {path}: it is of a version that kept no ids of items; train it anew")
    if not _are_ids(state["ids"]):
        raise ConfigError(f"checkpoint {path}: not a checkpoint of recbole-cfgdiff, or damaged: see its ids")
    weights = {name: value for name, value in state["state_dict"].items() if _is_weight(name, value)}
    return OldWeights(state["model"], weights, state["ids"])


def _are_ids(ids: Any) -> bool:
    return (
        isinstance(ids, dict)
        and set(ids) - {"users"} == {"items"}
        and all(is_list_of_text(each) and len(set(each[1:])) == len(each[1:]) for each in ids.values())
    )


def _of_exported(folder: Path, networks: Sequence[str]) -> OldWeights:
    exported = load(folder)
    assert isinstance(exported.source, HistorySource)  # of no other model is there a folder
    state = _denoiser(exported.source).state_dict()
    weights = {f"{network}.{name}": value for network in networks for name, value in state.items()}
    return OldWeights(str(exported.about.get("model")), weights, {"items": [_PADDING, *exported.items.ids.ids]})


def _denoiser(owner: HistorySource | HistoryRecommender) -> torch.nn.Module:
    """The network that is trained.

    Raises:
        ConfigError: if nothing is.
    """
    denoiser: torch.nn.Module | None = getattr(owner.scorer, "denoiser", None)
    if denoiser is None:
        raise ConfigError("init_from: a model that is fitted in closed form has no weights to start from")
    return denoiser


def _is_weight(name: object, value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and not str(name).startswith(_ANEW)


def ids_of(model: torch.nn.Module, dataset: Any) -> dict[str, list[str]]:
    """Ids of items, and of a model with weights for each user of users, in the order of the weights.

    Args:
        model: a model for this data.
        dataset: RecBole's.
    """
    fields = {"items": dataset.iid_field}
    # Of our models a width may be the number of users, but none of their weights is a user's.
    if not isinstance(model, HistoryRecommender) and any(
        dataset.user_num in weight.shape for weight in model.parameters()
    ):
        fields["users"] = dataset.uid_field
    return {
        what: [_PADDING, *unescaped_ids(dataset.field2id_token[name][1:].tolist())] for what, name in fields.items()
    }


class _Match(NamedTuple):
    """Ids before and now: how many, and the places of those that are in both."""

    what: str
    before: int
    now: int
    places_before: torch.Tensor
    places_now: torch.Tensor

    @classmethod
    def of(cls, what: str, before: Sequence[str], now: Sequence[str]) -> _Match:
        place = {each: index for index, each in enumerate(before[1:], 1)}  # an id may be as the padding, which is first
        both = torch.tensor(
            [(0, 0), *((place[each], index) for index, each in enumerate(now[1:], 1) if each in place)],
            dtype=torch.int64,
        )
        return cls(what, len(before), len(now), *both.reshape(-1, 2).T)

    @property
    def moves_unseen(self) -> bool:
        """Whether ids have other places, which the lengths of the weights do not show."""
        return self.before == self.now and not torch.equal(self.places_before, torch.arange(self.before))

    def places(self, blocks: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of an axis that has all of them ``blocks`` times, one after another."""
        starts = torch.arange(blocks)[:, None]
        pairs = ((self.places_before, self.before), (self.places_now, self.now))
        return tuple((starts * count + places).flatten() for places, count in pairs)  # type: ignore[return-value]

    def __str__(self) -> str:
        return f"{len(self.places_now) - 1:,} of {self.now - 1:,} {self.what}"  # without RecBole's padding


def start_from(model: Any, config: Any, dataset: Any) -> None:
    """Put the weights of ``init_from`` into a new model, and tell the log how many ids were matched.

    What optimisers keep, and counts, such as of updates, start anew.

    Args:
        model: a model that was not trained yet; is changed.
        config: its configuration.
        dataset: RecBole's.

    Raises:
        ConfigError: if the older one is of another model, or has other weights than for other users and items, or if
            no item of it is in the data.
    """
    run, n_items = str(config["init_from"]), dataset.item_num
    kind = type(_denoiser(model)) if isinstance(model, HistoryRecommender) else ()
    networks = [name for name, module in model.named_modules() if isinstance(module, kind)]
    old, ids = old_weights(run, networks), ids_of(model, dataset)
    own = {name: now for name, now in model.state_dict().items() if _is_weight(name, now)}
    _check_alike(old, own, ids, config)
    matches = [_Match.of(what, old.ids[what], ids[what]) for what in ids]
    for match in matches:
        _check_match(match, config)
    # Of ours the guidance may have the items several times.
    blocks = {1, getattr(getattr(model, "task", None), "guidance_columns", n_items) // n_items or 1}
    weights = {
        name: _matched(f"init_from: {run}: {name}", old.state_dict[name], now, matches, blocks)
        for name, now in own.items()
    }
    model.load_state_dict({**model.state_dict(), **weights})
    getLogger().info(f"Weights of {run} are those of {' and '.join(map(str, matches))} here; the others start anew")
    if any(not torch.equal(own[name], weights[name]) for name in weights if name.endswith("_extra_state")):
        getLogger().info(f"input_scale and output_scale are those of {run}")


def _check_alike(old: OldWeights, own: dict[str, torch.Tensor], ids: dict[str, list[str]], config: Any) -> None:
    """That the older one is of the same model, with the weights that this one has."""
    run = config["init_from"]
    if old.model != config["model"]:
        raise ConfigError(f"init_from: {run} is of the model {old.model}, not of {config['model']}")
    if differing := {*set(old.state_dict) ^ set(own), *set(ids) - set(old.ids)}:
        told = ", ".join(sorted(map(str, differing)))
        raise ConfigError(f"init_from: {run} is of another architecture: only one of both has {told}")


def _check_match(match: _Match, config: Any) -> None:
    """Refuse one of none of the items, and a width that is the number of ids, where only the length of an axis tells
    whose it is."""
    if match.what == "items" and len(match.places_now) < 2:
        raise ConfigError(f"init_from: no item of {config['init_from']} is in the data set {config['dataset']}")
    for name in hyperparameter_names(config.model_class) if match.moves_unseen else ():
        value = config[name]
        if match.now in (value if isinstance(value, list) else [value]):
            raise ConfigError(
                f"init_from: there are {match.now} {match.what} before and now, with the padding, others or in another "
                f"order, and {name} is {value}: which weights are theirs can't be told"
            )


def _matched(
    what: str, before: torch.Tensor, now: torch.Tensor, matches: Sequence[_Match], blocks: set[int]
) -> torch.Tensor:
    """A weight with the values that it had before wherever an id is the same, and its own elsewhere."""
    if before.dtype != now.dtype or before.dim() != now.dim():
        raise ConfigError(f"{what} is another kind of weight than in this model")
    if not torch.isfinite(before).all():
        raise ConfigError(f"{what} has numbers that are not finite")
    places = {axis: _places(what, before, now, axis, matches, blocks) for axis in range(now.dim())}
    return _put(now, before.to(now.device), [(axis, *each) for axis, each in places.items() if each is not None])


def _places(
    what: str, before: torch.Tensor, now: torch.Tensor, axis: int, matches: Sequence[_Match], blocks: set[int]
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The places along an axis that are of the same ids; None if it is of no ids.

    Raises:
        ConfigError: if it is of two, or can't be told, or is of another length.
    """
    lengths = before.shape[axis], now.shape[axis]
    found = [
        match.places(count)
        for match in matches
        for count in blocks
        if lengths == (count * match.before, count * match.now)
    ]
    # Some models have a place more, for an item that is masked.
    beside = [match for match in matches if match.moves_unseen and 0 < abs(lengths[0] - match.now) <= 2]
    if len(found) > 1 or (not found and (beside or lengths[0] != lengths[1])):
        shapes = f"{tuple(before.shape)}, here of {tuple(now.shape)}"
        raise ConfigError(f"{what} is of shape {shapes}: another architecture, or not for items and users alone")
    return found[0] if found else None


def _put(
    now: torch.Tensor, before: torch.Tensor, places: Sequence[tuple[int, torch.Tensor, torch.Tensor]]
) -> torch.Tensor:
    """``now`` with the values of ``before`` at the places along some axes, and all along the others."""
    if not places:
        return before
    (axis, source, target), *others = places
    source, target = source.to(now.device), target.to(now.device)
    part = _put(now.index_select(axis, target), before.index_select(axis, source), others)
    return now.index_copy(axis, target, part)
