"""The version of this package, for all that is written down of it."""

__version__ = "0.1.0"
