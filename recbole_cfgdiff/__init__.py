"""DiffRec and CFG-DiffRec, diffusion recommenders, as a plugin for RecBole 1.2.1."""

from recbole_cfgdiff.compat import prepare_recbole
from recbole_cfgdiff.overlay.instead import tell_recbole_callers
from recbole_cfgdiff.version import __version__

__all__ = ["__version__"]

prepare_recbole()
tell_recbole_callers()
