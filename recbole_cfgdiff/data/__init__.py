"""Data sets and data loaders."""

from recbole_cfgdiff.data.download import download_if_missing
from recbole_cfgdiff.data.loaders import UserDataLoader
from recbole_cfgdiff.data.loading import create_dataset, data_preparation

__all__ = ["UserDataLoader", "create_dataset", "data_preparation", "download_if_missing"]
