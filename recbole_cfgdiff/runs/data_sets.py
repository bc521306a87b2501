"""The data sets of an experiment: each is read once, for all of its runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from recbole_cfgdiff.data import atomic_data, loading
from recbole_cfgdiff.data.atomic_data import AtomicData
from recbole_cfgdiff.files import folder_in_one_piece, remove
from recbole_cfgdiff.overlay.config import Config

_FOLDER = "data-read-once"  # removed with what is in it, so no name that somebody would take


class DataSets:
    """Data sets that are read when they are first checked."""

    def __init__(self) -> None:
        self._read: dict[str, AtomicData] = {}  # by the data set's name

    def check(self, config: Config) -> str:
        """Check the data set of a configuration as far as it can be before it is loaded; the hash of its files.

        Raises:
            ConfigError: as ``loading.check_data``.
        """
        name = config["dataset"]
        self._read[name] = loading.check_data(config, self._read.get(name))
        return self._read[name].hash

    @contextmanager
    def kept(self, output: Path, names: Collection[str]) -> Iterator[None]:
        """For as long as runs are done: what was read, in the experiment's folder, for their processes.

        Args:
            output: that folder.
            names: of the data sets that runs are to be done on.

        Raises:
            OSError: if it can't be written.
        """
        folder = output / _FOLDER
        remove(folder)  # of a process that was killed
        try:
            with folder_in_one_piece(folder) as unfinished:
                for name in self._read.keys() & names:
                    atomic_data.save(self._read[name], unfinished / name)
            yield
        finally:
            remove(folder)


def kept_data(output: Path, dataset: str, say: Callable[[str], None]) -> AtomicData | None:
    """What ``DataSets.kept`` keeps of a data set; None, and why is said, if it is damaged."""
    folder = output / _FOLDER / dataset
    try:
        return atomic_data.load(folder) if folder.is_dir() else None
    except (OSError, ValueError) as error:
        say(f"{folder}: damaged: {error}; the files of the data set are read again")
        return None
