"""Names that reach file systems, tables and terminals: of data sets, models' labels and output folders."""

from __future__ import annotations

from recbole_cfgdiff.errors import ConfigError


def check_name(option: str, name: str) -> None:
    """Check that a name is text on one line that no program takes for an option or a formula.

    Args:
        option: that the name was given by, for the message.
        name: any text.

    Raises:
        ConfigError: if it is empty, starts with ``-`` or ``=``, or has control characters, line breaks, marks of the
            direction of text, or bytes that were no text.
    """
    if not name:
        raise ConfigError(f"{option}: expected a name, got none")
    if name[0] in "-=":
        raise ConfigError(f"{option}: a name can't start with {name[0]}, got {name!r}")
    if odd := [character for character in name if not character.isprintable()]:
        raise ConfigError(f"{option}: a name can't have the character {odd[0]!a}, got {name!a}")
