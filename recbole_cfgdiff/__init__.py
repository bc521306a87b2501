"""DiffRec and CFG-DiffRec, diffusion recommenders, as a plugin for RecBole 1.2.1."""

__version__ = "0.1.0"
