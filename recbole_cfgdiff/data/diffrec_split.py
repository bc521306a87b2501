"""The DiffRec authors' splits (``train_list.npy``, ``valid_list.npy``, ``test_list.npy``) as RecBole benchmark files.

    python -m recbole_cfgdiff.data.diffrec_split diffrec_ml-1m_clean.zip --name=ml-1m-clean

Each array has rows of (user, item), a user's rows in time order. The split is kept exactly; the column ``position``
counts a user's interactions through the three files and takes the place of a time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from recbole_cfgdiff.errors import ConfigError

PARTS = ("train", "valid", "test")


def convert(source: Path, name: str, output: Path) -> Path:
    """Write ``output/name/name.{train,valid,test}.inter``.

    Args:
        source: a folder or a zip with the three arrays.
        name: name of the data set.
        output: folder of data sets.

    Returns:
        the data set's folder.

    Raises:
        ConfigError: if the source is not such a split, or if the folder exists already.
    """
    target = output / name
    if target.exists():
        raise ConfigError(f"{target}: exists already; remove it or choose another --name")
    parts = read_parts(source)
    lengths = [len(part) for part in parts]
    pairs = pd.DataFrame(np.concatenate(parts), columns=["user_id:token", "item_id:token"])
    pairs["position:float"] = pairs.groupby("user_id:token").cumcount()
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=f".{name}-") as unfinished:
        folder = Path(unfinished) / name
        folder.mkdir()
        for part, end, length in zip(PARTS, np.cumsum(lengths), lengths):
            rows = pairs.iloc[end - length : end]
            rows.to_csv(folder / f"{name}.{part}.inter", sep="\t", index=False)
        folder.rename(target)
    return target


def read_parts(source: Path) -> list[np.ndarray]:
    """The three arrays, each of shape ``(rows, 2)``, read without unpickling anything.

    Raises:
        ConfigError: if one is missing or not an array of pairs of integers.
    """
    if source.is_dir():
        files = {path.name: path for path in source.rglob("*.npy")}
        return [_read_array(files[file].open("rb"), file) for file in _expected(files, source)]
    try:
        with zipfile.ZipFile(source) as archive:
            members = {Path(member).name: member for member in archive.namelist()}
            return [_read_array(archive.open(members[file]), file) for file in _expected(members, source)]  # type: ignore[arg-type]
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{source}: expected a folder or a zip of a DiffRec split ({error})") from error


def _expected(found: dict[str, Path] | dict[str, str], source: Path) -> list[str]:
    names = [f"{part}_list.npy" for part in PARTS]
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigError(f"{source}: expected {', '.join(names)}; {missing[0]} is missing")
    return names


def _read_array(stream: BinaryIO, name: str) -> np.ndarray:
    try:
        with stream:
            array = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{name}: not a plain numpy array ({error})") from error
    if array.ndim != 2 or array.shape[1] != 2 or not np.issubdtype(array.dtype, np.integer):
        raise ConfigError(f"{name}: expected rows of (user, item) as integers, found {array.dtype} {array.shape}")
    return array


def main() -> int:
    parser = argparse.ArgumentParser(description="Convert a DiffRec split to RecBole benchmark files.")
    parser.add_argument("source", type=Path, help="folder or zip with train_list.npy, valid_list.npy, test_list.npy")
    parser.add_argument("--name", required=True, help="name of the data set, such as ml-1m-clean")
    parser.add_argument("--output", type=Path, default=Path("dataset"), help="folder of data sets (dataset/)")
    arguments = parser.parse_args()
    try:
        print(convert(arguments.source, arguments.name, arguments.output))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
