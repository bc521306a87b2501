"""The download of data sets, in a single process and without leaving half a data set behind.

RecBole 1.2.1's ``Dataset._download`` calls ``torch.distributed.barrier()`` also where there is one process, and fails
there; so the download is done before RecBole looks for the files. Where RecBole's address fails and GroupLens ships the
data set, their archive is converted.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml
from recbole.utils.url import rename_atomic_files
from tqdm import tqdm

from recbole_cfgdiff.data.convert.convert import convert
from recbole_cfgdiff.data.convert.sources import Reading, open_source
from recbole_cfgdiff.data.convert.sources.archives import TextFile, opened, told_where
from recbole_cfgdiff.data.convert.sources.input_files import find_files
from recbole_cfgdiff.errors import ConfigError, nearest
from recbole_cfgdiff.files import folder_in_one_piece, remove_left_overs, scratch_folder
from recbole_cfgdiff.names import check_name
from recbole_cfgdiff.properties import PROPERTIES, RECBOLE_PROPERTIES

# The original archives, by the names that RecBole has for the data sets. Beside each is its checksum, NAME.zip.md5.
GROUPLENS = "https://files.grouplens.org/datasets/movielens/"
_OF_GROUPLENS = ("ml-1m", "ml-10m", "ml-20m")

_ATOMIC = (".inter", ".user", ".item", ".kg", ".link", ".net")
_SECONDS_WITHOUT_DATA = 60
_LARGE = 1 << 30  # bytes, above which the user is asked, as by RecBole
# What fetching raises: OSError without a network, ValueError and TypeError on an answer without a size, EOFError and
# RuntimeError where the question is not answered by yes.
_FAILURES = (OSError, http.client.HTTPException, ValueError, TypeError, EOFError, RuntimeError)


def download_if_missing(config: Any) -> None:
    """Fetch the data set into ``config["data_path"]`` if it is not there and it is known where it is.

    Raises:
        ConfigError: if it is unknown where it is, or if it can't be had.
    """
    name, target = config["dataset"], Path(config["data_path"])
    if target.exists():
        return
    check_name("dataset", name)
    expected = f"expected the file {target / (name + '.inter')}"
    urls = yaml.safe_load((RECBOLE_PROPERTIES / "dataset" / "url.yaml").read_text(encoding="utf-8"))
    if name not in urls:
        known = [*urls, "ml-100k", *_folders_of(target.parent)]
        similar = nearest(name, known, count=3)
        hint = f"; nearest: {', '.join(similar)}" if similar else ""
        raise ConfigError(f"unknown dataset {name}: {expected}, and RecBole has no download of that name{hint}")
    ways: dict[str, Callable[[str, str, Path], None]] = {urls[name]: _fetch_atomic_files}
    by_hand = "Put the file there"
    if name in _OF_GROUPLENS:
        ways[f"{GROUPLENS}{name}.zip"] = _fetch_and_convert
        by_hand += f", or get {name}.zip from GroupLens and convert movielens {name}.zip --name {name}"
    failures = []
    for url, fetch in ways.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_left_overs(target.parent)
            fetch(url, name, target)
            logging.getLogger().info("data set %s: downloaded from %s", name, url)
            return
        except _FAILURES as error:
            if target.exists():  # another process was faster
                return
            failures.append(f"the download from {url} failed ({error})")
    raise ConfigError(f"dataset {name}: {expected}; {'; '.join(failures)}. {by_hand}, or run again with a network")


def _fetch(url: str, folder: Path) -> Path:
    """The file at ``url``, whole."""
    path = folder / url.rpartition("/")[2]
    with urlopen(url, timeout=_SECONDS_WITHOUT_DATA) as answer, path.open("wb") as file:
        size = int(answer.headers["Content-Length"])
        if size > _LARGE and input(f"{url} has {size / _LARGE:.1f} GiB; download it? (y/N) ").lower() != "y":
            raise RuntimeError("declined")
        with tqdm.wrapattr(answer, "read", total=size, desc=path.name, disable=None) as counted:
            shutil.copyfileobj(counted, file)
    if path.stat().st_size != size:
        raise OSError(f"it ended after {path.stat().st_size} of {size} bytes")
    return path


def _fetch_atomic_files(url: str, name: str, target: Path) -> None:
    """RecBole's archive; of what is in it, atomic files only."""
    with scratch_folder(target.with_name(f"{name}.zip")) as scratch, folder_in_one_piece(target) as folder:
        archive = _fetch(url, scratch)
        files = find_files(archive)
        for file_name in files:
            if Path(file_name).suffix in _ATOMIC:
                check_name(f"{archive.name}: its member", file_name)
                _copy_out(files[file_name], folder / file_name)
        rename_atomic_files(str(folder), archive.stem, name)
        if not list(folder.glob("*.inter")):
            raise ConfigError(f"{archive.name} has no .inter file")


def _copy_out(file: TextFile, target: Path) -> None:
    with target.open("wb") as copy, told_where(file), opened(file) as stream:
        shutil.copyfileobj(stream, copy)


def _fetch_and_convert(url: str, name: str, target: Path) -> None:
    """GroupLens' archive, by its checksum the one that they ship."""
    with scratch_folder(target.with_name(f"{name}.zip")) as scratch:
        archive = _fetch(url, scratch)
        checksum = re.search(r"\b[0-9a-f]{32}\b", _fetch(f"{url}.md5", scratch).read_text("utf-8", "replace").lower())
        if checksum is None or checksum.group() != _md5(archive):
            raise OSError(f"its checksum is not that of {archive.name}.md5")
        convert(open_source("movielens", archive, Reading()), name, target.parent)
    if not (PROPERTIES / "dataset" / f"{name}.yaml").is_file():
        # This run has read its options already; the next one is to have the same.
        (target / f"{name}.yaml").unlink()


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _folders_of(path: Path) -> Iterable[str]:
    return (folder.name for folder in path.iterdir() if folder.is_dir()) if path.is_dir() else ()
