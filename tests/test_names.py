"""Which names data sets, runs and outputs may have."""

from pathlib import Path

import pytest

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.names import check_name, check_path

BAD_CHARACTERS = ["a\nb", "a\rb", "a\x00b", "a\x1b[31m", "a\x85b", "a\u2028b", "a\udcffb", "-rf", "=1+1", "+1", "@sum"]


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", *BAD_CHARACTERS])
def test_what_is_no_plain_name_is_refused_in_one_printable_line(name):
    with pytest.raises(ConfigError, match="--name: expected") as raised:
        check_name("--name", name)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("name", ["ml-1m", "ml.1m", "Küche 漢字", "a b", "a=b", "[x]", "1"])
def test_plain_names_are_allowed(name):
    check_name("--name", name)


@pytest.mark.parametrize("name", BAD_CHARACTERS)
def test_a_part_of_a_path_is_refused_likewise(name):
    with pytest.raises(ConfigError, match="--output: expected"):
        check_path("--output", Path("results", name, "x"))


@pytest.mark.parametrize("path", ["results", "/tmp/x", "../data", ".cache/x", "."])
def test_plain_paths_are_allowed(path):
    check_path("--output", Path(path))
