"""DiffRec and CFG-DiffRec, diffusion recommenders, as a plugin for RecBole 1.2.1."""

from recbole_cfgdiff.compat import prepare_recbole
from recbole_cfgdiff.overlay.instead import tell_recbole_callers

__version__ = "0.1.0"

prepare_recbole()
tell_recbole_callers()
