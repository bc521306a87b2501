"""Vectors of items and users, whose inner products are the scores: what a vector database ranks by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender.catalogue import ITEM
from recbole_cfgdiff.recommender.recommender import History, Recommender, Users, is_scale

ITEM_VECTORS = "item_vectors.parquet"
USER_VECTORS = "user_vectors.parquet"

_ROWS = 4096  # of a file at once: 16 MiB of 1,000 numbers each

# Ids, shape ``(B,)``, with their vectors, ``(B, k + 1)``.
_Batch = tuple[np.ndarray, torch.Tensor]


def write_vectors(recommender: Recommender, folder: Path) -> None:
    """Write ``item_vectors.parquet`` and, where the users are known, ``user_vectors.parquet`` into a folder: a row an
    id, with ``k + 1`` numbers of 32 bits. Users' vectors are those at the recommender's guidance scale.

    Raises:
        ConfigError: if the scores are no inner products of such vectors.
        OSError: if a file can't be written.
    """
    with torch.no_grad(), recommender.source.fixed_weights():
        items = recommender.source.item_vectors()[1:]  # without the padding item
        width = items.shape[1]
        if recommender.users is not None:
            _write(folder / USER_VECTORS, "user", width, _of_users(recommender, recommender.users))
        _write(folder / ITEM_VECTORS, ITEM, width, zip(_split(recommender.items.ids.ids), items.split(_ROWS)))


def query_vectors(
    recommender: Recommender, histories: Sequence[History], guidance_scale: float | None = None
) -> np.ndarray:
    """Vectors of anybody, as those of known users.

    Args:
        recommender: the model.
        histories: for each person the ids of the items so far, the earliest first.
        guidance_scale: None is the recommender's.

    Returns:
        float32, shape ``(B, k + 1)``.

    Raises:
        ConfigError: on an unknown id, or if the scores are no inner products of such vectors.
    """
    scale = recommender.guidance_scale if guidance_scale is None else guidance_scale
    if not is_scale(scale):
        raise ConfigError(f"guidance_scale: expected a finite number of 32 bits, got {scale!r}")
    rows = recommender.source.rows(recommender.numbered(histories), torch.arange(len(histories)))
    with torch.no_grad():
        vectors = recommender.source.query_vectors(rows, float(scale))
    return vectors.float().cpu().numpy()


def _of_users(recommender: Recommender, users: Users) -> Iterator[_Batch]:
    numbers = torch.arange(1, len(users.ids) + 1).split(_ROWS)
    for ids, rows in zip(_split(users.ids.ids), numbers):
        selected = recommender.source.rows(users.histories, rows)
        yield ids, recommender.source.query_vectors(selected, recommender.guidance_scale)


def _split(ids: np.ndarray) -> Iterator[np.ndarray]:
    return (ids[start : start + _ROWS] for start in range(0, len(ids), _ROWS))


def _write(path: Path, name: str, width: int, batches: Iterable[_Batch]) -> None:
    kind = pa.list_(pa.float32(), width)
    schema = pa.schema([(name, pa.string()), ("vector", kind)])
    with pyarrow.parquet.ParquetWriter(path, schema, use_dictionary=False) as file:
        for ids, vectors in batches:
            numbers = pa.array(vectors.float().cpu().numpy().ravel())
            columns = [pa.array(ids, pa.string()), pa.FixedSizeListArray.from_arrays(numbers, type=kind)]
            file.write_batch(pa.record_batch(columns, schema))


def card_section(recommender: Recommender) -> str:
    """What the model card says of the files."""
    return f"""## Vectors

A score is the inner product of an item's vector and a user's, so that a vector database, or an index of nearest
neighbours by the inner product (not by the cosine), serves this model's ranking. `{ITEM_VECTORS}` has a row an item:
`{ITEM}` and `vector`, whose last number is the item's bias. `{USER_VECTORS}`, where it is there, has a row a user:
`user` and `vector`, at guidance scale {recommender.guidance_scale}. What a user has already is for the database to
leave out.
"""
