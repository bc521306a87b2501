"""Delimited files, Amazon and Yelp, read back through RecBole's Dataset and compared with the raw records."""

import gzip
import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from converting import as_delimited, convert, expected_of, read_back, records, write_csv
from hypothesis import HealthCheck, given, settings

from conftest import SHARED_DATA


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
        return datetime.fromtimestamp(time, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")

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


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real data is not part of the repository")
def test_the_real_amazon_file_is_kept(empty_folder):
    assert convert("amazon", SHARED_DATA / "amazon2014_Musical_Instruments_5.json.gz", "--name=music") == 0
    assert len(read_back("music")) == 10261
