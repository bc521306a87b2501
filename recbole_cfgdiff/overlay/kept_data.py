"""``save_dataset`` and ``save_dataloaders``: a data set, and its split, kept as hashes that a later run is checked by.

RecBole keeps both as pickles, which run code when they are loaded, and loads them unasked where it finds them. Here the
rows are always read from the files of the data set. What is kept says which rows they were: a run that names it
(``dataset_save_path``, ``dataloaders_save_path``) is refused if its own are others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_cfgdiff.data.atomic import hash_of_data
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import write_json
from recbole_cfgdiff.overlay.options import ROWS, ROWS_AND_SPLIT

_MOST_BYTES = 2**20


def keep_or_check(config: Any, loaders: Sequence[Any]) -> None:
    """Keep the data set and its split, or check them by what is kept, as the options say.

    Args:
        config: the configuration.
        loaders: of the training, validation and test part.

    Raises:
        ConfigError: if a file is not of this module, or the rows are others than those it is of.
        OSError: if it can't be written.
    """
    asks = any(config[f"save_{what}"] or config[f"{what}_save_path"] for what in ("dataset", "dataloaders"))
    if not asks:
        return
    files = {"dataset": config["dataset"], "files": hash_of_data(config)}
    rows = {**files, "options": {name: config.options.get(name) for name in ROWS}}
    split = {**files, "options": {name: config.options.get(name) for name in ROWS_AND_SPLIT}, "parts": _hashes(loaders)}
    folder = Path(config["checkpoint_dir"])
    for what, content, name in (
        ("dataset", rows, f"{config['dataset']}-Dataset.json"),
        ("dataloaders", split, f"{config['dataset']}-for-{config['model']}-dataloader.json"),
    ):
        if config[f"{what}_save_path"]:
            _check(Path(str(config[f"{what}_save_path"])), f"{what}_save_path", json.loads(json.dumps(content)))
        if config[f"save_{what}"]:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / name, content)
            getLogger().info(f"kept what the rows are, as hashes: {folder / name}")


def _hashes(loaders: Sequence[Any]) -> list[str]:
    """Of the users and items of each part, in order, as in the data."""
    found = []
    for loader in loaders:
        dataset, content = loader._dataset, hashlib.sha256()
        for field in (dataset.uid_field, dataset.iid_field):
            for token in dataset.id2token(field, dataset.inter_feat[field].numpy()):
                content.update(str(token).encode() + b"\0")
        found.append(content.hexdigest()[:16])
    return found


def _check(path: Path, option: str, expected: dict[str, Any]) -> None:
    try:
        with path.open("rb") as file:
            kept = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is not one of recbole-cfgdiff's"
        raise ConfigError(
            f"{option}: {path}: {told}; nothing in it was executed. RecBole's own are pickles, which can run code: "
            "leave the option out, the data set is read from its files"
        ) from error
    if not isinstance(kept, dict):
        raise ConfigError(f"{option}: {path} is not one of recbole-cfgdiff's")
    differing = [name for name in expected if kept.get(name) != expected[name]]
    if "options" in differing and isinstance(kept.get("options"), dict):
        own, others = expected["options"], kept["options"]
        differing += [f"option {name}" for name in own if own[name] != others.get(name)]
        differing.remove("options")
    if differing:
        raise ConfigError(
            f"{option}: {path} was kept of other rows (differing: {', '.join(differing)}); leave the option out to "
            "take the rows as they are now, or --save_dataset=True to keep them"
        )
