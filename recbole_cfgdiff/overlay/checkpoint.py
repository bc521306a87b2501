"""Checkpoints of plain values and tensors: read without running any code of the file's, written in one piece."""

from __future__ import annotations

import random
import zipfile
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

# What a checkpoint has, and of which type; training goes on from the second part.
_CONTENT: dict[str, Any] = {"model": str, "dataset": str, "options": dict, "state_dict": dict, "other_parameter": dict}
_PROGRESS: dict[str, Any] = {
    "epoch": int,
    "cur_step": int,
    "best_valid_score": (int, float),
    "best_valid_result": (dict, type(None)),
    "counters": dict,
    "optimizers": dict,
    "random_states": dict,
    "loader_generator": torch.Tensor,
}

_FORMATS = ("csr", "csc", "coo", "lil", "dok")
# Rows and columns of all sparse matrices of a checkpoint, of which scipy holds a number or two each.
_MOST_SIDES = 2**26

_START = 2**12  # bytes of a pickle by which RecBole's are told

# Marks values that are no tensors in memory but tensors in the file.
_KIND = "__kind__"


def save(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` to ``path``; a reader sees the old file or the new one, never a part of one.

    Raises:
        OSError: if it can't be written, such as on a full disk; the old file stays.
    """
    with in_one_piece(path) as unfinished, unfinished.open("wb") as file:
        try:
            torch.save(encode(state), file)
        except RuntimeError as error:
            # torch ends a file that it could not write by an error about positions, over what the system said.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def find(run: str | Path, name: str) -> Path:
    """The checkpoint that is meant by a run.

    Args:
        run: the folder of a run, also of one within an experiment, or a checkpoint itself.
        name: ``BEST`` or ``LAST``, which is taken of a folder.

    Raises:
        ConfigError: if there is none.
    """
    path = Path(run).expanduser()
    if not path.is_dir():
        return path
    for folder in (path, path / FOLDER):
        if (folder / name).is_file():
            return folder / name
    ended = any((folder / BEST).is_file() for folder in (path, path / FOLDER))
    hint = "; the run has ended, and only its best epoch was kept" if ended else ""
    raise ConfigError(f"checkpoint {path}: expected {name} in it, or in its folder {FOLDER}{hint}")


def load(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint. What it says of its model is checked where it is put into one (``restoring.py``).

    Raises:
        ConfigError: if there is none, or if the file is anything but one of ours: a pickle of objects, which is not
            executed, an archive that unpacks to more than it is, a part that is missing or of another type.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"checkpoint {path}: there is no such file")
    try:
        if _is_recboles(path):
            raise ConfigError(
                f"checkpoint {path}: RecBole wrote it, as objects whose code runs when they are loaded; nothing in it "
                "was executed. Train the model here, by run_recbole_cfg.py and the same options, or, if you trust it, "
                "read it yourself by torch.load(..., weights_only=False)"
            )
        _check_unpacks_to_itself(path)
        state = _without_sparse_counters(torch.load(path, map_location=device, weights_only=True))
        _check_plain(state, most_values=path.stat().st_size)
        state = decode(state)
    except ConfigError:
        raise
    except Exception as error:  # whatever a file of another origin makes the reader stumble over
        raise ConfigError(
            f"checkpoint {path}: not a checkpoint of recbole-cfgdiff, or damaged ({_told(error)}). Nothing in it was "
            "executed"
        ) from error
    if not isinstance(state, dict):
        raise ConfigError(f"checkpoint {path}: not a checkpoint of recbole-cfgdiff")
    for name, kind in {**_CONTENT, **_PROGRESS}.items():
        if not isinstance(state.get(name), kind) or isinstance(state[name], bool):
            raise ConfigError(f"checkpoint {path}: not a checkpoint of recbole-cfgdiff, or damaged: see its {name}")
    return state


def _is_recboles(path: Path) -> bool:
    """Whether RecBole's trainer wrote a file: it begins with RecBole's Config, of which the pickle names the module."""
    with zipfile.ZipFile(path) as archive:
        (pickle, *_) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        with archive.open(pickle) as file:
            return b"recbole.config.configurator" in file.read(_START)


def _without_sparse_counters(state: Any) -> Any:
    """Earlier versions counted SGL's graphs, sparse tensors that it makes anew at each epoch."""
    if isinstance(state, dict) and isinstance(state.get("counters"), dict):
        counters = state["counters"].items()
        sparse = {name for name, value in counters if getattr(value, "layout", torch.strided) is not torch.strided}
        state["counters"] = {name: value for name, value in counters if name not in sparse}
    return state


def _told(error: Exception) -> str:
    """The first sentence of a message; torch's go on with how to execute the file."""
    return str(error).strip().partition("\n")[0].partition(". ")[0][:200] or type(error).__name__


def _check_unpacks_to_itself(path: Path) -> None:
    """torch compresses nothing; an archive that does, or whose members overlap, may unpack to any size."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its members are compressed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("it unpacks to more than it is")


def _check_plain(state: Any, most_values: int) -> None:
    """Dictionaries, lists, plain values, and dense tensors that are as large as they say. A value takes a byte of the
    file at least, but for those of a list, or the text, that stands in another one many times."""
    count, characters, sides, left = 0, 0, 0, [state]
    while left:
        value = left.pop()
        count += 1
        characters += len(value) if isinstance(value, str) else 0
        sides += _sides_of(value)
        if count + len(left) > most_values or characters > 16 * most_values + 2**20 or sides > _MOST_SIDES:
            raise ValueError("lists that unpack to more values than the file has bytes")
        if type(value) is torch.Tensor:
            _check_dense(value)
        elif isinstance(value, dict):
            left += value.keys()
            left += value.values()
        elif isinstance(value, (list, tuple)):
            left += value
        elif type(value) not in (bool, int, float, str, type(None)):
            raise TypeError(f"a {type(value).__name__}")


def _sides_of(value: Any) -> int:
    """Rows and columns of a sparse matrix; 0 of anything else."""
    if not isinstance(value, dict) or value.get(_KIND) != "sparse":
        return 0
    shape = value.get("shape")
    if value.get("format") not in _FORMATS or not isinstance(shape, list) or len(shape) != 2:
        raise ValueError("a sparse matrix of no format and shape")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"a sparse matrix of shape {shape}")
    return sum(shape)


def _check_dense(value: torch.Tensor) -> None:
    if value.layout is not torch.strided or value.is_quantized or value.is_meta or value.is_complex():
        raise TypeError("a tensor that is not dense")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError("a tensor that is larger than its numbers")


def encode(value: Any) -> Any:
    """``value`` with numpy and scipy objects as tagged dicts of tensors, numpy numbers as numbers.

    Raises:
        TypeError: on a value of another kind, which could not be read again without running code.
    """
    if scipy.sparse.issparse(value):  # before dictionaries: one of its formats is one
        rows = value.tocsr()
        parts = {name: torch.from_numpy(getattr(rows, name)) for name in ("data", "indices", "indptr")}
        return {_KIND: "sparse", "format": value.format, "shape": list(rows.shape), **parts}
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
        return _decode_sparse(value)
    array = value["data"].cpu().numpy()
    return np.asmatrix(array) if kind == "matrix" else array


def _decode_sparse(value: dict[str, Any]) -> Any:
    """A sparse matrix; scipy hands what it is made of to native code, which reads and writes where the indices say.

    Raises:
        ValueError: if the parts are not those of a matrix of that shape.
    """
    data, indices, indptr = (value[name].cpu().numpy() for name in ("data", "indices", "indptr"))
    rows, columns = value["shape"]
    if any(part.dtype.kind != "i" for part in (indices, indptr)) or any(part.ndim != 1 for part in (data, indices)):
        raise ValueError("indices of a sparse matrix that are no integers")
    matrix = scipy.sparse.csr_matrix((data, indices, indptr), shape=(rows, columns))
    matrix.check_format(full_check=True)
    return matrix.asformat(value["format"])


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
