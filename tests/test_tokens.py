"""Ids as RecBole can read them."""

from hypothesis import given
from hypothesis import strategies as st
from pandas._libs.parsers import STR_NA_VALUES

from recbole_cfgdiff.data.convert.tokens import MISSING, escape, escape_word, unescape


@given(st.text(st.characters(exclude_categories=("Cs",))) | st.sampled_from(sorted(MISSING)))
def test_escaping_is_reversible(text):
    assert unescape(escape(text)) == unescape(escape_word(text)) == text
    assert not set(escape(text)) & set('\t\n\r"') and " " not in escape_word(text)
    assert not text or escape(text) not in MISSING


def test_all_that_pandas_takes_for_missing_is_known():
    assert set(STR_NA_VALUES) == MISSING
