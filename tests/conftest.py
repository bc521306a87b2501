"""A small data set on disk, and runs of the command line in an empty folder."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import settings

from recbole_cfgdiff.commands.cli import run_main
from recbole_cfgdiff.diffusion.encoders import GUIDANCE_ENCODERS
from recbole_cfgdiff.diffusion.samplers import SAMPLERS
from recbole_cfgdiff.model import MODELS

# Of several processes that test at once (pytest -n 2), each keeps to a core, and so do the processes that it starts.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


# A shell's background job ignores Ctrl-C, and nohup SIGHUP; the processes that tests start and end by them would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


_REGISTRIES = (MODELS, GUIDANCE_ENCODERS, SAMPLERS)
_OF_THE_PACKAGE = [dict(registry) for registry in _REGISTRIES]


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test runs in a folder of its own: RecBole writes log/, log_tensorboard/ and saved/ where it is started; and
    with the logger as Python makes it, whatever a library did to it."""
    monkeypatch.chdir(tmp_path)
    logging.getLogger().setLevel(logging.WARNING)
    yield tmp_path
    for handler in logging.getLogger().handlers[:]:
        if isinstance(handler, logging.FileHandler):
            logging.getLogger().removeHandler(handler)
            handler.close()


@pytest.fixture(autouse=True)
def only_the_packages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a module of tests registers by importing examples is there for its own tests only, which say so by
    ``REGISTERS = True``."""
    if getattr(request.module, "REGISTERS", False):
        return
    for registry, of_the_package in zip(_REGISTRIES, _OF_THE_PACKAGE):
        for name in set(registry) - set(of_the_package):
            monkeypatch.delitem(registry, name)


def write_inter(
    folder: Path, name: str, rows: list[tuple], header: str = "user_id:token\titem_id:token\ttimestamp:float"
):
    """Write ``folder/name/name.inter``."""
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    lines = [header, *("\t".join(map(str, row)) for row in rows)]
    (target / f"{name}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def tiny(empty_folder: Path) -> str:
    """``dataset/tiny``: 60 users, 40 items, 10 to 20 interactions a user, at times a second apart."""
    random = np.random.default_rng(0)
    rows = []
    for user in range(60):
        # Two groups of users with items of their own, so that there is something to learn.
        preference = np.where(np.arange(40) % 2 == user % 2, 4.0, 1.0)
        items = random.choice(40, size=random.integers(10, 21), replace=False, p=preference / preference.sum())
        rows += [(f"u{user}", f"i{item}", 1_400_000_000 + 60 * user + place) for place, item in enumerate(items)]
    random.shuffle(rows)
    write_inter(empty_folder / "dataset", "tiny", rows)
    return "tiny"


@pytest.fixture
def contrary(empty_folder: Path) -> str:
    """``dataset/contrary``: validation and test disagree. Of two groups of items a user's history and validation rows
    are of one, the test rows of the other: who learns the groups is good at the former and bad at the latter."""
    random = np.random.default_rng(0)
    rows = []
    for user in range(60):
        own, other = (random.permutation(20) + 20 * ((user + group) % 2) for group in (0, 1))
        items = [*own[:14], *other[:2]]  # 70:20:10 is 11, 3 and 2 of 16
        rows += [(f"u{user}", f"i{item}", 1_400_000_000 + 60 * user + place) for place, item in enumerate(items)]
    write_inter(empty_folder / "dataset", "contrary", rows)
    return "contrary"


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run ``run_recbole_cfg.py`` with these arguments in this process."""

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        status = run_main(arguments)
        captured = capfd.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call
