"""Tables as Parquet files, and how large such a file may be unpacked."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from recbole_cfgdiff.errors import ConfigError

_MOST_BYTES = 2**31  # of a table, unpacked; few rows of a small file may hold very long texts
_MOST_COLUMNS = 1000
_MOST_ROWS = 2**31
_BATCH = 2**16


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table.

    Raises:
        OSError: if it can't be written.
    """
    pyarrow.parquet.write_table(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(), path)


def read_parquet(path: Path, most_rows: int | None) -> pd.DataFrame:
    """Read a table of text and numbers, which may be anybody's.

    Args:
        path: of the file.
        most_rows: more are an error; None allows two thousand million.

    Raises:
        ConfigError: if it is no such table, or larger than it may be.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            texts = _check(file, path.name, _MOST_ROWS if most_rows is None else most_rows)
        # Each text once, however often a small file repeats it.
        with pyarrow.parquet.ParquetFile(path, memory_map=False, read_dictionary=texts) as file:
            batches, size = [], 0
            for batch in file.iter_batches(_BATCH):
                batches.append(batch)
                size += batch.nbytes
                if size > _MOST_BYTES:
                    raise _too_large(path.name)
            table = pa.Table.from_batches(batches, file.schema_arrow)
        table.validate(full=True)  # else a place beyond a dictionary's end would be read
        frame = table.to_pandas(ignore_metadata=True)
        return frame.assign(**{name: frame[name].astype(object) for name in texts})
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ConfigError(f"{path.name}: no Parquet file, or damaged: {str(error).splitlines()[0]}") from error


def _check(file: pyarrow.parquet.ParquetFile, name: str, most_rows: int) -> list[str]:
    """Check what there is to be read; the names of the columns of text."""
    if not 0 <= file.metadata.num_rows <= most_rows:
        raise ConfigError(f"{name}: expected at most {most_rows:,} rows, found {file.metadata.num_rows:,}")
    parts = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    if sum(part.total_byte_size for part in parts) > _MOST_BYTES:
        raise _too_large(name)
    if file.metadata.num_columns > _MOST_COLUMNS:
        raise ConfigError(f"{name}: expected at most {_MOST_COLUMNS} columns, found {file.metadata.num_columns}")
    for field in file.schema_arrow:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        is_plain = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind)
        if not (is_plain or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise ConfigError(f"{name}: column {field.name}: expected text or numbers, got {field.type}")
    kinds = {field.name: field.type for field in file.schema_arrow}
    return [name for name, kind in kinds.items() if pa.types.is_dictionary(kind) or pa.types.is_string(kind)]


def _too_large(name: str) -> ConfigError:
    return ConfigError(f"{name}: expected at most {_MOST_BYTES:,} bytes, unpacked")
