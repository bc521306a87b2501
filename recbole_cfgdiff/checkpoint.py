"""Checkpoints of plain values and tensors: read without running any code of the file's, written in one piece."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import in_one_piece

BEST = "best.pth"
LAST = "last.pth"
FOLDER = "checkpoint"  # of a run within the folder of a run of an experiment

_CONTENT = {"model": str, "dataset": str, "options": dict, "state_dict": dict}

# Options by which RecBole would unpickle files that come with a checkpoint of another origin.
_UNTRUSTED = ("dataset_save_path", "dataloaders_save_path", "checkpoint_dir")

# Marks values that are no tensors in memory but tensors in the file.
_KIND = "__kind__"


def save(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` to ``path``; a reader sees the old file or the new one, never a part of one."""
    with in_one_piece(path) as unfinished:
        torch.save(encode(state), unfinished)


def find(run: str | Path, name: str) -> Path:
    """The checkpoint that is meant by a run.

    Args:
        run: the folder of a run, also of one within an experiment, or a checkpoint itself.
        name: ``BEST`` or ``LAST``, which is taken of a folder.

    Raises:
        ConfigError: if there is none.
    """
    path = Path(run)
    if not path.is_dir():
        return path
    for folder in (path, path / FOLDER):
        if (folder / name).is_file():
            return folder / name
    ended = any((folder / BEST).is_file() for folder in (path, path / FOLDER))
    hint = "; the run has ended, and only its best epoch was kept" if ended else ""
    raise ConfigError(f"checkpoint {path}: expected {name} in it, or in its folder {FOLDER}{hint}")


def load(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        ConfigError: if there is none, or if the file is anything but one of ours, such as a pickle of objects, which
            is not executed.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"checkpoint {path}: there is no such file")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever a file of another origin makes the reader stumble over
        raise ConfigError(
            f"checkpoint {path}: not a checkpoint of recbole-cfgdiff, or damaged. Nothing in it was executed"
        ) from error
    if not isinstance(state, dict) or any(not isinstance(state.get(key), kind) for key, kind in _CONTENT.items()):
        raise ConfigError(f"checkpoint {path}: not a checkpoint of recbole-cfgdiff")
    for name in _UNTRUSTED:
        state["options"].pop(name, None)
    return decode(state)


def encode(value: Any) -> Any:
    """``value`` with numpy and scipy objects as tagged dicts of tensors, numpy numbers as numbers.

    Raises:
        TypeError: on a value of another kind, which could not be read again without running code.
    """
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [encode(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        # A matrix would come back as an array, on which * means something else.
        kind = "matrix" if isinstance(value, np.matrix) else "array"
        return {_KIND: kind, "data": torch.from_numpy(np.ascontiguousarray(value))}
    if scipy.sparse.issparse(value):
        rows = value.tocsr()
        parts = {name: torch.from_numpy(getattr(rows, name)) for name in ("data", "indices", "indptr")}
        return {_KIND: "sparse", "format": value.format, "shape": list(rows.shape), **parts}
    if isinstance(value, torch.Tensor):
        return value.detach()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a checkpoint holds plain values and tensors only, not {type(value).__name__}")


def decode(value: Any) -> Any:
    """The inverse of ``encode``, but for tuples and sets, which come back as lists."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind is None:
        return {key: decode(item) for key, item in value.items()}
    if kind == "sparse":
        parts = tuple(value[name].cpu().numpy() for name in ("data", "indices", "indptr"))
        return scipy.sparse.csr_matrix(parts, shape=value["shape"]).asformat(value["format"])
    array = value["data"].cpu().numpy()
    return np.asmatrix(array) if kind == "matrix" else array


def random_states() -> dict[str, Any]:
    """The states of all global random number generators."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Set them as ``random_states`` found them."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        # The run may have had more devices than there are now.
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"][: torch.cuda.device_count()]])
