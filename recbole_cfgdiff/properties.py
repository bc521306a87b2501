"""Where the YAML files are: ours and RecBole's."""

from __future__ import annotations

import re
from pathlib import Path

import recbole

from recbole_cfgdiff.errors import ConfigError

RECBOLE_ROOT = Path(recbole.__file__).parent
RECBOLE_PROPERTIES = RECBOLE_ROOT / "properties"

PACKAGE_ROOT = Path(__file__).parent
# Inside the package where it is installed from a wheel, at the top of a checkout (see setup.py).
PROPERTIES = next(
    folder
    for folder in (PACKAGE_ROOT / "_properties", PACKAGE_ROOT.parent / "properties")
    if (folder / "overall.yaml").is_file()
)


def find_config_file(name: str) -> Path:
    """The file called ``name``; ``properties/...`` also means the one shipped with this package.

    Raises:
        ConfigError: if there is neither.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.parts[:1] == ("properties",):
        shipped = PROPERTIES.joinpath(*path.parts[1:])
        if shipped.is_file():
            return shipped
    raise ConfigError(f"config_files: there is no file {name}")


def top_level_keys(path: Path) -> set[str]:
    """The keys at the top level of a YAML file."""
    return set(re.findall(r"^([\w@-]+)\s*:", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
