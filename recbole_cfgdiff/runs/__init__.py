"""Runs: one from options to metrics, and many of them, each in a process of its own."""
