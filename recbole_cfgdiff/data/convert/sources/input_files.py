"""What there is at the path that a user gives: a file, or the files of a folder or of an archive, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath, PurePosixPath

from recbole_cfgdiff.data.convert.sources.archives import TextFile, members_of, told_where
from recbole_cfgdiff.errors import ConfigError

_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.\w+)$", re.IGNORECASE)
_COMPRESSED = re.compile(r"\.(gz|bz2|xz)$", re.IGNORECASE)


class Files(Mapping[str, TextFile]):
    """Files by name, ``.gz`` and its like left off.

    Args:
        path: where they are, for messages.
        files: what there is.

    Raises:
        ConfigError: on taking a file of a name that several have.
    """

    def __init__(self, path: Path, files: Iterable[TextFile]) -> None:
        self._path = path
        self._by_name: dict[str, list[TextFile]] = {}
        for file in files:
            self._by_name.setdefault(_COMPRESSED.sub("", file.where.name), []).append(file)

    def __getitem__(self, name: str) -> TextFile:
        first, *others = self._by_name[name]
        if others:
            raise self.too_many(first, others[0])
        return first

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def too_many(self, first: TextFile, second: TextFile) -> ConfigError:
        """The error that says which two files could be meant."""
        return ConfigError(f"{self._path}: has both {first} and {second}; give the folder or the file of one data set")

    def one_of(self, names: Iterable[str]) -> str | None:
        """Which of ``names`` there is, None if there is none.

        Raises:
            ConfigError: if there are several.
        """
        found = [name for name in names if name in self]
        if len(found) > 1:
            raise self.too_many(self[found[0]], self[found[1]])
        return found[0] if found else None

    def beside(self, file: TextFile) -> Files:
        """Those in the same folder, of a file that was given alone those in its folder on disk."""
        files = [other for others in self._by_name.values() for other in others]
        if files == [file] and file.member is None:
            with told_where(file.path.parent):
                files = [TextFile(child) for child in sorted(file.path.parent.iterdir()) if child.is_file()]
        return Files(self._path, (other for other in files if other.where.parent == file.where.parent))

    def single(self, what: str) -> TextFile:
        """The only file.

        Raises:
            ConfigError: if there are several, or none.
        """
        if len(self) != 1:
            raise ConfigError(f"{self._path}: expected one {what}, found {', '.join(self) or 'none'}")
        return self[next(iter(self))]


def find_files(path: Path) -> Files:
    """The files of a folder or of an archive, or the file itself; without those that systems hide.

    Raises:
        ConfigError: if there is nothing at ``path``; if an archive is damaged, has members outside of itself or is
            packed as no data set is.
    """
    with told_where(path):
        if path.is_dir():
            children = (child for child in sorted(path.rglob("*")) if child.is_file())
            return Files(path, (TextFile(child) for child in children if not _is_hidden(child.relative_to(path))))
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such file or folder")
        members = members_of(path)
        shown = [name for name in members or () if not _is_hidden(PurePosixPath(name))]
        if len(shown) == 1 and _ARCHIVE.search(shown[0]):
            raise ConfigError(f"{path}: there is an archive in it, {shown[0]}; unpack the outer one and give that")
        if members is None:
            return Files(path, [TextFile(path)])
        return Files(path, (TextFile(path, name) for name in sorted(members) if not _is_hidden(PurePosixPath(name))))


def _is_hidden(path: PurePath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
