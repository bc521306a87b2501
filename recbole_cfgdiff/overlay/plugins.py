"""Modules of the user's own, imported by the option ``plugins``: they register models, guidance encoders and samplers.

They run as code, so only the user may name them: a data folder's file that does is refused, a checkpoint's are passed
over.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from recbole_cfgdiff.diffusion.encoders import GUIDANCE_ENCODERS
from recbole_cfgdiff.diffusion.samplers import SAMPLERS
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model import MODELS
from recbole_cfgdiff.overlay.options import OPTIONS

_OF_THE_IMPORT = (__file__, importlib.__file__, "<frozen importlib")


def import_plugins(plugins: Any) -> None:
    """Import what was not imported in this process yet.

    Args:
        plugins: a name or several; one that ends in ``.py`` is a file's, which is imported under its stem, any other is
            a module's.

    Raises:
        ConfigError: if there is none of a name, or if it can't be imported, and where in it.
    """
    for name in _listed(OPTIONS["plugins"].kind.read("plugins", plugins)):
        if name.endswith(".py"):
            _import_file(_path(name))
        else:
            with _told_where(name):
                importlib.import_module(name)


def without_plugins(options: Mapping[str, Any]) -> dict[str, Any]:
    """What tells an experiment from others: models can be added to one, and so what registers them."""
    return {name: value for name, value in options.items() if name != "plugins"}


def found_from_elsewhere(plugins: Any) -> list[str]:
    """``plugins`` for a process in another working directory."""
    return [str(_path(name)) if name.endswith(".py") else name for name in _listed(plugins)]


def is_own(registered: object) -> bool:
    """Whether a class or a function is the user's, not RecBole's and not this package's."""
    return registered.__module__.partition(".")[0] not in ("recbole", "recbole_cfgdiff")


def check_found_by_name(model_class: type) -> None:
    """Check that the name of a model's class, which its checkpoints have, means that class.

    Raises:
        ConfigError: if it does not.
    """
    name = model_class.__name__
    registered = MODELS.get(name)
    if registered is not model_class and (registered is not None or is_own(model_class)):
        raise ConfigError(
            f"model {name}: its checkpoints have no other name for it, and that is not this class: set "
            f"recbole_cfgdiff.model.MODELS[{name!r}] to it"
        )


def check_found_by_workers(config: Any) -> None:
    """Check that the processes that do runs can have what is registered in this one.

    Raises:
        ConfigError: if something of the user's is chosen and no plugins are given; as ``check_found_by_name``.
    """
    check_found_by_name(config.model_class)
    encoder, sampler = config["guidance_encoder"], config["sampler"]
    chosen = [
        (config["model"], config.model_class),
        (encoder, GUIDANCE_ENCODERS.get(encoder)),
        (sampler, SAMPLERS.get(sampler)),
    ]
    own = [name for name, registered in chosen if registered is not None and is_own(registered)]
    if own and not config["plugins"]:
        raise ConfigError(
            f"{own[0]} is registered in this process only, and each run is done in one of its own: give the file that "
            "registers it, --plugins=FILE.py"
        )


def _listed(plugins: Any) -> list[str]:
    return [plugins] if isinstance(plugins, str) else list(plugins or ())


def _path(name: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(name)))


def _import_file(path: Path) -> None:
    name = path.stem
    if any(_is_of(sys.modules.get(module), path) for module in (name, "__main__")):
        return
    if not path.is_file():
        raise ConfigError(f"plugins: there is no file {path}")
    if not name.isidentifier() or _is_anothers(name, path):
        raise ConfigError(f"plugins: {path}: rename it, to a name that no module has, such as my_model.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # as of any .py
    sys.modules[name] = importlib.util.module_from_spec(spec)  # before it runs: dataclasses look themselves up there
    try:
        with _told_where(str(path)):
            spec.loader.exec_module(sys.modules[name])
    except BaseException:
        del sys.modules[name]
        raise


def _is_anothers(name: str, path: Path) -> bool:
    """Whether there is a module of a name elsewhere than in a file."""
    if name in sys.modules:
        return True
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None and _path(spec.origin) != path


def _is_of(module: ModuleType | None, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and _path(file) == path


@contextmanager
def _told_where(name: str) -> Iterator[None]:
    """Turn what the user's code raises where it is imported into a ConfigError with the line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith(_OF_THE_IMPORT)]
        lines = [f"{frame.filename}, line {frame.lineno}" for frame in own if frame.filename == own[0].filename]
        where = lines[-1] if lines else name
        raise ConfigError(f"plugins: {where}: {type(error).__name__}: {error}") from error
