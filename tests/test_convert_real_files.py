"""Files as people have them: what is read as what it is, and what is told instead of guessed."""

import bz2
import gzip
import json
import lzma
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from converting import convert, read_back

COLUMNS = ("--user-col=user", "--item-col=item")


def rows(name):
    return [row[:2] for row in read_back(name, eval_args={"order": "RO"})]


@pytest.mark.parametrize("suffix", [".csv.bz2", ".csv.xz", ".CSV.GZ", ".data"])
def test_compression_is_told_by_the_content(suffix):

    pack = {".csv.bz2": bz2.compress, ".csv.xz": lzma.compress, ".CSV.GZ": gzip.compress, ".data": gzip.compress}[
        suffix
    ]
    Path(f"in{suffix}").write_bytes(pack(b"user,item\nu,a\nv,b\n"))
    assert convert("csv", f"in{suffix}", "--name=made", *COLUMNS) == 0
    assert rows("made") == [("u", "a"), ("v", "b")]


def test_spaces_at_the_delimiter_are_left_out_and_others_told(capsys):
    Path("in.csv").write_text("user, item\n1, 2\n1, 3\n")
    assert convert("csv", "in.csv", "--name=made", *COLUMNS) == 0
    assert rows("made") == [("1", "2"), ("1", "3")] and "spaces at the delimiter" in capsys.readouterr().out
    Path("in.csv").write_text("user,item\n1, 2\n1,2\n")
    assert convert("csv", "in.csv", "--name=other", *COLUMNS) == 0
    assert rows("other") == [("1", " 2"), ("1", "2")] and "ids with spaces around them  1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "content", "options", "message"),
    [
        ("csv", "user,item,t\nu,a,20051231\n", (*COLUMNS, "--time-col=t"), "may be a date without separators"),
        ("csv", "user,item,t\nu,a,20140407105109\n", (*COLUMNS, "--time-col=t"), "may be a date without separators"),
        ("csv", "user,item,t\nu,a,0\nu,b,2005-12-31\n", (*COLUMNS, "--time-col=t"), "as the 0 before"),
        ("csv", "user,item,t\nu,a,noon\n", (*COLUMNS, "--time-col=t"), "a number or an ISO 8601 date for the time"),
        ("csv", "user,item\nu,a\n", ("--user-col=user", "--item-col=USER"), "expected different columns"),
        ("csv", "user\titem\nu\ta\n", COLUMNS, "--delimiter=tab"),
        ("csv", "user;item\nu;a\n", COLUMNS, "--delimiter=';'"),
        ("sequences", "userID artistID weight\n1 2 3\n2 3 4\n", (), "found what names columns"),
        ("sequences", "# ours\n1 2 3 4\n", (), "expected `user item item ...`"),
        ("sequences", "0 2010-10-19T23:55:27Z 30.2 3\n", (), "expected `user item item ...`"),
        ("sequences", "".join(f"{user} {user + 9} 5\n" for user in range(30)), (), "every line has three words"),
    ],
)
def test_what_would_be_guessed_is_told(source, content, options, message, capsys):
    Path("in.txt").write_text(content)
    assert convert(source, "in.txt", "--name=made", *options) == 2
    assert message in capsys.readouterr().err and not Path("dataset/made").exists()


def test_what_looks_like_a_date_is_a_number_if_said_so():
    Path("in.csv").write_text("user,item,t\nu,a,20051231\n")
    assert convert("csv", "in.csv", "--name=made", *COLUMNS, "--time-col=t", "--time-unit=s") == 0
    assert read_back("made")[0][-1] == 20051231.0


def test_movielens_with_dates_and_a_quoted_header_is_movielens():
    Path("rating.csv").write_text('"userId","movieId","rating","timestamp"\n1,2,3.5,"2005-04-02 23:53:47"\n')
    assert convert("movielens", "rating.csv", "--name=made") == 0
    assert read_back("made") == [("1", "2", 3.5, 1112486027.0)]


def test_categories_of_old_rounds_of_yelp_are_lists():
    review = {"user_id": "u", "business_id": "b", "stars": 4, "date": "2015-01-02"}
    Path("yelp").mkdir()
    Path("yelp/yelp_academic_dataset_review.json").write_text(json.dumps(review) + "\n")
    business = {"business_id": "b", "name": "B", "city": "C", "state": "S", "categories": ["Food", "Bars"]}
    Path("yelp/yelp_academic_dataset_business.json").write_text(json.dumps(business) + "\n")
    assert convert("yelp", "yelp", "--name=made") == 0
    assert "Food Bars" in Path("dataset/made/made.item").read_text()


def test_what_no_conversion_wrote_is_not_removed(capsys):
    Path("in.csv").write_text("user,item\nu,a\n")
    assert convert("csv", "in.csv", "--name=made", *COLUMNS) == 0
    Path("dataset/made/NOTES.txt").write_text("mine")
    assert convert("csv", "in.csv", "--name=made", *COLUMNS, "--overwrite") == 2
    assert "NOTES.txt" in capsys.readouterr().err and Path("dataset/made/NOTES.txt").read_text() == "mine"


def test_an_archive_in_an_archive_is_told(capsys):
    with zipfile.ZipFile("Yelp-JSON.zip", "w") as outer:
        outer.writestr("Yelp JSON/yelp_dataset.tar", bytes(10240))
        outer.writestr("__MACOSX/._x", b"")
    assert convert("yelp", "Yelp-JSON.zip", "--name=made") == 2
    assert "there is an archive in it, Yelp JSON/yelp_dataset.tar" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_outputs_are_no_fault(closed):
    Path("in.csv").write_text("user,item\nu,a\n")
    command = f"{sys.executable} -m recbole_cfgdiff convert csv in.csv --name made {' '.join(COLUMNS)} {closed}"
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 0
    assert Path("dataset/made/made.inter").is_file()
