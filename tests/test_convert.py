"""What every conversion does: statistics, mistakes in one clear line, nothing half-written."""

import gzip
import tarfile
import zipfile

import pytest
from converting import Raw, as_delimited, convert, read_back


def test_many_different_ratings_are_counted_in_spans(empty_folder, capsys):
    assert convert(*as_delimited(empty_folder, [Raw("u", f"i{n}", n / 7, n) for n in range(100)]), "--name=made") == 0
    spans = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rating ")]
    assert len(spans) == 10 and all(line.endswith(" 10") for line in spans)


def test_a_name_is_no_path(empty_folder, capsys):
    assert convert(*as_delimited(empty_folder, [Raw("u", "i", 1.0, 0)]), "--name=../made") == 2
    assert "--name: expected the name of a file or folder, got '../made'" in capsys.readouterr().err


def test_statistics_are_printed(empty_folder, capsys):
    records = [Raw("u", "i", 5.0, 0), Raw("u", "j", 3.0, 86400), Raw("v", "i", 5.0, 9), Raw("u", "i", 1.0, 99)]
    assert convert(*as_delimited(empty_folder, records), "--name=made") == 0
    table, _, hint = capsys.readouterr().out.partition("\n\n")
    lines = dict(line.rsplit("  ", 1) for line in table.splitlines()[1:])
    found = {key.strip(): value.strip() for key, value in lines.items()}
    assert found["users"] == "2" and found["items"] == "2" and found["interactions"] == "3"
    assert found["rating 5"] == "2" and found["rating 3"] == "1" and found["duplicates left out"] == "1"
    assert found["density"] == "75.0000%" and found["times"] == "1970-01-01 to 1970-01-02"
    commands = [line.split(": ", 1)[1] for line in hint.splitlines()]
    assert commands[0].startswith("python -m recbole_cfgdiff compare --models=") and "--dataset=made" in commands[0]
    assert commands[1] == "python -m recbole_cfgdiff run --model=CFGDiffRec --dataset=made"


def test_where_the_data_was_put_is_in_the_command_to_train_on_it(empty_folder, capsys):
    assert convert(*as_delimited(empty_folder, [Raw("u", "i", 5.0, 0)]), "--name=made", "--output=my data") == 0
    assert capsys.readouterr().out.endswith(" --dataset=made '--data_path=my data'\n")


U_DATA = "1\t2\t3\t881250949\n"
LINE = '{"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1}\n'


def bad_gzip(path):
    path.write_bytes(gzip.compress(LINE.encode() * 5000)[:-20])


def bad_zip(path):
    path.write_bytes(b"PK\x03\x04 no archive")


def escaping_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../ratings.dat", "1::2::3::4\n")


def escaping_tar(path):
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("/etc/yelp_academic_dataset_review.json"))


def text(content):
    return lambda path: path.write_text(content, encoding="utf-8", errors="surrogateescape")


@pytest.mark.parametrize(
    ("source", "name", "write", "message"),
    [
        ("amazon", "a.json.gz", bad_gzip, "a.json.gz: truncated or damaged"),
        ("movielens", "a.zip", bad_zip, "a.zip: truncated or damaged"),
        ("movielens", "a.zip", escaping_zip, "its member ../ratings.dat points outside"),
        ("yelp", "a.tar", escaping_tar, "its member /etc/yelp_academic_dataset_review.json points outside"),
        ("amazon", "a.json", text(LINE + "{oops\n"), "a.json, line 2: expected a JSON object, found '{oops'"),
        ("amazon", "a.json", text(LINE + '{"asin": "B"}\n'), "a.json, line 2: expected the key 'reviewerID'"),
        ("amazon", "a.json", text(LINE + LINE.replace("5.0", '"x"')), "line 2: expected a number for the rating"),
        (
            "amazon",
            "a.json",
            text(LINE + LINE.replace("1}", "null}")),
            "line 2: expected a number or an ISO 8601",
        ),
        ("amazon", "a.json", text(LINE + LINE.replace("5.0", "true")), "line 2: expected a number for the rating"),
        (
            "amazon",
            "a.json",
            text(LINE + LINE.replace("5.0", "1" + 400 * "0")),
            "line 2: expected a number for the rat",
        ),
        ("amazon", "a.json", text(LINE + LINE.replace('"A1"', r'"\ud800"')), "line 2: expected an id for the user"),
        ("amazon", "a.json", text(LINE + LINE.replace('"B1"', '["B1"]')), "line 2: expected an id for the item"),
        ("amazon", "a.json", text(LINE + "[" * 100_000 + "\n"), "line 2: expected a JSON object"),
        (
            "movielens",
            "u.data",
            text("1\t2\t3\t1_0\n"),
            "ISO 8601 date for the time, found '1_0'",
        ),
        ("movielens", "u.data", text("1\t2\t3\t4\n1\t2\t3\n"), "u.data, line 2: expected user\titem\trating\ttime"),
        ("sequences", "a.txt", text("1 2 3\n4\n"), "a.txt, line 2: expected `user item item ...`, found '4'"),
        ("sequences", "a.json", text(LINE), "not the layout of sequences; it looks like amazon"),
        ("sequences", "a.csv", text("1,2,3, 4\n"), "a.csv, line 1: expected `user item item ...`, found '1,2,3, 4'"),
        ("amazon", "u.data", text(U_DATA), "not the layout of amazon; it looks like movielens"),
        ("sequences", "a.txt", text(U_DATA), "not the layout of sequences; it looks like movielens"),
        ("yelp", "a.txt", text("1 2 3\n"), "not the layout of yelp; it looks like sequences"),
        ("movielens", "a.txt", text(""), "a.txt: expected MovieLens's u.data, ratings.dat, ratings.csv; found a.txt"),
        ("movielens", "ratings.csv", text("1,2,3.5,100\n"), "ratings.csv, line 1: expected a column userId, found 1,"),
        ("movielens", "ratings.csv", text("A1234567890,B000000001,5,1\n"), "line 1: expected a column userId"),
        ("movielens", "u.data", text("1\t2\t3\t4\n" * 99 + "\udcff\n"), "u.data, line 100: not utf-8 text"),
        (
            "amazon",
            "a.csv",
            text("A1234567890,B000000001,5,1\n" + 'A1234567891,B000000001,5,"1\n' + "A1234567892,B000000001,5,1\n"),
            "a.csv, line 2: not CSV (unexpected end of data)",
        ),
        (
            "amazon",
            "a.csv",
            text('A1234567890,B000000001,5,"1\nA1234567891,B000000001,5,1\nA1234567892,B000000001,5,"1\n'),
            "a.csv, line 1: not CSV (',' expected after",
        ),
        ("sequences", "a.txt", text("1\t2\t3.5\t881250949\n"), "not the layout of sequences; it looks like movielens"),
        ("sequences", "a.txt", text("1 2 3 881250949\n"), "not the layout of sequences; it looks like movielens"),
        ("yelp", "a.json", text("{[1]: 2}\n"), "a.json, line 1: expected a JSON object"),
        (
            "amazon",
            "a.csv",
            text("AE234567890,B000000001,5,1423248055000\n"),
            "a.csv, line 1: expected seconds since 1970 for the time, found 1423248055000",
        ),
        ("amazon", "a.txt", text("user_id,parent_asin,timestamp\n"), "expected a column rating, found user_id,"),
        ("diffrec", "a.txt", text("1 2 3\n"), "not the layout of diffrec"),
        ("amazon", "absent", lambda path: None, "there is no such file or folder"),
        (
            "amazon",
            "a.csv",
            text("A1234567890,B000000001,5,1\n" + '"' + "x" * 200_000),
            "a.csv, line 2: not CSV (",
        ),
        ("movielens", "ratings.csv", text("userId,movieId,rating,timestamp\n"), "no interactions: the source is empty"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(source, name, write, message, empty_folder, capsys):
    write(empty_folder / name)
    assert convert(source, empty_folder / name, "--name=made") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not list(empty_folder.glob("dataset/*")) and not list(empty_folder.glob("dataset/.*"))


def test_a_byte_order_mark_and_blank_lines_are_no_data(empty_folder):
    for name, source, content in (
        ("u.data", "movielens", U_DATA + "\n"),
        ("a.txt", "sequences", "1 2 3\n\n2 3 4\n"),
        ("a.json", "amazon", LINE + "\n" + LINE),
        ("ratings.csv", "movielens", "userId,movieId,rating,timestamp\n1,2,3,881250949\n\n"),
    ):
        (empty_folder / name).write_text(content, encoding="utf-8-sig")
        assert convert(source, name, f"--name={name}") == 0
        assert {user for user, *_ in read_back(name)} <= {"1", "2", "A1"}


def test_a_quote_within_a_field_and_a_field_of_several_lines_are_csv(empty_folder):
    text = 'user,item,time,title\n1,2,1,"Emma" by Austen\n1,3,2,"of two\nlines"\n2,3,3,x\n'
    (empty_folder / "in.csv").write_text(text)
    assert convert("csv", "in.csv", "--name=made", "--user-col=user", "--item-col=item", "--time-col=time") == 0
    assert len(read_back("made")) == 3


def test_small_sets_of_ratings_and_of_sequences_are_what_they_are_called(empty_folder):
    (empty_folder / "in.txt").write_text("1\t2\t3\t4\n")
    for source in ("movielens", "sequences"):
        assert convert(source, "in.txt", f"--name={source}") == 0
    assert len(read_back("movielens")) == 1 and len(read_back("sequences")) == 3
    for name, text in (("commas", "u1 a b\nu2 c,d e\n"), ("threes", "u1\ta\tb\tc\nu2\tb\tc\td\n")):
        (empty_folder / name).write_text(text)
        assert convert("sequences", name, f"--name={name}") == 0


def test_two_files_of_a_name_are_refused_and_hidden_ones_passed_over(empty_folder, capsys):
    for folder in ("a", "b", ".hidden", "__MACOSX"):
        (empty_folder / "in" / folder).mkdir(parents=True)
        (empty_folder / "in" / folder / "u.data").write_text(U_DATA)
    assert convert("movielens", empty_folder / "in", "--name=made") == 2
    error = capsys.readouterr().err
    assert "has both" in error and "a/u.data" in error and "b/u.data; give the folder or the file" in error
    (empty_folder / "in" / "b" / "u.data").unlink()
    for other in ("a/README", "b/README"):
        (empty_folder / "in" / other).write_text("no matter")
    assert convert("movielens", empty_folder / "in", "--name=made") == 0


def test_archives_are_told_by_their_content_and_may_hold_compressed_files(empty_folder):
    with zipfile.ZipFile(empty_folder / "downloaded", "w") as archive:
        archive.writestr("__MACOSX/._u.data", "x")
        archive.writestr("ml/u.data.gz", gzip.compress(U_DATA.encode()))
    assert convert("movielens", "downloaded", "--name=made") == 0
    assert read_back("made") == [("1", "2", 3.0, 881250949.0)]


def test_an_option_of_another_source_is_refused(empty_folder, capsys):
    (empty_folder / "u.data").write_text(U_DATA)
    assert convert("movielens", "u.data", "--name=made", "--version=2014") == 2
    assert "--version is an option of amazon, not of movielens" in capsys.readouterr().err


def test_bad_lines_are_counted_and_skipped_if_wanted(empty_folder, capsys):
    (empty_folder / "u.data").write_text("1\t2\t3\t4\nbad\n1\t3\tx\t4\n1\t4\t5\t6\n")
    assert convert("movielens", "u.data", "--name=made", "--skip-bad-lines") == 0
    assert "bad lines skipped    2" in capsys.readouterr().out
    assert len(read_back("made")) == 2


def test_an_existing_data_set_is_kept_unless_it_may_be_replaced(empty_folder, capsys):
    (empty_folder / "u.data").write_text("1\t2\t3\t4\n")
    assert convert("movielens", "u.data", "--name=made") == 0
    (empty_folder / "u.data").write_text("1\t2\t3\t4\n5\t6\t1\t8\n")
    assert convert("movielens", "u.data", "--name=made") == 2
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err
    assert len(read_back("made")) == 1
    assert convert("movielens", "u.data", "--name=made", "--overwrite") == 0
    assert len(read_back("made")) == 2


def test_nothing_but_a_data_set_is_replaced_and_never_the_input(empty_folder, capsys):
    folder = empty_folder / "dataset" / "made"
    folder.mkdir(parents=True)
    (folder / "u.data").write_text("1\t2\t3\t4\n")
    assert convert("movielens", folder / "u.data", "--name=made", "--overwrite") == 2
    assert "the input lies in the folder to be written" in capsys.readouterr().err
    (empty_folder / "u.data").write_text("1\t2\t3\t4\n")
    assert convert("movielens", "u.data", "--name=made", "--overwrite") == 2
    assert "not replaced, it is no data set" in capsys.readouterr().err
    assert (folder / "u.data").is_file()


@pytest.mark.parametrize("name", ["ml-100k", "ml-1m", "sample"])
def test_names_with_other_settings_are_refused(name, empty_folder, capsys):
    (empty_folder / "in.txt").write_text("1 2 3\n")
    assert convert("sequences", "in.txt", f"--name={name}") == 2
    assert "--name: " in capsys.readouterr().err and not list(empty_folder.glob("dataset/*"))


def test_a_full_disk_leaves_nothing(empty_folder, monkeypatch, capsys):
    (empty_folder / "u.data").write_text("1\t2\t3\t4\n")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recbole_cfgdiff.data.convert.convert.write_inter", full)
    assert convert("movielens", "u.data", "--name=made") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(empty_folder.glob("dataset/*")) and not list(empty_folder.glob("dataset/.*"))
