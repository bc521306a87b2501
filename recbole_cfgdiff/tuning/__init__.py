"""Hyperparameters by search, chosen by validation."""
