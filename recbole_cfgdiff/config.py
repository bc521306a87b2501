"""The configuration of a run, where RecBole's users look for it."""

from recbole_cfgdiff.overlay.config import Config

__all__ = ["Config"]
