"""RecBole's own download of data sets, in a single process and without leaving half a data set behind.

RecBole 1.2.1's ``Dataset._download`` calls ``torch.distributed.barrier()`` also where there is one process, and fails
there; so the download is done before RecBole looks for the files.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from recbole.utils.url import decide_download, download_url, extract_zip, rename_atomic_files

from recbole_cfgdiff.errors import ConfigError, nearest
from recbole_cfgdiff.properties import RECBOLE_PROPERTIES


def download_if_missing(config: Any) -> None:
    """Fetch the data set into ``config["data_path"]`` if it is not there and RecBole knows where it is.

    Raises:
        ConfigError: if RecBole does not know it, or if it can't be had.
    """
    name, target = config["dataset"], Path(config["data_path"])
    if target.exists():
        return
    expected = f"expected the file {target / (name + '.inter')}"
    urls = yaml.safe_load((RECBOLE_PROPERTIES / "dataset" / "url.yaml").read_text(encoding="utf-8"))
    if name not in urls:
        known = [*urls, "ml-100k", *_folders_of(target.parent)]
        similar = nearest(name, known, count=3)
        hint = f"; nearest: {', '.join(similar)}" if similar else ""
        raise ConfigError(f"unknown dataset {name}: {expected}, and RecBole has no download of that name{hint}")
    try:
        _download(urls[name], name, target)
    except (OSError, RuntimeError, zipfile.BadZipFile, TypeError) as error:
        raise ConfigError(
            f"dataset {name}: {expected}; the download from {urls[name]} failed ({error}). "
            "Put the file there, or run again with a network"
        ) from error


def _download(url: str, name: str, target: Path) -> None:
    if not decide_download(url):
        raise RuntimeError("declined")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as unfinished:
        archive, folder = Path(download_url(url, unfinished)), Path(unfinished) / target.name
        extract_zip(str(archive), str(folder))
        rename_atomic_files(str(folder), archive.stem, name)
        folder.rename(target)


def _folders_of(path: Path) -> Iterable[str]:
    return (folder.name for folder in path.iterdir() if folder.is_dir()) if path.is_dir() else ()
