"""What RecBole 1.2.1 needs on today's libraries. Every shim names the defect and when it can go.

Defects that are met elsewhere without touching RecBole: rounded times (``data/loading.py``), the download in a single
process (``data/download.py``), checkpoints (``overlay/trainer.py``), options from ``sys.argv``
(``overlay/config.py``), the padding user in training batches (``data/loaders.py``), the slow share of the tail
(``evaluation/metrics.py``), filters that are not told and an unstable sort (``data/filters.py``), users who have all
items (``data/negatives.py``).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import LogRecord
from typing import Any

from recbole.config import Config


def silence_recbole_deprecations() -> None:
    """Hide the warnings about calls inside RecBole and hyperopt that their user can do nothing about.

    ``torch.cuda.amp.GradScaler`` (renamed in torch 2.4) and ``df[column].fillna(inplace=True)`` (without effect from
    pandas 3 on, which setup.py excludes): to go with a RecBole that calls neither. hyperopt 0.2.5 imports
    ``pkg_resources``, whose deprecation its own import tells: to go with a RecBole that takes a later hyperopt.
    """
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
    for module in ("recbole", "thop"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=rf"{module}\.")


def restore_numpy_names() -> None:
    """Give numpy back ``np.float`` and its like (gone in numpy 1.24), which RecBole's metrics use.

    RecBole's Config does so when it is made; metrics of kept rankings are computed where there may be none. To go with
    a RecBole that does not use these names.
    """
    Config.compatibility_settings(None)


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
