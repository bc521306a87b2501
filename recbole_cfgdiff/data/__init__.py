"""Data sets and data loaders."""

from recbole_cfgdiff.data.loading import UserDataLoader, create_dataset, data_preparation

__all__ = ["UserDataLoader", "create_dataset", "data_preparation"]
