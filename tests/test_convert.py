"""Every source's layout, read back through RecBole's Dataset and compared with the raw records."""

import csv
import gzip
import io
import json
import tarfile
import zipfile
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import recbole
import recbole.data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas._libs.parsers import STR_NA_VALUES

from conftest import SHARED_DATA
from recbole_cfgdiff import data
from recbole_cfgdiff.cli import main
from recbole_cfgdiff.config import Config
from recbole_cfgdiff.data.tokens import MISSING, escape, escape_word, unescape

ML_100K = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"


class Raw(NamedTuple):
    user: str
    item: str
    rating: float
    time: int


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


def read_back(name, **options):
    """(user, item, rating, exact time) of all rows in the order of the data set, ids unescaped."""
    config = Config("CFGDiffRec", name, config_dict=options)
    frame = data.create_dataset(config).inter_feat
    raw = recbole.data.create_dataset(config)
    columns = [
        [unescape(token) for token in raw.id2token(field, frame[field].to_numpy())] for field in ("user_id", "item_id")
    ]
    columns += [frame[field].tolist() for field in ("rating", config["TIME_FIELD"]) if field in frame]
    return list(zip(*columns))


def expected_of(records):
    """Time order, equal times as they were; of repeated pairs the first."""
    seen, rows = set(), []
    for record in sorted(records, key=lambda record: record.time):
        if record[:2] not in seen:
            seen.add(record[:2])
            rows.append(tuple(record))
    return rows


# Without surrogates, which are no text, and without line ends, which end a line in every source.
ids = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=8) | st.sampled_from(
    ["NA", "null", "None", "nan", "%41", 'a "quote"', '"', "a,b", "ü 漢字", "1", "-1.#IND", "a|b"]
)
stars = st.integers(1, 5).map(float)
times = st.integers(0, 2_000_000_000)
records = st.lists(st.builds(Raw, ids, ids, stars, times), min_size=1, max_size=25)
plain_ids = st.from_regex(r"[A-Z0-9]{1,8}", fullmatch=True)


def write_csv(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


def as_delimited(folder, records):
    write_csv(folder / "in.csv", [("who", "what", "stars", "when"), *records])
    columns = ("--user-col=who", "--item-col=what", "--rating-col=stars", "--time-col=when")
    return "csv", folder / "in.csv", *columns


def as_amazon_2014(folder, records):
    keys = ("reviewerID", "asin", "overall", "unixReviewTime")
    with gzip.open(folder / "in.json.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({**dict(zip(keys, record)), "helpful": [0, 0]}) + "\n" for record in records)
    return "amazon", folder / "in.json.gz"


def as_amazon_2014_literals(folder, records):
    keys = ("reviewerID", "asin", "overall", "unixReviewTime")
    text = "".join(repr(dict(zip(keys, record))) + "\n" for record in records)
    (folder / "in.json").write_text(text, encoding="utf-8")
    return "amazon", folder / "in.json"


def as_amazon_2018(folder, records):
    keys = ("reviewerID", "asin", "overall", "unixReviewTime")
    text = "".join(json.dumps({**dict(zip(keys, record)), "verified": True}) + "\n" for record in records)
    (folder / "in.json").write_text(text, encoding="utf-8")
    return "amazon", folder / "in.json"


def as_amazon_2018_ratings(folder, records):
    write_csv(folder / "in.csv", [(item, user, rating, time) for user, item, rating, time in records])
    return "amazon", folder / "in.csv", "--version=2018"


def as_amazon_2014_ratings(folder, records):
    write_csv(folder / "in.csv", records)
    return "amazon", folder / "in.csv", "--version=2014"


def as_amazon_2023_csv_without_history(folder, records):
    rows = [(user, item, rating, 1000 * time) for user, item, rating, time in records]
    write_csv(folder / "in.csv", [("user_id", "parent_asin", "rating", "timestamp"), *rows])
    return "amazon", folder / "in.csv"


def as_amazon_2023(folder, records):
    lines = (
        json.dumps({"user_id": user, "asin": "x", "parent_asin": item, "rating": rating, "timestamp": 1000 * time})
        for user, item, rating, time in records
    )
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "amazon", folder / "in.jsonl"


def as_amazon_2023_csv(folder, records):
    rows = [(user, item, rating, 1000 * time, "B1 B2") for user, item, rating, time in records]
    write_csv(folder / "in.csv", [("user_id", "parent_asin", "rating", "timestamp", "history"), *rows])
    return "amazon", folder / "in.csv"


def as_yelp_tar(folder, records):
    def date(time):
        return datetime.fromtimestamp(time, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S")

    lines = [
        json.dumps({"review_id": "r", "user_id": user, "business_id": item, "stars": rating, "date": date(time)})
        for user, item, rating, time in records
    ]
    content = ("\n".join(lines) + "\n").encode()
    member = tarfile.TarInfo("yelp/yelp_academic_dataset_review.json")
    member.size = len(content)
    with tarfile.open(folder / "yelp.tgz", "w:gz") as archive:
        archive.addfile(member, io.BytesIO(content))
    return "yelp", folder / "yelp.tgz"


LAYOUTS = [
    as_delimited,
    as_amazon_2014,
    as_amazon_2014_literals,
    as_amazon_2014_ratings,
    as_amazon_2018,
    as_amazon_2018_ratings,
    as_amazon_2023,
    as_amazon_2023_csv,
    as_amazon_2023_csv_without_history,
    as_yelp_tar,
]


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(records=records)
def test_records_survive_conversion(layout, empty_folder, records):
    assert convert(*layout(empty_folder, records), "--name=made", "--overwrite") == 0
    assert read_back("made") == expected_of(records)


def as_ml_100k(folder, records):
    (folder / "u.data").write_text("".join("\t".join(map(str, record)) + "\n" for record in records))
    return "movielens", folder / "u.data"


def as_ml_1m(folder, records):
    with zipfile.ZipFile(folder / "ml-1m.zip", "w") as archive:
        text = "".join("::".join(map(str, record)) + "\n" for record in records)
        archive.writestr("ml-1m/ratings.dat", text)
    return "movielens", folder / "ml-1m.zip"


def as_ml_20m(folder, records):
    write_csv(folder / "ratings.csv", [("userId", "movieId", "rating", "timestamp"), *records])
    return "movielens", folder / "ratings.csv"


plain_records = st.lists(st.builds(Raw, plain_ids, plain_ids, stars, times), min_size=1, max_size=25)


@pytest.mark.parametrize("layout", [as_ml_100k, as_ml_1m, as_ml_20m])
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(records=plain_records)
def test_movielens_survives_conversion(layout, empty_folder, records):
    assert convert(*layout(empty_folder, records), "--name=made", "--overwrite") == 0
    assert read_back("made") == expected_of(records)


words = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=6)
sequences = st.dictionaries(words, st.lists(words, min_size=1, max_size=8, unique=True), min_size=1, max_size=8)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(sequences=sequences)
def test_sequences_keep_every_place(empty_folder, sequences):
    source = empty_folder / "in.txt"
    source.write_text("".join(" ".join([user, *items]) + "\n" for user, items in sequences.items()), encoding="utf-8")
    # Text without blanks may look like another layout, which is refused.
    status = convert("sequences", source, "--name=made", "--overwrite")
    if status == 0:
        rows = read_back("made")
        assert sorted(rows) == sorted((u, i, float(n)) for u, items in sequences.items() for n, i in enumerate(items))


@given(st.text(st.characters(exclude_categories=("Cs",))) | st.sampled_from(sorted(MISSING)))
def test_escaping_is_reversible(text):
    assert unescape(escape(text)) == unescape(escape_word(text)) == text
    assert not set(escape(text)) & set('\t\n\r"') and " " not in escape_word(text)
    assert not text or escape(text) not in MISSING


def test_all_that_pandas_takes_for_missing_is_known():
    assert set(STR_NA_VALUES) == MISSING


def records_of_ml_100k():
    lines = (ML_100K / "ml-100k.inter").read_text().splitlines()[1:]
    return [Raw(u, i, float(r), int(float(t))) for u, i, r, t in (line.split("\t") for line in lines)]


def test_ml_100k_and_an_ml_1m_made_of_it_are_recboles_copy(empty_folder):
    records = records_of_ml_100k()
    for layout in (as_ml_100k, as_ml_1m):
        assert (
            convert(
                *layout(empty_folder, [r._replace(rating=int(r.rating)) for r in records]), "--name", layout.__name__
            )
            == 0
        )
        rows = read_back(layout.__name__)
        assert len(rows) == 100_000 and sorted(rows) == sorted(map(tuple, records))


pairs_of_ids = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=25)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(parts=st.tuples(pairs_of_ids, pairs_of_ids, pairs_of_ids))
def test_any_diffrec_split_is_kept_exactly(empty_folder, parts):
    source = empty_folder / "source"
    source.mkdir(exist_ok=True)
    for name, rows in zip(("train", "valid", "test"), parts):
        np.save(source / f"{name}_list.npy", np.array(rows))
    assert convert("diffrec", source, "--name=made", "--overwrite") == 0
    rows = [(int(user), int(item)) for user, item, _ in read_back("made")]
    for part in parts:
        taken, rows = rows[: len(part)], rows[len(part) :]
        assert sorted(taken) == sorted(part)
        for user in {user for user, _ in part}:
            assert [item for owner, item in taken if owner == user] == [item for owner, item in part if owner == user]


def a_split(folder):
    arrays = {"train": [[0, 3], [0, 1], [1, 1]], "valid": [[0, 2], [1, 3]], "test": [[1, 0]]}
    folder.mkdir()
    for part, rows in arrays.items():
        np.save(folder / f"{part}_list.npy", np.array(rows))
    return folder


def test_a_diffrec_split_is_kept_exactly(empty_folder):
    source = a_split(empty_folder / "source")
    with zipfile.ZipFile(empty_folder / "source.zip", "w") as archive:
        for file in source.iterdir():
            archive.write(file, file.name)
    for number, split in enumerate((source, empty_folder / "source.zip")):
        assert convert("diffrec", split, f"--name=split{number}") == 0
        files = [Path(f"dataset/split{number}/split{number}.{part}.inter") for part in ("train", "valid", "test")]
        contents = [file.read_text().split("\n", 1)[1] for file in files]
        assert contents == ["0\t3\t0\n0\t1\t1\n1\t1\t0\n", "0\t2\t2\n1\t3\t1\n", "1\t0\t2\n"]


def test_a_diffrec_split_with_pickled_objects_is_refused(empty_folder, capsys):
    source = a_split(empty_folder / "source")
    np.save(source / "valid_list.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert convert("diffrec", source, "--name=made") == 2
    assert "valid_list.npy: not a plain numpy array" in capsys.readouterr().err
    (source / "valid_list.npy").unlink()
    assert convert("diffrec", source, "--name=made") == 2
    assert "valid_list.npy is missing" in capsys.readouterr().err
    assert not Path("dataset").exists()


def test_features_of_items_and_users_survive(empty_folder):
    (empty_folder / "u.data").write_text("1\t7\t5\t10\n")
    flags = "|".join("1" if index in (4, 15) else "0" for index in range(19))
    (empty_folder / "u.item").write_bytes(f"7|Café, l'été (1990)|01-Jan-1990||http://x|{flags}\n".encode("latin-1"))
    (empty_folder / "u.user").write_text("1|24|M|technician|85711\n")
    assert convert("movielens", empty_folder, "--name=films") == 0
    folder = Path("dataset/films")
    assert (folder / "films.item").read_text(encoding="utf-8").splitlines() == [
        "item_id:token\tmovie_title:token\tclass:token_seq",
        "7\tCafé, l'été (1990)\tChildren's Sci-Fi",
    ]
    assert (folder / "films.user").read_text().splitlines()[1] == "1\t24\tM\ttechnician\t85711"


def test_titles_of_ml_10m_are_utf_8(empty_folder):
    (empty_folder / "ratings.dat").write_text("1::7::5::10\n")
    (empty_folder / "movies.dat").write_text("7::Amélie (2001)::Comedy|Romance\n", encoding="utf-8")
    assert convert("movielens", empty_folder, "--name=films") == 0
    lines = Path("dataset/films/films.item").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "7\tAmélie (2001)\tComedy Romance"


def test_many_different_ratings_are_counted_in_spans(empty_folder, capsys):
    assert convert(*as_delimited(empty_folder, [Raw("u", f"i{n}", n / 7, n) for n in range(100)]), "--name=made") == 0
    spans = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rating ")]
    assert len(spans) == 10 and all(line.endswith(" 10") for line in spans)


def test_a_name_is_no_path(empty_folder, capsys):
    assert convert(*as_delimited(empty_folder, [Raw("u", "i", 1.0, 0)]), "--name=../made") == 2
    assert "--name: expected the name of a folder, got '../made'" in capsys.readouterr().err


def test_businesses_become_items(empty_folder):
    review = {"user_id": "u", "business_id": "b", "stars": 4.0, "date": "2018-07-07 22:09:11"}
    (empty_folder / "yelp_academic_dataset_review.json").write_text(json.dumps(review) + "\n")
    business = {"business_id": "b", "name": "Zoë's", "city": "X", "state": None, "categories": "Food Trucks, Food"}
    (empty_folder / "yelp_academic_dataset_business.json").write_text(json.dumps(business) + "\n")
    assert convert("yelp", empty_folder / "yelp_academic_dataset_review.json", "--name=yelp") == 0
    assert (
        Path("dataset/yelp/yelp.item").read_text(encoding="utf-8").splitlines()[1]
        == "b\tZoë's\tX\t\tFood%20Trucks Food"
    )


def test_ratings_only_files_of_2014_and_2018_are_told_apart(empty_folder, capsys):
    rows = [
        ("A2IBPI20UZIR0U", "1384719342", "5.0", "1393545600"),
        ("A14VAT5EAX3D9S", "B00004Y2UT", "4.0", "1363392000"),
    ]
    write_csv(empty_folder / "a.csv", rows)
    write_csv(empty_folder / "b.csv", [(item, user, *rest) for user, item, *rest in rows])
    for file, version in (("a.csv", 2014), ("b.csv", 2018)):
        assert convert("amazon", file, f"--name=v{version}") == 0
        assert f"Amazon {version}, CSV" in capsys.readouterr().out
        assert {row[0] for row in read_back(f"v{version}")} == {"A2IBPI20UZIR0U", "A14VAT5EAX3D9S"}


def test_statistics_are_printed(empty_folder, capsys):
    records = [Raw("u", "i", 5.0, 0), Raw("u", "j", 3.0, 86400), Raw("v", "i", 5.0, 9), Raw("u", "i", 1.0, 99)]
    assert convert(*as_delimited(empty_folder, records), "--name=made") == 0
    lines = dict(line.rsplit("  ", 1) for line in capsys.readouterr().out.splitlines()[1:])
    found = {key.strip(): value.strip() for key, value in lines.items()}
    assert found["users"] == "2" and found["items"] == "2" and found["interactions"] == "3"
    assert found["rating 5"] == "2" and found["rating 3"] == "1" and found["duplicates left out"] == "1"
    assert found["density"] == "75.0000%" and found["times"] == "1970-01-01 to 1970-01-02"


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
    return lambda path: path.write_text(content)


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
        ("amazon", "a.json", text(LINE + LINE.replace("1}", "null}")), "line 2: expected a number for the time"),
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
        ("movielens", "u.data", text("1\t2\t3\t1_0\n"), "line 1: expected a number for the time, found '1_0'"),
        ("movielens", "u.data", text("1\t2\t3\t4\n1\t2\t3\n"), "u.data, line 2: expected user\titem\trating\ttime"),
        ("sequences", "a.txt", text("1 2 3\n4\n"), "a.txt, line 2: expected `user item item ...`, found '4'"),
        ("sequences", "a.json", text(LINE), "not the layout of sequences; it looks like amazon"),
        ("amazon", "u.data", text("1\t2\t3\t4\n"), "not the layout of amazon; it looks like movielens"),
        ("sequences", "a.txt", text("1\t2\t3\t4\n"), "not the layout of sequences; it looks like movielens"),
        ("yelp", "a.txt", text("1 2 3\n"), "not the layout of yelp; it looks like sequences"),
        ("movielens", "a.txt", text(""), "not the layout of movielens"),
        ("diffrec", "a.txt", text("1 2 3\n"), "not the layout of diffrec"),
        ("amazon", "absent", lambda path: None, "there is no such file or folder"),
        (
            "amazon",
            "a.csv",
            text("A1234567890,B000000001,5,1\n" + '"' + "x" * 200_000),
            "a.csv, line 2: not CSV (field",
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


def test_a_user_on_two_lines_of_sequences_goes_on(empty_folder):
    (empty_folder / "in.txt").write_text("1 10 11\n2 10 13\n1 20 21\n")
    assert convert("sequences", "in.txt", "--name=made") == 0
    assert [row[1:] for row in read_back("made") if row[0] == "1"] == [("10", 0), ("11", 1), ("20", 2), ("21", 3)]


def test_a_full_disk_leaves_nothing(empty_folder, monkeypatch, capsys):
    (empty_folder / "u.data").write_text("1\t2\t3\t4\n")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recbole_cfgdiff.data.convert.write_inter", full)
    assert convert("movielens", "u.data", "--name=made") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(empty_folder.glob("dataset/*")) and not list(empty_folder.glob("dataset/.*"))


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real data is not part of the repository")
@pytest.mark.parametrize(
    ("setting", "sizes", "items"), [("clean", (403277, 110722, 57532), 2810), ("noisy", (429993, 130772, 57532), 3494)]
)
def test_the_diffrec_splits_are_kept_exactly(setting, sizes, items, empty_folder):
    source = SHARED_DATA / f"diffrec_ml-1m_{setting}.zip"
    assert convert("diffrec", source, f"--name=ml-1m-{setting}") == 0
    config = Config("DiffRec", f"ml-1m-{setting}")
    dataset = data.create_dataset(config)
    assert (dataset.user_num - 1, dataset.item_num - 1) == (5949, items)
    assert tuple(dataset.file_size_list) == sizes
    with zipfile.ZipFile(source) as archive:
        arrays = [np.load(archive.open(f"{part}_list.npy")) for part in ("train", "valid", "test")]
    tokens = [
        dataset.id2token(field, dataset.inter_feat[field].to_numpy()).astype(int) for field in ("user_id", "item_id")
    ]
    rows = np.stack(tokens, axis=1)
    for array, start in zip(arrays, np.cumsum([0, *sizes])):
        part = rows[start : start + len(array)]
        assert sorted(map(tuple, part.tolist())) == sorted(map(tuple, array.tolist()))
        for user in (0, 17, 5948):
            assert part[part[:, 0] == user].tolist() == array[array[:, 0] == user].tolist()


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real data is not part of the repository")
def test_real_amazon_and_sequences_are_kept(empty_folder):
    assert convert("amazon", SHARED_DATA / "amazon2014_Musical_Instruments_5.json.gz", "--name=music") == 0
    assert len(read_back("music")) == 10261
    assert convert("sequences", SHARED_DATA / "sequences_Toys_and_Games.txt.gz", "--name=toys") == 0
    with gzip.open(SHARED_DATA / "sequences_Toys_and_Games.txt.gz", "rt") as file:
        lines = [line.split() for line in file]
    expected = [(user, item, float(place)) for user, *items in lines for place, item in enumerate(items)]
    assert sorted(read_back("toys")) == sorted(expected)
