"""A trained model in use: lists of recommendations, and the model as a folder. Nothing here needs RecBole."""

from recbole_cfgdiff.recommender.recommender import Recommender

__all__ = ["Recommender"]
