"""The DiffRec authors' splits: ``train_list.npy``, ``valid_list.npy`` and ``test_list.npy``.

Each array has rows of (user, item), a user's rows in time order. The split is kept exactly; the column ``position``
counts a user's interactions through the three files and takes the place of a time. It orders the rows of a file, not
the files: on ML-1M the test rows follow the training rows, and the validation rows come last (docs/method.md).
"""

from __future__ import annotations

import math
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from recbole_cfgdiff.data.convert.sources.archives import (
    UNREADABLE,
    TextFile,
    check_packing,
    opened,
    read_exactly,
    told_where,
)
from recbole_cfgdiff.data.convert.sources.base import Interaction, Source
from recbole_cfgdiff.data.convert.sources.input_files import Files
from recbole_cfgdiff.data.convert.sources.reading import Reading
from recbole_cfgdiff.errors import ConfigError

PARTS = ("train", "valid", "test")
# numpy reads a header by Python's tokenizer and parser.
_BAD_HEADER = (tokenize.TokenError, SyntaxError, TypeError, AttributeError, *UNREADABLE)


def open_diffrec(path: Path, files: Files) -> Source:
    """Open a folder or an archive with the three arrays.

    Raises:
        ConfigError: if an array is missing or not of pairs of integers.
    """
    arrays = _read_parts(path, files)
    position: Counter[int] = Counter()

    def interactions(array: np.ndarray) -> Iterator[Interaction]:
        for user, item in array.tolist():
            yield Interaction(str(user), str(item), time=float(position[user]))
            position[user] += 1

    parts = {part: interactions(array) for part, array in zip(PARTS, arrays)}
    return Source("DiffRec split", parts, Reading(), time_field="position")


def _read_parts(source: Path, files: Files) -> list[np.ndarray]:
    """The three arrays, each of shape ``(rows, 2)``."""
    names = [f"{part}_list.npy" for part in PARTS]
    missing = [name for name in names if name not in files]
    if missing:
        raise ConfigError(f"{source}: expected {', '.join(names)}, give their folder; {missing[0]} is missing")
    train, *others = (files[name] for name in names)
    for other in others:
        if other.where.parent != train.where.parent:
            raise files.too_many(train, other)
    return [_read_array(file) for file in (train, *others)]


def _read_array(file: TextFile) -> np.ndarray:
    """An array of pairs, read without unpickling anything, in memory that its file really fills."""
    with told_where(file), opened(file) as stream:
        shape, is_by_column, dtype = _header(file, stream)
        if len(shape) != 2 or shape[0] < 0 or shape[1] != 2 or dtype.kind not in "iu":
            raise ConfigError(f"{file}: expected rows of (user, item) as integers, found {dtype} {shape}")
        size = math.prod(shape) * dtype.itemsize
        check_packing(file, size, file.path.stat().st_size)
        array = np.frombuffer(read_exactly(stream, size), dtype)
    return array.reshape(shape, order="F" if is_by_column else "C")


def _header(file: TextFile, stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether a column's values lie together, and type, of an array without objects."""
    try:
        version = npy.read_magic(stream)
        if version != (1, 0):  # the others have headers of up to 4 GiB, for types that are none of integers
            raise ValueError(f"version {version[0]}.{version[1]} of its format")
        header = npy.read_array_header_1_0(stream)
    except _BAD_HEADER as error:
        raise ConfigError(f"{file}: not a plain numpy array ({error or type(error).__name__})") from error
    if header[2].hasobject:
        raise ConfigError(f"{file}: not a plain numpy array (it holds Python objects)")
    return header
