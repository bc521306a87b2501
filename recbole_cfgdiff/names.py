"""Names that become files, folders and labels: of data sets, runs and outputs."""

from __future__ import annotations

from pathlib import Path

from recbole_cfgdiff.errors import ConfigError

# An option on the command line, and a formula in a spreadsheet.
_REFUSED_BEGINNINGS = ("-", "=", "+", "@")


def check_name(option: str, name: str) -> None:
    """Refuse what is no plain name of a file or folder.

    Args:
        option: what to call it in the message.
        name: one part of a path.

    Raises:
        ConfigError: if it is empty, hidden or has a separator, a control character, a line break or undecodable bytes,
            or begins like an option or a formula.
    """
    if not name or name.startswith(".") or Path(name).name != name:
        raise ConfigError(f"{option}: expected the name of a file or folder, got {name!r}")
    _check_characters(option, name)


def check_path(option: str, path: Path) -> None:
    """Refuse a blank path, and one of which a part is no plain name; ``..`` and hidden folders are allowed.

    Raises:
        ConfigError: as ``check_name``.
    """
    if not str(path).strip():
        raise ConfigError(f"{option}: expected a path, got {str(path)!r}")
    for part in path.parts:
        _check_characters(option, part)


def _check_characters(option: str, name: str) -> None:
    if not name.isprintable():
        raise ConfigError(f"{option}: expected a name without control characters and undecodable bytes, got {name!r}")
    if name.startswith(_REFUSED_BEGINNINGS):
        raise ConfigError(f"{option}: expected a name that does not begin with {name[0]}, got {name!r}")
