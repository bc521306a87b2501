"""Putting what a checkpoint holds into a model and its trainer: only what they have, of the same type and shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay import checkpoint

# What the optimisers that RecBole knows keep of each weight.
_MOMENTS = {
    "Adam": {"step", "exp_avg", "exp_avg_sq"},
    "AdamW": {"step", "exp_avg", "exp_avg_sq"},
    "SparseAdam": {"step", "exp_avg", "exp_avg_sq"},
    "Adagrad": {"step", "sum"},
    "RMSprop": {"step", "square_avg"},
    "SGD": {"momentum_buffer"},
}


def load_model_state(model: Any, state: dict[str, Any], path: str | Path) -> None:
    """Put a checkpoint's weights into a model.

    Raises:
        ConfigError: if they do not fit, or are not finite numbers.
    """
    with _told_as_misfit(path):
        _check_alike(model.state_dict(), state["state_dict"])
        model.load_state_dict(state["state_dict"])
        others = state["other_parameter"]
        _check_alike(other_parameter(model), others)
        model.load_other_parameter({name: _on(model.device, value) for name, value in others.items()})


def other_parameter(model: Any) -> dict[str, Any]:
    """What RecBole's models want to keep beside their state, without modules, whose weights are in the state."""
    others = model.other_parameter().items()
    return {name: value for name, value in others if not isinstance(value, torch.nn.Module)}


# What RecBole's models count with outside their state, by the class that does; a model of one's own says so in a class
# attribute ``counters``, a tuple of names. (SGL's graphs are drawn anew each epoch; products kept for inference are no
# counters.)
_COUNTERS: dict[str, tuple[str, ...]] = {
    "recbole.model.general_recommender.diffrec.DiffRec": ("Lt_history", "Lt_count"),
    "recbole.model.general_recommender.ldiffrec.LDiffRec": ("update_count", "update_count_vae"),
    "recbole.model.general_recommender.line.LINE": ("random_list", "random_pr"),
    "recbole.model.general_recommender.macridvae.MacridVAE": ("update",),
    "recbole.model.general_recommender.multivae.MultiVAE": ("update",),
    "recbole.model.general_recommender.ncl.NCL": ("user_centroids", "user_2cluster", "item_centroids", "item_2cluster"),
    "recbole.model.general_recommender.ract.RaCT": ("update",),
}


def counters(model: Any) -> dict[str, Any]:
    """What a model counts with outside its state, such as the annealing step of RecBole's MultiVAE, by name."""
    names = {
        name
        for base in type(model).__mro__
        for name in (*_COUNTERS.get(f"{base.__module__}.{base.__name__}", ()), *vars(base).get("counters", ()))
    }
    return {name: value for name, value in vars(model).items() if name in names and value is not None}


def load_counters(model: Any, counters: Mapping[str, Any], path: str | Path) -> None:
    """Set the plain attributes of a model that training goes on from; those that it has not yet are left out.

    Raises:
        ConfigError: if one is no number, tensor or array in the model, or of another type or shape there.
    """
    countable = (int, float, torch.Tensor, np.ndarray)
    # Others come into being with the first step, as RepeatNet's.
    counters = {name: value for name, value in counters.items() if hasattr(model, name)}
    with _told_as_misfit(path):
        own = {name: value for name, value in vars(model).items() if name in counters and isinstance(value, countable)}
        _check_alike(own, counters)
    for name, value in counters.items():
        setattr(model, name, _on(model.device, value))


def load_optimizers(
    optimizers: Mapping[str, torch.optim.Optimizer], states: Mapping[str, Any], path: str | Path
) -> None:
    """Put the states of optimisers into them; options such as ``lr`` stay as they are.

    Raises:
        ConfigError: if they are of other optimisers or of other weights.
    """
    with _told_as_misfit(path):
        others = set(optimizers) - set(states)
        if set(states) - set(optimizers) or others - ({"optimizer"} if states else set()):  # RecVAE's has a second name
            raise ValueError(f"it has the optimisers {', '.join(states)}, expected {', '.join(optimizers)}")
        for name, optimizer_state in states.items():
            optimizer = optimizers[name]
            options = [
                {key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups
            ]
            optimizer.load_state_dict(optimizer_state)
            for group, own in zip(optimizer.param_groups, options):
                group.update(own)
            _check_moments(optimizer)


def _check_moments(optimizer: torch.optim.Optimizer) -> None:
    expected = _MOMENTS[type(optimizer).__name__]
    for weight, moments in optimizer.state.items():
        if not isinstance(weight, torch.Tensor) or not isinstance(moments, dict):
            raise ValueError("an optimiser's state of no weight")
        if set(moments) != expected:
            raise ValueError(f"an optimiser's {', '.join(moments)}, expected {', '.join(sorted(expected))}")
        for name, value in moments.items():
            shape = torch.Size([]) if name == "step" else weight.shape
            if value is None and name == "momentum_buffer":  # there is none without momentum
                continue
            if not isinstance(value, torch.Tensor) or value.shape != shape:
                raise ValueError(f"{name} of {_kind_of(value)} for weights of shape {tuple(weight.shape)}")
            _check_finite(name, value)


def check_progress(state: Mapping[str, Any], path: str | Path) -> None:
    """Check what training goes on from beside weights and optimisers.

    Raises:
        ConfigError: if a part can't be what it is to be.
    """
    before = checkpoint.random_states()
    with _told_as_misfit(path):
        try:
            checkpoint.restore_random_states(state["random_states"])
            torch.Generator().set_state(state["loader_generator"].cpu())
        finally:
            checkpoint.restore_random_states(before)
        if min(state["epoch"], state["cur_step"]) < 0:
            raise ValueError("an epoch or a step below 0")
        for name, value in (state["best_valid_result"] or {}).items():
            if not isinstance(name, str) or not isinstance(value, (int, float)):
                raise ValueError(f"best_valid_result with {name!r}: {value!r}")


@contextmanager
def _told_as_misfit(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
        raise ConfigError(f"checkpoint {path}: it does not fit the model: {error}") from error


def _check_alike(expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Check what is found against the model's own values of the same names.

    Raises:
        ValueError: on another name, type or shape, or a number that is not finite.
    """
    if set(found) != set(expected):
        named = {"not in the model": set(found) - set(expected), "missing": set(expected) - set(found)}
        raise ValueError(
            "; ".join(f"{what}: {', '.join(sorted(map(str, names)))}" for what, names in named.items() if names)
        )
    for name, value in found.items():
        kind, own = _kind_of(value), _kind_of(expected[name])
        if kind != own and not _is_cache(value, expected[name]):
            raise ValueError(f"{name} is {kind}, expected {own}")
        _check_finite(name, value)


def _is_cache(*values: Any) -> bool:
    """Whether one is None and the other a tensor, as what LightGCN and others keep between two steps."""
    return any(value is None for value in values) and any(isinstance(value, torch.Tensor) for value in values)


def _kind_of(value: Any) -> str:
    if isinstance(value, (torch.Tensor, np.ndarray)) or scipy.sparse.issparse(value):
        layout = f"{value.format} " if scipy.sparse.issparse(value) else ""
        return f"{layout}{value.dtype} of shape {tuple(value.shape)}"
    kinds = ((type(None), "nothing"), (str, "text"), ((int, float), "a number"))
    return next((kind for types, kind in kinds if isinstance(value, types)), "a list")


def _check_finite(name: str, value: Any) -> None:
    numbers = value.tocsr().data if scipy.sparse.issparse(value) else value
    if isinstance(numbers, torch.Tensor):
        finite = not numbers.is_floating_point() or bool(torch.isfinite(numbers).all())
    elif isinstance(numbers, (np.ndarray, float, int)):
        finite = bool(np.isfinite(numbers).all())
    else:
        finite = True
    if not finite:
        raise ValueError(f"{name} has numbers that are not finite")


def _on(device: torch.device, value: Any) -> Any:
    return value.to(device) if isinstance(value, torch.Tensor) else value
