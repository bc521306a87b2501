"""Ids and words as RecBole's reader returns them unchanged.

RecBole 1.2.1 reads atomic files by pandas: an id ``NA`` or ``null`` becomes a missing value, a quote opens a quoted
field, and a sequence is split at its spaces. Whatever would be changed is written as ``%XX``, the bytes of its UTF-8 in
hexadecimal, as in web addresses; ``urllib.parse.unquote`` is the way back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, unquote

# What pandas.read_csv takes for a missing value (its documentation, na_values).
_MISSING_WORDS = "#N/A #NA -1.#IND -1.#QNAN -NaN -nan 1.#IND 1.#QNAN <NA> N/A NA NULL NaN None n/a nan null"
MISSING = frozenset(["", "#N/A N/A", *_MISSING_WORDS.split()])

_CHANGED = re.compile(r'[%"\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]')


def escape(text: str) -> str:
    """``text`` as a token that RecBole's reader returns unchanged; empty text stays empty."""
    if text in MISSING and text:
        return f"%{ord(text[0]):02X}{text[1:]}"
    return _CHANGED.sub(lambda match: quote(match.group(), safe=""), text)


def escape_word(text: str) -> str:
    """``text`` as one token of a sequence, which RecBole splits at spaces."""
    return escape(text).replace(" ", "%20")


def unescape(text: str) -> str:
    """The inverse of both."""
    return unquote(text)


def unescaped_ids(ids: Sequence[str]) -> list[str]:
    """Ids as they were before ``escape``; as they are if one of them was not written by it, as in data of others."""
    before = [unescape(each) for each in ids]
    return before if [escape(each) for each in before] == list(ids) else list(ids)
