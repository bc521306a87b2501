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


@pytest.mark.parametrize("beside", ["ratings.dat", "u.data", "ratings.csv.gz"])
def test_the_file_that_is_named_is_read_whatever_lies_beside(beside, empty_folder):
    (empty_folder / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n7,70,5.0,1147880044\n8,70,0.5,1147868828\n"
    )
    (empty_folder / beside).write_bytes(b"no matter")
    (empty_folder / "movies.csv").write_text("movieId,title,genres\n70,Its own,Drama\n")
    (empty_folder / "movies.dat").write_text("70::Another's::Drama\n")
    assert convert("movielens", "ratings.csv", "--name=made") == 0
    assert read_back("made") == [("8", "70", 0.5, 1147868828.0), ("7", "70", 5.0, 1147880044.0)]
    assert Path("dataset/made/made.item").read_text().splitlines()[1:] == ["70\tIts own\tDrama"]


def test_features_of_another_folder_are_not_taken(empty_folder):
    for folder, name, text in (("a", "ratings.dat", "1::7::5::10\n"), ("b", "movies.dat", "7::Another's::Drama\n")):
        (empty_folder / "in" / folder).mkdir(parents=True)
        (empty_folder / "in" / folder / name).write_text(text)
    assert convert("movielens", "in", "--name=made") == 0
    assert not Path("dataset/made/made.item").exists()


def test_bad_lines_and_repeated_ids_of_features_are_told(empty_folder, capsys):
    (empty_folder / "ratings.dat").write_text("1::7::5::10\n")
    (empty_folder / "movies.dat").write_text("7::One::Drama\nbad\n7::Two::Drama\n")
    assert convert("movielens", ".", "--name=made") == 2
    assert "movies.dat, line 2: expected 3 fields" in capsys.readouterr().err
    assert convert("movielens", ".", "--name=made", "--skip-bad-lines") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "items, rows 1 items, repeated ids left out 1 items, bad lines skipped 1" in told


def test_ratings_out_of_range_as_of_swapped_columns_are_refused(empty_folder, capsys):
    (empty_folder / "u.data").write_text("1\t2\t881250949\t3\n")
    assert convert("movielens", "u.data", "--name=made") == 2
    assert "u.data, line 1: expected a number from 0 to 10 for the rating, found '881250949'" in capsys.readouterr().err
