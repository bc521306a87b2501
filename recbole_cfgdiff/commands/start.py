"""Where a process of the command line starts: what takes seconds to import comes after what a signal then does."""

from __future__ import annotations

import os
import sys

from recbole_cfgdiff.runs.interrupts import end_at_once


def start(main: str) -> int:
    """Call ``main`` or ``run_main`` of ``recbole_cfgdiff.commands.cli``; the exit status."""
    end_at_once()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
    from recbole_cfgdiff.commands import cli

    status: int = getattr(cli, main)()
    try:
        sys.stdout.flush()
    except OSError:  # told by then; Python would try again at the end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def console() -> int:
    """The console script ``recbole-cfgdiff``; the exit status."""
    return start("main")
