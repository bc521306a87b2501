"""The trainer of a model, where RecBole's users look for it."""

from recbole_cfgdiff.overlay.trainer import get_trainer

__all__ = ["get_trainer"]
