"""An exported model: a folder of plain files, read as one that somebody else may have made.

``config.json``, ``model.safetensors``, ``items.parquet``, ``histories.parquet`` (optional) and ``README.md``; names
follow Hugging Face's conventions. Nothing in them can run code; only regular files of these names are read, each of a
bounded size.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_bytes
from torch import nn
from torch.overrides import TorchFunctionMode

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import folder_in_one_piece
from recbole_cfgdiff.recommender import onnx_export, vectors
from recbole_cfgdiff.recommender.card import card
from recbole_cfgdiff.recommender.catalogue import ITEM, Catalogue
from recbole_cfgdiff.recommender.ids import Ids
from recbole_cfgdiff.recommender.recommender import Recommender, Users, is_scale
from recbole_cfgdiff.recommender.source import HistorySource
from recbole_cfgdiff.recommender.tables import read_parquet, write_parquet
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import Hyperparameters, rows
from recbole_cfgdiff.scoring.parts import PARTS
from recbole_cfgdiff.version import __version__

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ITEMS = "items.parquet"
HISTORIES = "histories.parquet"
CARD = "README.md"

FORMAT = 1
_MOST_CONFIG_BYTES = 2**20
_MOST_STEPS = 200_000  # a schedule has a few numbers for each
_MOST_LAYERS = 100


# What may be asked for beside: what writes it, and what the card says of it.
FURTHER: dict[str, tuple[Callable[[Recommender, Path], None], Callable[[Recommender], str]]] = {
    "vectors": (vectors.write_vectors, vectors.card_section),
    "onnx": (onnx_export.write_onnx, onnx_export.card_section),
}


def save(recommender: Recommender, folder: Path, with_histories: bool = True, also: Collection[str] = ()) -> None:
    """Write a model into a folder, which is made. Arguments and errors as of ``Recommender.save_pretrained``."""
    if unknown := sorted(set(also) - set(FURTHER)):
        raise ConfigError(f"also: expected some of {', '.join(FURTHER)}, got {unknown[0]!r}")
    source, about = recommender.source, recommender.about
    if not isinstance(source, HistorySource) or about.get("model") not in PARTS:
        raise ConfigError(
            f"export: the scores of {about.get('model')} need RecBole; only {', '.join(PARTS)} can be exported"
        )
    if folder.exists():
        raise ConfigError(f"output: {folder} exists already; choose another name, or remove it")
    users = recommender.users if with_histories else None
    config = {
        "format_version": FORMAT,
        "package_version": __version__,
        "model": about["model"],
        "hyperparameters": {row.name: value for row, value in _values(source.given)},
        "n_items": source.n_items,
        "guidance_scale": recommender.guidance_scale,
        "about": dict(about),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_in_one_piece(folder) as unfinished:
        state = {name: value.detach().cpu().contiguous() for name, value in source.scorer.network.state_dict().items()}
        (unfinished / WEIGHTS).write_bytes(as_bytes(state, metadata={"format": "pt"}))
        (unfinished / CONFIG).write_text(json.dumps(config, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        write_parquet(recommender.items.table, unfinished / ITEMS)
        if users is not None:
            write_parquet(_as_table(users, recommender.items), unfinished / HISTORIES)
        kept = replace(recommender, users=users)
        for name in also:
            FURTHER[name][0](kept, unfinished)
        sections = [FURTHER[name][1](kept) for name in also]
        (unfinished / CARD).write_text(card(recommender, users is not None, sections), encoding="utf-8")


def _values(given: Hyperparameters) -> list[tuple[Any, Any]]:
    """Each row of the hyperparameters' class with its value, as a YAML file has it."""
    values = asdict(given)
    automatic = {"input_scale", "output_scale"}  # None is automatic there; elsewhere it is none
    return [
        (row, "auto" if values[name] is None and name in automatic else values[name])
        for name, row in zip(values, rows(type(given)))
    ]


def _as_table(users: Users, items: Catalogue) -> pd.DataFrame:
    """A row an item of a user, in the order of the histories; one without an item for a user who has none."""
    counts, starts = users.histories.counts()[1:].numpy(), users.histories.offsets[1:-1].numpy()
    of_item = np.insert(users.histories.items.numpy() - 1, starts[counts == 0], -1)
    return pd.DataFrame(
        {
            "user": pd.Categorical.from_codes(np.repeat(np.arange(len(counts)), np.maximum(counts, 1)), users.ids.ids),
            ITEM: pd.Categorical.from_codes(of_item, items.ids.ids),
        }
    )


def load(folder: Path) -> Recommender:
    """Read a model from a folder. Errors as of ``Recommender.from_pretrained``."""
    if not folder.is_dir():
        raise ConfigError(f"model {folder}: there is no such folder")
    try:
        config = _read_config(folder / CONFIG)
        items = Catalogue(read_parquet(_regular(folder / ITEMS), config["n_items"] - 1))
        if len(items) != config["n_items"] - 1:
            raise ConfigError(f"expected {config['n_items'] - 1:,} items in {ITEMS}, found {len(items):,}")
        source = _read_source(folder / WEIGHTS, config)
        users = _read_users(folder / HISTORIES, items) if os.path.lexists(folder / HISTORIES) else None
    except FileNotFoundError as error:
        raise ConfigError(f"model {folder}: {Path(str(error.filename)).name} is missing") from error
    except ConfigError as error:
        raise ConfigError(f"model {folder}: {error}") from error
    return Recommender(source, items, users, config["guidance_scale"], {**config["about"], "model": config["model"]})


def _regular(path: Path) -> Path:
    """A file that stands in the folder itself: a link may lead anywhere, and a pipe waits for ever.

    Raises:
        ConfigError: if it is anything else.
        FileNotFoundError: if it is not there.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ConfigError(f"{path.name}: expected a file, not a link or anything else")
    return path


_TYPES: Mapping[str, Any] = {
    "format_version": int,
    "model": str,
    "hyperparameters": dict,
    "n_items": int,
    "guidance_scale": (int, float),
    "about": dict,
}


def _read_config(path: Path) -> dict[str, Any]:
    if _regular(path).stat().st_size > _MOST_CONFIG_BYTES:
        raise ConfigError(f"{CONFIG}: expected at most {_MOST_CONFIG_BYTES:,} bytes")
    try:
        config = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{CONFIG}: no JSON file, or damaged: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{CONFIG}: expected keys and values")
    version = config.get("format_version")
    if isinstance(version, int) and version > FORMAT:
        raise ConfigError(
            f"{CONFIG}: of format {version}, and this version reads up to {FORMAT}; install recbole-cfgdiff "
            f"{str(config.get('package_version'))[:20]} or later"
        )
    for name, kind in _TYPES.items():
        if not isinstance(config.get(name), kind) or isinstance(config[name], bool):
            raise ConfigError(f"{CONFIG}: not the configuration of an exported model, or damaged: see its {name}")
    if config["model"] not in PARTS:
        raise ConfigError(f"{CONFIG}: of a model {config['model'][:50]!r}, and only {', '.join(PARTS)} are known")
    if not is_scale(config["guidance_scale"]):
        raise ConfigError(f"{CONFIG}: guidance_scale: expected a finite number of 32 bits")
    for part in ("valid", "test"):
        metrics = config["about"].get(part)
        if not (metrics is None or (isinstance(metrics, dict) and all(map(_is_metric, metrics.values())))):
            raise ConfigError(f"{CONFIG}: about: {part}: expected metrics with their numbers")
    if not 2 <= config["n_items"] < 2**31:
        raise ConfigError(f"{CONFIG}: n_items: expected at least 2, got {config['n_items']}")
    return config


def _is_metric(value: object) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**53)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text)


def _read_source(path: Path, config: dict[str, Any]) -> HistorySource:
    """The network, whose sizes are checked against those of the file before anything is made of them."""
    parts, n_items = PARTS[config["model"]], config["n_items"]
    names = {row.name for row in rows(parts.hyperparameters)}
    if misfits := names ^ set(config["hyperparameters"]):
        raise ConfigError(f"{CONFIG}: hyperparameters: {min(misfits)} is missing, or unknown")
    if isinstance(steps := config["hyperparameters"].get("steps"), int) and steps > _MOST_STEPS:
        raise ConfigError(f"{CONFIG}: steps: expected at most {_MOST_STEPS:,}, got {steps}")
    for name in ("dims_dnn", "n_layers"):
        layers = config["hyperparameters"].get(name)
        n_layers = len(layers) if isinstance(layers, list) else layers
        if isinstance(n_layers, int) and n_layers > _MOST_LAYERS:
            raise ConfigError(f"{CONFIG}: {name}: expected at most {_MOST_LAYERS} layers, got {n_layers:,}")
    given = parts.hyperparameters.read(config["hyperparameters"])
    try:
        with torch.device("meta"), _Unfilled():
            network = parts.make_network(given, n_items)
    except (RuntimeError, OverflowError, TypeError) as error:  # sizes beyond what a number counts
        raise ConfigError(f"{CONFIG}: hyperparameters of no network: {str(error).splitlines()[0]}") from error
    try:
        network.load_state_dict(_read_weights(_regular(path), network), assign=True)
    except ValueError as error:
        raise ConfigError(f"{WEIGHTS}: {error}") from error
    network.eval().requires_grad_(False)
    return HistorySource(parts.make_scorer(given, n_items, network), given, parts.taken)


_FILLING = {torch.Tensor.normal_, torch.Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_}


class _Unfilled(TorchFunctionMode):
    """Draw no random numbers for tensors without memory, for which torch would import its compiler, for seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _FILLING:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def _read_weights(path: Path, network: nn.Module) -> dict[str, torch.Tensor]:
    """Tensors of the names, shapes and types that the network has, all finite."""
    expected = network.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            if misfits := sorted(set(file.keys()) ^ set(expected)):
                raise ConfigError(f"{WEIGHTS}: {misfits[0]!r} is missing, or unknown")
            for name, tensor in expected.items():
                if file.get_slice(name).get_shape() != list(tensor.shape):
                    raise ConfigError(f"{WEIGHTS}: {name} is of another shape than {CONFIG} says")
            # Cloned, since where numbers lie in memory decides how products of them are rounded.
            state = {name: file.get_tensor(name).clone() for name in expected}
    except SafetensorError as error:
        raise ConfigError(f"{WEIGHTS}: no file of safetensors, or damaged: {error}") from error
    for name, tensor in state.items():
        kinds = (torch.float32, torch.float64) if expected[name].is_floating_point() else (expected[name].dtype,)
        if tensor.dtype not in kinds or not tensor.isfinite().all():
            raise ConfigError(f"{WEIGHTS}: {name} is not of finite numbers of 32 or 64 bits")
    return state


def _read_users(path: Path, items: Catalogue) -> Users:
    table = read_parquet(_regular(path), None)
    if list(table.columns) != ["user", ITEM]:
        raise ConfigError(f"{HISTORIES}: expected columns user and {ITEM}, got {', '.join(map(str, table.columns))}")
    users, known = pd.factorize(table["user"])
    of_item, ids = pd.factorize(table[ITEM])
    has_item = of_item >= 0
    if (users < 0).any() or (np.bincount(users, minlength=1)[users[~has_item]] > 1).any():
        raise ConfigError(f"{HISTORIES}: a row has no user, or no item though its user has others")
    numbers = items.ids.numbers(ids)[of_item[has_item]]
    histories = Histories.of_pairs(users[has_item] + 1, numbers, len(known) + 1, len(items) + 1)
    return Users(Ids("user", [str(each) for each in known]), histories)
