"""The DiffRec authors' splits and files of sequences, read back through RecBole's Dataset."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from converting import convert, read_back
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import SHARED_DATA
from recbole_cfgdiff import data
from recbole_cfgdiff.overlay.config import Config

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


def test_a_user_on_two_lines_of_sequences_goes_on(empty_folder):
    (empty_folder / "in.txt").write_text("1 10 11\n2 10 13\n1 20 21\n")
    assert convert("sequences", "in.txt", "--name=made") == 0
    assert [row[1:] for row in read_back("made") if row[0] == "1"] == [("10", 0), ("11", 1), ("20", 2), ("21", 3)]


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


def test_two_diffrec_splits_in_a_folder_are_refused(empty_folder, capsys):
    for name in ("clean", "noisy"):
        a_split(empty_folder / name)
    (empty_folder / "noisy" / "test_list.npy").unlink()
    assert convert("diffrec", empty_folder, "--name=made") == 2
    assert "has both" in capsys.readouterr().err and not Path("dataset").exists()


def test_sequences_of_three_items_are_sequences(empty_folder):
    (empty_folder / "in.txt").write_text("1\t2\t3\t4\n2\t3\t4\t5\n")
    assert convert("sequences", "in.txt", "--name=made") == 0
    assert len(read_back("made")) == 6


def test_a_diffrec_split_with_pickled_objects_is_refused(empty_folder, capsys):
    source = a_split(empty_folder / "source")
    np.save(source / "valid_list.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert convert("diffrec", source, "--name=made") == 2
    assert "valid_list.npy: not a plain numpy array" in capsys.readouterr().err
    (source / "valid_list.npy").unlink()
    assert convert("diffrec", source, "--name=made") == 2
    assert "valid_list.npy is missing" in capsys.readouterr().err
    assert not Path("dataset").exists()


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
def test_the_real_sequences_are_kept(empty_folder):
    assert convert("sequences", SHARED_DATA / "sequences_Toys_and_Games.txt.gz", "--name=toys") == 0
    with gzip.open(SHARED_DATA / "sequences_Toys_and_Games.txt.gz", "rt") as file:
        lines = [line.split() for line in file]
    expected = [(user, item, float(place)) for user, *items in lines for place, item in enumerate(items)]
    assert sorted(read_back("toys")) == sorted(expected)
