"""Which text RecBole's reader, pandas, does not return as it is."""

from __future__ import annotations

# What pandas.read_csv takes for a missing value (its documentation, na_values).
_MISSING_WORDS = "#N/A #NA -1.#IND -1.#QNAN -NaN -nan 1.#IND 1.#QNAN <NA> N/A NA NULL NaN None n/a nan null"
MISSING = frozenset(["", "#N/A N/A", *_MISSING_WORDS.split()])
