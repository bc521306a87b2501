"""Experiments: many runs side by side, what can be said of their differences, and reports."""
