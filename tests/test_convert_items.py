"""Titles and further columns of items, of ``convert csv``."""

import gzip
from pathlib import Path

import pytest
from test_convert_delimited import U_I, csv, error, told

from recbole_cfgdiff.data.convert.tokens import unescape

LOG = "user,item,name\nu1,a1,Alien\nu1,a2,\nu2,a1,Aliens\nu2,a2,Brazil\nu3,a3,\nu3,a1,Alien\n"


def items(name="made"):
    head, *lines = Path(f"dataset/{name}/{name}.item").read_text(encoding="utf-8").splitlines()
    return head.split("\t"), [line.split("\t") for line in lines]


def test_titles_stand_among_the_interactions_and_of_two_the_first_is_taken(empty_folder, capsys):
    (empty_folder / "in.csv").write_text(LOG)
    assert csv("in.csv", *U_I, "--title-col=name") == 0
    assert items() == (["item_id:token", "title:token_seq"], [["a1", "Alien"], ["a2", "Brazil"], ["a3", ""]])
    counts = told(capsys)
    assert counts["items, of several titles, the first taken"] == counts["items, without a title"] == "1"


@pytest.mark.parametrize(
    "title", ["A  Man, a Plan", "Zoë", 'the 12" mix', "NA", " tab\there", "100% Wolf", "two\nlines"]
)
def test_titles_can_be_had_back_as_they_were(title, empty_folder):
    quoted = title.replace('"', '""')
    (empty_folder / "in.csv").write_text(f'user,item,name\nu,i,"{quoted}"\nu,j,x\n', encoding="utf-8")
    assert csv("in.csv", *U_I, "--title-col=name") == 0
    ((_, written), _) = items()[1]
    assert " ".join(map(unescape, written.split(" "))) == title


ITEMS = """id,Title,year,code,price,rating,made in,nothing
a1,Alien,1979,007,9.5,4,UK; US,
a2,Brazil,1985,12,,5,UK,
a9,New,1999,1,1e1,3,,
"""


def test_a_file_of_items_has_columns_of_the_types_of_their_values(empty_folder, capsys):
    (empty_folder / "in.csv").write_text(LOG)
    (empty_folder / "items.csv.gz").write_bytes(gzip.compress(ITEMS.encode()))
    assert csv("in.csv", *U_I, "--items=items.csv.gz", "--item-id-col=id") == 0
    head, rows = items()
    columns = ["year:float", "code:token", "price:float", "item_rating:float", "made_in:token", "nothing:token"]
    assert head == ["item_id:token", "title:token_seq", *columns]
    assert rows[0] == ["a1", "Alien", "1979", "007", "9.5", "4", "UK; US", ""] and rows[2][:2] == ["a9", "New"]
    counts = told(capsys)
    assert counts["items, columns"] == ", ".join(head)
    names = ("rows", "in no interaction", "in interactions, without a row")
    assert [counts[f"items, {name}"] for name in names] == ["3", "1", "1"]


def test_items_without_a_header_and_with_their_titles_named(empty_folder):
    (empty_folder / "in.csv").write_text("u|a1\nu|a2\n")
    (empty_folder / "items.csv").write_text("1979|a1|Alien\n1985|a2|Brazil\n")
    options = ("--no-header", "--delimiter=|", "--user-col=1", "--item-col=2")
    assert csv("in.csv", *options, "--items=items.csv", "--item-id-col=2", "--title-col=3") == 0
    assert items() == (
        ["item_id:token", "title:token_seq", "column_1:float"],
        [["a1", "Alien", "1979"], ["a2", "Brazil", "1985"]],
    )


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("id,title\na1,x\n", (), "items.csv, line 1: expected a column item, found id, title"),
        ("item,title\na1\n", (), "items.csv, line 2: expected 2 columns as in line 1, found 1"),
        ("item,title\n,x\n", (), "items.csv, line 2: expected the id of an item"),
        (
            "item,title,title\na1,x,y\n",
            (),
            "items.csv, line 1: two of the columns item, title, title would have one name",
        ),
        ("item,rating,item_rating\na1,1,2\n", (), "would have one name"),
        ('item,"a"b\na1,x\n', (), "items.csv, line 1: expected quotes as CSV has them"),
        ('item,name\na1,"a"b\n', (), "items.csv, line 2: expected quotes as CSV has them"),
        ("item,name\na1,\0\n", (), "items.csv, line 2: not utf-8 text"),
        ("item,name\na1,é\n", ("--encoding=ascii",), "items.csv, line 2: not ascii text"),
        (
            "item,name\na1," + "x" * 200 + "\n",
            ("--max-line-length=100",),
            "items.csv, line 2: longer than 100 characters",
        ),
        ("", (), "items.csv, line 1: expected a column item, found nothing"),
        (None, (), "there is no such file or folder"),
        ("item,name\na1,x\n", ("--title-col=Name2",), "items.csv, line 1: expected a column Name2"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_a_bad_file_of_items_is_one_line_and_leaves_nothing(text, options, message, empty_folder, capsys):
    (empty_folder / "in.csv").write_text("user,item\nu,a1\n")
    if text is not None:
        (empty_folder / "items.csv").write_text(text, encoding="utf-8")
    assert csv("in.csv", *U_I, "--items=items.csv", *options) == 2
    assert message in error(capsys)
    assert not Path("dataset").exists() or not list(Path("dataset").iterdir())


def test_bad_lines_of_items_are_skipped_and_counted_once(empty_folder, capsys):
    (empty_folder / "in.csv").write_text("user,item\nu,a1\n")
    (empty_folder / "items.csv").write_text("item,year\na1,1\nbad\na1,2\n")
    assert csv("in.csv", *U_I, "--items=items.csv", "--skip-bad-lines") == 0
    counts = told(capsys)
    assert counts["items, bad lines skipped"] == counts["items, repeated ids left out"] == counts["items, rows"] == "1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--item-id-col=id",), "--item-id-col: there is no file of items without --items"),
        (("--title-col=item",), "expected different columns"),
        (("--items=dataset/made/items.csv",), "the input lies in the folder to be written"),
    ],
)
def test_options_of_items_that_make_no_sense_are_refused(options, message, empty_folder, capsys):
    (empty_folder / "in.csv").write_text("user,item\n1,2\n")
    assert csv("in.csv", *U_I, *options) == 2
    assert message in error(capsys)
