"""Delimited files as people have them: quotes, encodings, no header, times of all kinds; and what is told of them."""

from pathlib import Path

import converting
import pytest
from converting import convert

U_I = ("--user-col=user", "--item-col=item")


def csv(path, *options):
    return convert("csv", path, "--name=made", *options)


def read_back(name):
    """Without times the order is none of theirs."""
    has_times = "timestamp" in Path(f"dataset/{name}/{name}.inter").read_text(encoding="utf-8").split("\n")[0]
    return converting.read_back(name, **({} if has_times else {"eval_args": {"order": "RO"}}))


def told(capsys):
    lines = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition("  ") for line in lines)}


def error(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    return line


STRAY = [
    ("u1", "a1", '"weird al" yankovic'),
    ("u1", "a2", '"Composition 0919'),
    ("u1", "a3", "foo"),
    ("u2", "a1", 'the 12"'),
    ("u2", "a4", "bar"),
]


def test_quotes_in_a_file_with_tabs_are_characters_like_any_other(empty_folder, capsys):
    rows = [("user", "item", "name"), *STRAY]
    (empty_folder / "lf.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    assert csv("lf.tsv", "--delimiter=tab", "--user-col=name", "--item-col=item") == 0
    assert sorted(read_back("made")) == sorted((name, item) for _, item, name in STRAY)
    counts = told(capsys)
    assert counts["rows read"] == counts["rows written"] == "5" and counts["bad lines skipped"] == "0"


def test_a_quote_that_goes_on_over_rows_is_an_error_that_names_the_option(empty_folder, capsys):
    (empty_folder / "in.csv").write_text('user,item,name\nu1,a1,"open\nu2,a2,x "y" z\nu3,a3,end\n')
    assert csv("in.csv", *U_I) == 2
    assert "in.csv, line 2: not CSV" in (line := error(capsys)) and "--quotes=none" in line
    assert csv("in.csv", *U_I, "--quotes=none") == 0 and len(read_back("made")) == 3


SWALLOWED = [
    'user,item,name\nu1,a1,"Composition 0919\nu2,a2,b\nu3,a3,the 12"\n',
    'user,name,item\nu1,"Composition 0919,a1\nu2,b,a2\nu3,the 12",a3\n',
]


@pytest.mark.parametrize("text", SWALLOWED)
def test_a_quote_that_takes_in_rows_is_not_taken_for_one_unless_that_is_said(text, empty_folder, capsys):
    (empty_folder / "in.csv").write_text(text)
    assert csv("in.csv", *U_I) == 2
    assert "in.csv, line 2: a quote goes on over 3 lines that look like rows" in (line := error(capsys))
    assert "--quotes=none" in line and "--quotes=double" in line
    assert csv("in.csv", *U_I, "--quotes=none") == 0 and told(capsys)["rows read"] == "3"
    assert csv("in.csv", *U_I, "--quotes=double", "--overwrite") == 0
    counts = told(capsys)
    assert counts["rows read"] == "1" and counts["rows of several lines"] == "1"


def test_a_field_of_several_lines_is_one_row_and_told(empty_folder, capsys):
    (empty_folder / "in.csv").write_text('user,item,name\nu1,a1,"of two,\nor three\nlines"\nu2,a2,x\n')
    assert csv("in.csv", *U_I) == 0
    counts = told(capsys)
    assert counts["rows read"] == "2" and counts["rows of several lines"] == "1"


def test_a_header_in_quotes_among_tabs_names_the_option(empty_folder, capsys):
    (empty_folder / "in.tsv").write_text('"user"\t"item"\n"u"\t"i"\n')
    assert csv("in.tsv", *U_I, "--delimiter=tab") == 2
    assert "--quotes=double" in error(capsys)
    assert csv("in.tsv", *U_I, "--delimiter=tab", "--quotes=double") == 0 and read_back("made") == [("u", "i")]


@pytest.mark.parametrize("quote", ['"a"b', '"a"b"', '"a" '])
def test_an_id_that_depends_on_how_a_stray_quote_is_read_is_a_bad_line(quote, empty_folder, capsys):
    (empty_folder / "in.csv").write_text(f"user,item\nu1,i1\n{quote},i2\nu2,i3\n")
    assert csv("in.csv", *U_I) == 2
    assert "in.csv, line 3: expected a user and an item, found quotes" in error(capsys)
    assert csv("in.csv", *U_I, "--skip-bad-lines") == 0
    assert told(capsys)["bad lines skipped"] == "1" and len(read_back("made")) == 2
    assert csv("in.csv", *U_I, "--quotes=none", "--overwrite") == 0
    assert quote in {user for user, _ in read_back("made")}


def test_a_long_field_is_read(empty_folder):
    (empty_folder / "in.csv").write_text("user,item,text\nu,i," + 200_000 * "x" + '\nv,j,"' + 200_000 * "y" + '"\n')
    assert csv("in.csv", *U_I) == 0 and len(read_back("made")) == 2


BOOKS = '"user";"item";"stars"\r\n"Zoë";"034545104X";"5"\r\n"Jörg";"0446520802";"3"\r\n'
BOOKS_READ = [("Zoë", "034545104X", 5.0), ("Jörg", "0446520802", 3.0)]


@pytest.mark.parametrize(
    ("encoding", "options", "said"),
    [
        ("utf-8", [], None),
        ("utf-8-sig", [], None),
        ("latin-1", ["--encoding=latin-1"], "latin-1"),
        ("cp1252", ["--encoding=cp1252"], "cp1252"),
        ("utf-16", [], "utf-16-le, by the byte order mark"),
        ("utf-16", ["--encoding=utf-16"], "utf-16"),
        ("utf-16-be", ["--encoding=utf-16-be"], "utf-16-be"),
        ("utf-32", [], "utf-32-le, by the byte order mark"),
    ],
)
def test_encodings_are_found_out_or_given_and_told(encoding, options, said, empty_folder, capsys):
    (empty_folder / "bx.csv").write_bytes(BOOKS.encode(encoding))
    assert csv("bx.csv", *U_I, "--rating-col=stars", "--delimiter=;", *options) == 0
    assert told(capsys).get("encoding") == said
    assert sorted(read_back("made")) == sorted(BOOKS_READ)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "cp1252"])
def test_what_is_not_utf_8_is_an_error_that_names_the_option(encoding, empty_folder, capsys):
    (empty_folder / "bx.csv").write_bytes(BOOKS.encode(encoding))
    assert csv("bx.csv", *U_I, "--delimiter=;") == 2
    assert "not utf-8 text; --encoding=latin-1" in error(capsys)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("utf-8", "its byte order mark says utf-16-le, not --encoding=utf-8"),
        ("latin-1", "its byte order mark says utf-16-le, not --encoding=latin-1"),
        ("utf-16-be", "its byte order mark says utf-16-le, not --encoding=utf-16-be"),
        ("klingon", "--encoding: expected one such as"),
        ("rot13", "--encoding: expected one such as"),
        ("hex", "--encoding: expected one such as"),
        ("", "--encoding: expected one such as"),
        ("a\0b", "--encoding: expected a value without NUL"),
    ],
)
def test_a_wrong_encoding_is_refused(option, message, empty_folder, capsys):
    (empty_folder / "bx.csv").write_bytes(BOOKS.encode("utf-16"))
    assert csv("bx.csv", *U_I, "--delimiter=;", f"--encoding={option}") == 2
    assert message in error(capsys)


@pytest.mark.parametrize("delimiter", [",", "|", ";"])
def test_a_file_without_a_header(delimiter, empty_folder):
    rows = [("1", "2014-04-07T10:51:09.277Z", "214", "0"), ("1", "2014-04-07T10:54:09.868Z", "215", "0")]
    (empty_folder / "clicks.dat").write_text("".join(delimiter.join(row) + "\n" for row in rows))
    options = ("--no-header", "--user-col=1", "--item-col=3", "--time-col=2", f"--delimiter={delimiter}")
    assert csv("clicks.dat", *options) == 0
    assert read_back("made") == [("1", "214", 1396867869.277), ("1", "215", 1396868049.868)]


@pytest.mark.parametrize("column", ["0", "4", "user", "-1", "1.0", "99999999999999999999"])
def test_a_column_without_a_header_is_a_number_that_there_is(column, empty_folder, capsys):
    (empty_folder / "in.csv").write_text("1,2,3\n")
    assert csv("in.csv", "--no-header", f"--user-col={column}", "--item-col=2") == 2
    assert "expected the number of a column, from 1 to 3" in error(capsys)


def test_numbers_of_columns_with_a_header_name_the_option(empty_folder, capsys):
    (empty_folder / "in.csv").write_text("1,2,3\n")
    assert csv("in.csv", "--user-col=4", "--item-col=2") == 2
    assert "--no-header takes the number of a column" in error(capsys)


def test_a_column_that_is_there_twice_is_refused(empty_folder, capsys):
    (empty_folder / "in.csv").write_text("user,item,user\n1,2,3\n")
    assert csv("in.csv", *U_I) == 2
    assert "the column user is there 2 times" in error(capsys)


def test_a_header_within_the_data_is_a_bad_line(empty_folder, capsys):
    (empty_folder / "in.csv").write_text("user,item\n1,2\nuser,item\n3,4\n")
    assert csv("in.csv", *U_I) == 2
    assert "in.csv, line 3: expected data, found the header again" in error(capsys)


@pytest.mark.parametrize(
    ("written", "unit", "seconds"),
    [
        (["1511544070", "1511544071.5"], "seconds", [1511544070.0, 1511544071.5]),
        (["0", "12", "-5"], "seconds", [-5.0, 0.0, 12.0]),
        (["1511544070123", "1511544071000"], "milliseconds", [1511544070.123, 1511544071.0]),
        (["0", "1511544070123"], "milliseconds", [0.0, 1511544070.123]),
        (["1511544070123456"], "microseconds", [1511544070.123456]),
        (["1511544070123456789"], "nanoseconds", [1511544070123456789 / 10**9]),
        (["2014-04-07T10:51:09.277Z", "2014-04-07T12:51:10+02:00"], "ISO", [1396867869.277, 1396867870.0]),
        (["2014-04-07 10:51:09", "2014-04-07 10:51:10 UTC"], "ISO", [1396867869.0, 1396867870.0]),
        (["20140407T105109Z", "2014-04-07", "2014-04-07T10:51"], "ISO", [1396828800.0, 1396867860.0, 1396867869.0]),
        (["1969-12-31T23:59:59.25Z", "1970-01-01T00:00:00,5-0000"], "ISO", [-0.75, 0.5]),
    ],
)
def test_times_are_told_apart_and_said(written, unit, seconds, empty_folder, capsys):
    rows = "".join(f"u\ti{number}\t{time}\n" for number, time in enumerate(written))
    (empty_folder / "in.tsv").write_text("user\titem\twhen\n" + rows)
    assert csv("in.tsv", *U_I, "--time-col=when", "--delimiter=tab") == 0
    assert told(capsys)["times read as"].startswith(unit)
    assert [time for *_, time in read_back("made")] == seconds


@pytest.mark.parametrize(
    "times",
    [
        ("1511544070", "1511544070000"),
        ("1511544070000", "1511544070"),
        ("1511544070000", "2014-04-07T10:51:09Z"),
        ("2014-04-07T10:51:09Z", "1511544070"),
        ("2014-04-07T10:51:09Z", "0"),
    ],
)
def test_times_of_two_units_in_one_file_are_refused_with_the_line(times, empty_folder, capsys):
    (empty_folder / "in.csv").write_text(f"user,item,when\nu,i,{times[0]}\nu,j,{times[1]}\n")
    assert csv("in.csv", *U_I, "--time-col=when") == 2
    assert "in.csv, line 3: expected a time in" in (line := error(capsys)) and "--time-unit" in line


def test_a_unit_that_is_given_counts(empty_folder, capsys):
    (empty_folder / "in.csv").write_text("user,item,when\nu,i,500\nu,j,1511544070000\n")
    assert csv("in.csv", *U_I, "--time-col=when", "--time-unit=ms") == 0
    assert [time for *_, time in read_back("made")] == [0.5, 1511544070.0]


@pytest.mark.parametrize(
    "time", ["2014-13-07", "2014-04-07T25:00:00Z", "2014-04-07T10:51:09+25:00", "07.04.2014", "nan", "1e30", "", "1_0"]
)
def test_what_is_no_time_is_a_bad_line(time, empty_folder, capsys):
    (empty_folder / "in.csv").write_text(f"user,item,when\nu,i,{time}\n")
    assert csv("in.csv", *U_I, "--time-col=when") == 2
    assert "in.csv, line 2: expected a" in error(capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--time-unit=ms",), "--time-unit: there are no times without --time-col"),
        (("--delimiter=\n",), "--delimiter: expected one character or tab"),
        (('--delimiter="',), "--delimiter: expected one character or tab"),
        (("--delimiter=",), "--delimiter: expected one character or tab"),
        (("--max-line-length=0",), "--max-line-length: expected a number of characters"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message, empty_folder, capsys):
    (empty_folder / "in.csv").write_text("user,item\n1,2\n")
    assert csv("in.csv", *U_I, *options) == 2
    assert message in error(capsys)


@pytest.mark.parametrize("option", ["--no-header", "--quotes=none", "--time-unit=ms"])
def test_options_of_csv_are_refused_elsewhere(option, empty_folder, capsys):
    (empty_folder / "u.data").write_text("1\t2\t3\t4\n")
    assert convert("movielens", "u.data", "--name=made", option) == 2
    assert "is an option of csv, not of movielens" in error(capsys)


def test_what_became_of_every_row_is_told(empty_folder, capsys):
    (empty_folder / "in.csv").write_text("user,item,when\n\nu,i,1\nu,i,2\nu,j,x\nu,k,3\nbad\n")
    assert csv("in.csv", *U_I, "--time-col=when", "--skip-bad-lines") == 0
    counts = told(capsys)
    names = ("rows read", "bad lines skipped", "duplicates left out", "rows written")
    assert [counts[name] for name in names] == ["5", "2", "1", "2"]


def test_data_without_times_is_trained_in_random_order(empty_folder, capsys):
    (empty_folder / "in.csv").write_text("user,item\n1,2\n")
    assert csv("in.csv", *U_I) == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if "python -m recbole_cfgdiff" in line]
    assert len(commands) == 2 and all("--eval_args=" in command and "RO" in command for command in commands)
