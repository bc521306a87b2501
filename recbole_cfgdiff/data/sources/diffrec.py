"""The DiffRec authors' splits: ``train_list.npy``, ``valid_list.npy`` and ``test_list.npy``.

Each array has rows of (user, item), a user's rows in time order. The split is kept exactly; the column ``position``
counts a user's interactions through the three files and takes the place of a time. It orders the rows of a file, not
the files: on ML-1M the test rows follow the training rows, and the validation rows come last (docs/method.md).
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recbole_cfgdiff.data.sources.base import UNREADABLE, Interaction, Source, TextFile, content_of, find_files
from recbole_cfgdiff.errors import ConfigError

PARTS = ("train", "valid", "test")


def open_diffrec(path: Path) -> Source:
    """Open a folder or an archive with the three arrays.

    Raises:
        ConfigError: if an array is missing or not of pairs of integers.
    """
    arrays = _read_parts(path)
    position: Counter[int] = Counter()

    def interactions(array: np.ndarray) -> Iterator[Interaction]:
        for user, item in array.tolist():
            yield Interaction(str(user), str(item), time=float(position[user]))
            position[user] += 1

    parts = {part: interactions(array) for part, array in zip(PARTS, arrays)}
    return Source("DiffRec split", parts, time_field="position")


def _read_parts(source: Path) -> list[np.ndarray]:
    """The three arrays, each of shape ``(rows, 2)``."""
    files = find_files(source)
    names = [f"{part}_list.npy" for part in PARTS]
    missing = [name for name in names if name not in files]
    if missing:
        raise ConfigError(f"{source}: expected {', '.join(names)}; {missing[0]} is missing")
    return [_read_array(files[name]) for name in names]


def _read_array(file: TextFile) -> np.ndarray:
    """An array of pairs, read without unpickling anything."""
    name = str(file)
    try:
        array = np.load(io.BytesIO(content_of(file)), allow_pickle=False)
    except (OSError, ValueError, MemoryError, *UNREADABLE) as error:
        raise ConfigError(f"{name}: not a plain numpy array ({error})") from error
    if not isinstance(array, np.ndarray):
        raise ConfigError(f"{name}: expected one array, found several (npz)")
    if array.ndim != 2 or array.shape[1] != 2 or not np.issubdtype(array.dtype, np.integer):
        raise ConfigError(f"{name}: expected rows of (user, item) as integers, found {array.dtype} {array.shape}")
    return array
