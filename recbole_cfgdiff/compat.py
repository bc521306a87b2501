"""What RecBole 1.2.1 needs on today's libraries. Every shim names the defect and when it can go.

Defects that are met elsewhere without touching RecBole: rounded times (``data/loading.py``), the download in a single
process (``data/download.py``), checkpoints (``overlay/trainer.py``), options from ``sys.argv``
(``overlay/config.py``), the padding user in training batches (``data/loaders.py``), the slow share of the tail
(``evaluation/metrics.py``), filters that are not told and an unstable sort (``data/filters.py``), users who have all
items (``data/negatives.py``).
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from logging import LogRecord
from types import ModuleType
from typing import Any

from recbole_cfgdiff.errors import ConfigError

RECBOLE = "1.2.1"  # the overlay builds on its internals
_INSTALL = f"python -m pip install --no-deps recbole=={RECBOLE}"
_QUICK_START = "recbole.quick_start.quick_start"


class WrongRecBole(ConfigError, ImportError):
    """RecBole is missing, or is another version than this package is written for."""


def prepare_recbole() -> None:
    """Have RecBole checked and its shims set when it is first imported, by whomever.

    A hook, because importing this package must stay cheap, what the shims change takes a second to import, and the
    stand-in for Ray may be seen by one module of RecBole's only.
    """
    if not any(isinstance(finder, _BeforeRecBole) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeRecBole())
        sys.meta_path.append(_WithoutRecBole())
    if "recbole" in sys.modules:
        _check_version()
        _set_shims()


class _BeforeRecBole(MetaPathFinder):
    """Before the first module of RecBole's, whose own ``__init__`` imports nothing: its version, and the shims."""

    def __init__(self) -> None:
        self._is_ready = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("recbole."):
            return None
        if not self._is_ready:
            _check_version()
            _set_shims()
            self._is_ready = True
        return _quick_start_spec(path) if fullname == _QUICK_START else None


class _WithoutRecBole(MetaPathFinder):
    """Asked last, when no other finder knows where RecBole is."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "recbole":
            raise WrongRecBole(f"RecBole is missing: {_INSTALL}")
        return None


def _check_version() -> None:
    found = getattr(sys.modules["recbole"], "__version__", "of no version")
    if found != RECBOLE:
        raise WrongRecBole(f"RecBole {found} is installed, this needs {RECBOLE}: {_INSTALL}")


def _set_shims() -> None:
    """Give numpy and scipy back what RecBole uses of them, for the whole process.

    ``np.float_``, ``np.complex_`` and ``np.unicode_`` (gone in numpy 2) are what RecBole's Config makes ``np.float``
    and its like of (gone in 1.24); its metrics use ``np.float``, also where there is no Config. ``dok_matrix._update``
    (gone in scipy 1.13) fills the graph of SpectralCF, GCMC, LightGCN, NGCF, NCL, KGIN and MCCLK. To go with a RecBole
    that uses none of them.
    """
    import numpy as np
    from scipy.sparse import dok_matrix

    for name, value in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_), ("float", float)):
        setattr(np, name, value)
    dok_matrix._update = lambda self, entries: self._dict.update(entries)


class _NoRay(ModuleType):
    """In the place of ``ray.tune`` in RecBole's quick_start."""

    def __getattr__(self, name: str) -> Any:
        raise ImportError("Ray Tune can't be imported: python -m pip install 'recbole-cfgdiff[ray]'", name="ray")


class _QuickStartLoader(SourceFileLoader):
    """RecBole's quick_start, which imports Ray at its top for one line of ``objective_function``.

    Where there is none, a stand-in is ``ray`` in ``sys.modules`` while that module runs, and then no longer. All else
    that it imports is imported before, so that nothing takes Ray for installed. To go with a RecBole that imports Ray
    where it is used.
    """

    def exec_module(self, module: ModuleType) -> None:
        try:
            importlib.import_module("ray.tune")
        except ImportError:
            for name in ("torch.distributed", "recbole.config", "recbole.data.transform", "recbole.utils"):
                importlib.import_module(name)
            with _ray_stand_in():
                super().exec_module(module)
        else:
            super().exec_module(module)


@contextmanager
def _ray_stand_in() -> Iterator[None]:
    stand_in = ModuleType("ray")
    stand_in.tune = _NoRay("ray.tune")  # type: ignore[attr-defined]
    found = {name: sys.modules[name] for name in ("ray",) if name in sys.modules}
    sys.modules["ray"] = stand_in
    try:
        yield
    finally:
        del sys.modules["ray"]
        sys.modules.update(found)


def _quick_start_spec(path: Sequence[str] | None) -> ModuleSpec | None:
    spec = PathFinder.find_spec(_QUICK_START, path)
    if spec is not None and spec.origin is not None:
        spec.loader = _QuickStartLoader(_QUICK_START, spec.origin)
    return spec


def silence_recbole_deprecations() -> None:
    """Hide the warnings about calls inside RecBole that its user can do nothing about.

    ``torch.cuda.amp.GradScaler`` (renamed in torch 2.4), ``df[column].fillna(inplace=True)`` (without effect from
    pandas 3 on: ``data/pandas_3.py``) and ``torch.LongTensor(column.values)`` (read-only in pandas 3; nobody writes
    there): to go with a RecBole that calls none of them.
    """
    for module in ("recbole", "thop"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=rf"{module}\.")
    for message in ("A value is being set on a copy", "The given NumPy array is not writable"):
        warnings.filterwarnings("ignore", message=message, module=r"recbole\.")


def complete_message(record: LogRecord) -> bool:
    """A filter for loggers: put behind a message the values that it has no place for.

    RecBole's RaCT logs ``info("Load pretrained model from", path)``, which can't be formatted: logging prints a
    traceback in its stead. To go with a RecBole whose RaCT says where.
    """
    if record.args and "%" not in str(record.msg):
        record.msg = " ".join(map(str, (record.msg, *record.args)))
        record.args = ()
    return True


@contextmanager
def replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """For as long as RecBole runs inside: attributes of one of its classes replaced by ours."""
    recboles = {name: getattr(owner, name) for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in recboles.items():
            setattr(owner, name, value)
