"""MovieLens in its layouts, read back through RecBole's Dataset and compared with the raw records."""

import zipfile
from pathlib import Path

import pytest
import recbole.data
from converting import Raw, convert, expected_of, plain_ids, read_back, stars, times, write_csv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ML_100K = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"


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


def test_features_come_from_beside_a_file_and_not_from_below(empty_folder):
    (empty_folder / "other").mkdir()
    (empty_folder / "other" / "movies.csv").write_text("movieId,title,genres\n7,Another's,Drama\n")
    (empty_folder / "ratings.csv").write_text("movieid,userid,timestamp,rating\n7,1,10,5\n")
    assert convert("movielens", "ratings.csv", "--name=films") == 0
    assert read_back("films") == [("1", "7", 5.0, 10.0)] and not Path("dataset/films/films.item").exists()
    (empty_folder / "movies.csv").write_text('movieId,title,genres\n7,"One, two",Drama\n')
    assert convert("movielens", "ratings.csv", "--name=titled") == 0
    assert Path("dataset/titled/titled.item").read_text().splitlines()[1] == "7\tOne, two\tDrama"


def test_titles_of_ml_10m_are_utf_8(empty_folder):
    (empty_folder / "ratings.dat").write_text("1::7::5::10\n")
    (empty_folder / "movies.dat").write_text("7::Amélie (2001)::Comedy|Romance\n", encoding="utf-8")
    assert convert("movielens", empty_folder, "--name=films") == 0
    lines = Path("dataset/films/films.item").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "7\tAmélie (2001)\tComedy Romance"
