"""How much a request may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from recbole_cfgdiff.errors import ConfigError


def _at_most(default: int, what: str) -> Any:
    return field(default=default, metadata={"what": what})


@dataclass(frozen=True)
class Limits:
    """Each is an integer of at least 1, an option ``--max-NAME`` of the command, and told by ``GET /model``.

    Raises:
        ConfigError: on a smaller one.
    """

    body: int = _at_most(2**20, "bytes of a request")
    people: int = _at_most(100, "users or histories of a request")
    history: int = _at_most(5000, "items of a history")
    topk: int = _at_most(500, "items of a list")
    diversify: int = _at_most(1000, "items of all lists of a request that asks for diverse ones, which cost more")
    queue: int = _at_most(256, "requests that wait; to one more the answer is 429")
    batch: int = _at_most(64, "people that are scored at once, of several requests; 1: a request at a time")

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) < 1:
                raise ConfigError(f"--max-{each.name}: expected at least 1, got {getattr(self, each.name)}")

    def check(self, name: str, where: str, count: int) -> None:
        """Refuse what is beyond a limit.

        Args:
            name: of the limit.
            where: what to call it in the message.
            count: what was asked for.

        Raises:
            ConfigError: if it is more.
        """
        most = getattr(self, name)
        if count > most:
            raise ConfigError(f"{where}: expected at most {most:,}, got {count:,} (the service's --max-{name})")
