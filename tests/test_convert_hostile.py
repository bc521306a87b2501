"""Archives that attack, streams that are damaged, two conversions at once, and places that can't be written."""

import gzip
import io
import json
import os
import socket
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from converting import convert, read_back

from conftest import write_inter
from recbole_cfgdiff.data.convert import convert as conversion
from recbole_cfgdiff.data.convert.sources import archives

RATINGS = "".join(
    f"{user}\t{user * item}\t{item}\t{881250949 + item}\n" for user in range(1, 6) for item in range(1, 6)
)
U_DATA = "1\t2\t3\t881250949\n"


def error(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def as_gzip(path, members):
    for name, content in members.items():
        (path.parent / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    return path.parent / f"{next(iter(members))}.gz"


def as_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"in/{name}"), content, zipfile.ZIP_DEFLATED)
    return path


def as_tar(mode):
    def make(path, members):
        with tarfile.open(path, mode) as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(f"in/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    return make


ARCHIVES = {"gz": as_gzip, "zip": as_zip, "tgz": as_tar("w:gz"), "tbz": as_tar("w:bz2"), "txz": as_tar("w:xz")}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_any_flipped_bit_in_a_compressed_stream_is_an_error_or_changes_nothing(kind, empty_folder, capsys):
    members = {"u.data": RATINGS.encode(), "u.user": b"1|24|M|technician|85711\n"}
    path = ARCHIVES[kind](empty_folder / f"in.{kind}", members)
    whole = path.read_bytes()
    assert convert("movielens", path, "--name=made", "--output=whole") == 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        status = convert("movielens", path, "--name=made", "--output=out", "--overwrite")
        assert status == 2 or (status == 0 and files_of(Path("out")) == files_of(Path("whole"))), position


@pytest.mark.parametrize("kind", ["gz", "tgz", "tbz", "txz", "zip"])
def test_what_follows_the_data_is_read_for_its_checksum(kind, empty_folder, capsys):
    # Random text behind, so that the checksum is far from the member's last byte.
    behind = bytes(np.random.default_rng(0).integers(32, 127, 200_000, dtype=np.uint8))
    path = ARCHIVES[kind](empty_folder / f"in.{kind}", {"u.data": RATINGS.encode() + (b"" if kind != "gz" else b"\n")})
    if kind != "gz":
        path = ARCHIVES[kind](path, {"u.data": RATINGS.encode(), "other": behind})
    content = bytearray(path.read_bytes())
    place = -6 if kind in ("gz", "tgz") else len(content) // 2
    content[place] ^= 4
    path.write_bytes(content)
    status = convert("movielens", path, "--name=made")
    # A zip has a checksum a member: that of one that is not read does not count.
    assert status == (0 if kind == "zip" else 2)


@pytest.mark.parametrize("member", ["u.data", "u.user"])
def test_a_damaged_name_in_an_archive_is_an_error(member, empty_folder, capsys):
    for kind in ("zip", "tar"):
        make = as_zip if kind == "zip" else as_tar("w")
        path = make(empty_folder / f"in.{kind}", {"u.data": RATINGS.encode(), "u.user": b"1|24|M|x|8\n"})
        content = path.read_bytes()
        for place in {content.find(member.encode()), content.rfind(member.encode())}:
            path.write_bytes(content[:place] + b"U" + content[place + 1 :])
            assert convert("movielens", path, f"--name={kind}") == 2
            error(capsys)


def npy(header, body=b"", version=b"\x01\x00"):
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), "), "not a plain numpy array"),
        (npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2)"), "not a plain numpy array"),
        (npy("((((((((((("), "not a plain numpy array"),
        (npy("'" * 3), "not a plain numpy array"),
        (npy("{'descr': (), 'fortran_order': False, 'shape': (1, 2)}"), "not a plain numpy array"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 2)}"), "not a plain numpy array"),
        (npy("{'descr': '<i8', 'fortran_order': False, 'shape': (-1, 2)}"), "expected rows of (user, item)"),
        (npy("{'descr': '<m8[s]', 'fortran_order': False, 'shape': (1, 2)}", b"\0" * 16), "expected rows of"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2)}", b"\0" * 16), "expected rows of"),
        (npy("{'descr': '<i8', 'fortran_order': False, 'shape': (2, 2)}", b"\0" * 16), "expected 32 bytes, found 16"),
        (npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2)}", b"\0" * 17), "expected 16 bytes, found more"),
        (npy("{'descr': '<i8', 'fortran_order': False, 'shape': (10000000000000, 2)}"), "are no data set"),
        (npy("", version=b"\x02\x00"), "not a plain numpy array"),
        (b"PK", "not a plain numpy array"),
        (b"", "not a plain numpy array"),
    ],
)
def test_a_damaged_array_is_one_line(content, message, empty_folder, capsys):
    for part in ("train", "valid", "test"):
        np.save(empty_folder / f"{part}_list.npy", np.array([[1, 2]]))
    (empty_folder / "valid_list.npy").write_bytes(content)
    assert convert("diffrec", ".", "--name=made") == 2
    assert "valid_list.npy" in (line := error(capsys)) and message in line


def test_parts_of_two_splits_are_not_mixed(empty_folder, capsys):
    for part, folder in (("train", "a"), ("valid", "b"), ("test", "b")):
        (empty_folder / folder).mkdir(exist_ok=True)
        np.save(empty_folder / folder / f"{part}_list.npy", np.array([[1, 2]]))
    assert convert("diffrec", ".", "--name=made") == 2
    assert "has both a/train_list.npy and b/valid_list.npy" in error(capsys)


def one_line(path):
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"userId,movieId,rating,timestamp\n")
        for _ in range(200):
            file.write(b"a" * (1 << 20))
    return path


def open_quote(path):
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"userId,movieId,rating,timestamp\n")
        file.write(b'1,"2\n' + b'","\n' * (1 << 20))
    return path


def zipped_zeros(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("ratings.csv", "w") as member:
        for _ in range(200):
            member.write(b"\0" * (1 << 20))
    return path


def tarred_zeros(path):
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo("ratings.csv")
        member.size = 200 << 20
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def long_name_in_tar(path):
    """A header that is 200 MiB of name."""
    good = tarfile.TarInfo("ratings.csv").tobuf()
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 200 << 20
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(good + header.tobuf() + bytes(header.size) + good)
    return path


def many_members(path):
    block = tarfile.TarInfo("a").tobuf()
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(101):
            file.write(block * 100)
    return path


@pytest.mark.parametrize(
    ("write", "name", "message"),
    [
        (one_line, "ratings.csv.gz", "line 2: longer than"),
        (open_quote, "ratings.csv.gz", "goes on for more than"),
        (zipped_zeros, "a.zip", "200 MiB packed into"),
        (tarred_zeros, "a.tgz", "200 MiB packed into"),
        (long_name_in_tar, "a.tgz", "a header of 209715200 bytes"),
        (many_members, "a.tgz", "more than 10000 members"),
    ],
)
def test_a_bomb_is_refused_in_little_memory(write, name, message, empty_folder, monkeypatch, capsys):
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 10_000)
    path = write(empty_folder / name)
    tracemalloc.start()
    try:
        assert convert("movielens", path, "--name=made", "--max-line-length=1000000") == 2
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()
    assert message in error(capsys)
    assert not list(empty_folder.glob("dataset/*"))


def test_an_array_takes_no_more_memory_than_its_file_fills(empty_folder, capsys):
    for part in ("train", "valid", "test"):
        header = npy("{'descr': '<i8', 'fortran_order': False, 'shape': (20000000, 2)}")
        (empty_folder / f"{part}_list.npy.gz").write_bytes(gzip.compress(header))
    tracemalloc.start()
    try:
        assert convert("diffrec", ".", "--name=made") == 2
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    error(capsys)


@pytest.mark.parametrize("source", ["amazon", "yelp"])
def test_a_line_that_is_too_long_is_refused_and_an_option_allows_it(source, empty_folder, capsys):
    keys = {"amazon": ("reviewerID", "asin", "overall", "unixReviewTime"), "yelp": ("user_id", "business_id", "stars")}
    record = {**dict(zip(keys[source], ("u", "i", 5, 1))), "date": "2018-07-07", "text": "x" * 1000}
    (empty_folder / "in.json").write_text(json.dumps(record) + "\n")
    assert convert(source, "in.json", "--name=made", "--max-line-length=1000") == 2
    assert "in.json, line 1: longer than 1000 characters; --max-line-length allows more" in error(capsys)
    assert convert(source, "in.json", "--name=made", "--max-line-length=1200") == 0


def test_an_integer_of_thousands_of_digits_is_a_bad_line(empty_folder, capsys):
    literal = "{'reviewerID': 0x" + "f" * 5000 + ", 'asin': 'B1', 'overall': 5, 'unixReviewTime': 1}\n"
    good = "{'reviewerID': 'A1', 'asin': 'B1', 'overall': 5, 'unixReviewTime': 1}\n"
    (empty_folder / "in.json").write_text(good + literal)
    assert convert("amazon", "in.json", "--name=made", "--version=2014") == 2
    assert "line 2: expected an id for the user" in error(capsys)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "a\0b", "=1+1", "a\udcff", "..", ".x", "a/b", ""])
def test_names_that_attack_are_refused(name, empty_folder, capsys):
    (empty_folder / "u.data").write_text(U_DATA)
    assert convert("movielens", "u.data", f"--name={name}") == 2
    assert "--name: expected" in error(capsys)
    assert sorted(path.name for path in empty_folder.iterdir()) == ["u.data"]


@pytest.mark.parametrize("folder", ["a\nb", "out/\x1b", "a\0", "=x", "x/a\udcff"])
def test_outputs_that_attack_are_refused(folder, empty_folder, capsys):
    (empty_folder / "u.data").write_text(U_DATA)
    assert convert("movielens", "u.data", "--name=made", f"--output={folder}") == 2
    assert "--output: expected" in error(capsys)


@pytest.mark.parametrize("path", ["x" * 300, "a\0b", "absent", "/dev/null", "x/" * 3000])
def test_an_input_that_can_not_be_is_one_line(path, empty_folder, capsys):
    assert convert("movielens", path, "--name=made") == 2
    error(capsys)


def test_control_characters_of_a_file_do_not_reach_the_terminal(empty_folder, capsys):
    as_zip(empty_folder / "a.zip", {"\x1b[2J.txt": b"x", "b": b"x"})
    assert convert("movielens", "a.zip", "--name=made") == 2
    assert error(capsys).isprintable()


@pytest.mark.parametrize(
    ("names", "both"),
    [
        (("ratings.csv", "ratings.dat"), ("ratings.dat", "ratings.csv")),
        (("u.data", "ratings.csv"), ("u.data", "ratings.csv")),
        (("u.data", "u.data.gz"), ("u.data", "u.data.gz")),
    ],
)
def test_a_folder_or_archive_with_two_ratings_files_is_an_error_that_names_both(names, both, empty_folder, capsys):
    (empty_folder / "in").mkdir()
    for name in names:
        (empty_folder / "in" / name).write_bytes(b"")
    as_zip(empty_folder / "in.zip", dict.fromkeys(names, b""))
    as_tar("w:gz")(empty_folder / "in.tgz", dict.fromkeys(names, b""))
    for path in ("in", "in.zip", "in.tgz"):
        assert convert("movielens", path, "--name=made") == 2
        line = error(capsys)
        assert "has both" in line and all(f"/{name}" in line for name in both)


@pytest.mark.parametrize(
    ("source", "name"),
    [("yelp", "yelp_academic_dataset_review.json"), ("amazon", "a.json"), ("sequences", "a.txt")],
)
def test_a_compressed_copy_beside_is_a_second_candidate_but_not_of_the_file_that_is_named(
    source, name, empty_folder, capsys
):
    keys = ("user_id", "business_id", "stars", "date", "reviewerID", "asin", "overall", "unixReviewTime")

    def content(user):
        if source == "sequences":
            return f"{user} i\n".encode()
        return (json.dumps(dict(zip(keys, (user, "i", 5, "2018-07-07", user, "i", 5, 1)))) + "\n").encode()

    (empty_folder / "in").mkdir()
    (empty_folder / "in" / name).write_bytes(content("plain"))
    (empty_folder / "in" / f"{name}.gz").write_bytes(gzip.compress(content("packed")))
    assert convert(source, "in", "--name=made") == 2
    assert f"in/{name} and in/{name}.gz" in error(capsys)
    for given, user in ((name, "plain"), (f"{name}.gz", "packed")):
        assert convert(source, f"in/{given}", f"--name={user}") == 0
        assert read_back(user)[0][0] == user


def test_an_archive_called_as_its_reviews_is_unpacked(empty_folder):
    name = "yelp_academic_dataset_review.json"
    record = {"user_id": "u", "business_id": "b", "stars": 4, "date": "2018-07-07"}
    as_zip(empty_folder / f"{name}.zip", {name: json.dumps(record).encode()})
    assert convert("yelp", f"{name}.zip", "--name=made") == 0 and read_back("made")[0][:2] == ("u", "b")


def test_the_loser_of_two_conversions_to_one_name_says_that_it_exists(empty_folder, monkeypatch, capsys):
    (empty_folder / "u.data").write_text(U_DATA)
    write = conversion.write_yaml

    def slow(folder, name, options):
        write(folder, name, options)
        write_inter(empty_folder / "dataset", "made", [("other", "i", 1)])

    monkeypatch.setattr(conversion, "write_yaml", slow)
    assert convert("movielens", "u.data", "--name=made") == 2
    assert "dataset/made: exists already" in error(capsys)
    assert "other" in Path("dataset/made/made.inter").read_text()
    assert [path.name for path in Path("dataset").iterdir()] == ["made"]


def test_the_data_set_to_be_replaced_is_there_until_its_successor_is(empty_folder, monkeypatch, capsys):
    write_inter(empty_folder / "dataset", "made", [("old", "i", 1)])
    (empty_folder / "u.data").write_text(U_DATA)
    rename = Path.rename

    def failing(self, target):
        if str(target).endswith("dataset/made") and not self.name.endswith(".replaced"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert convert("movielens", "u.data", "--name=made", "--overwrite") == 2
    assert "old" in Path("dataset/made/made.inter").read_text()
    assert [path.name for path in Path("dataset").iterdir()] == ["made"]


def test_a_data_set_whose_replacement_was_killed_is_put_back(empty_folder, capsys):
    write_inter(empty_folder / "dataset", "made", [("old", "i", 1)])
    Path("dataset/made").rename("dataset/.made.replaced")
    (empty_folder / "u.data").write_text(U_DATA)
    assert convert("movielens", "u.data", "--name=made") == 2
    assert "exists already" in error(capsys) and "old" in Path("dataset/made/made.inter").read_text()
    assert convert("movielens", "u.data", "--name=made", "--overwrite") == 0
    assert [path.name for path in Path("dataset").iterdir()] == ["made"]


def test_left_overs_of_a_killed_conversion_are_removed_by_the_next(empty_folder):
    (empty_folder / "u.data").write_text(U_DATA)
    ended = subprocess.Popen(["true"])
    ended.wait()
    (empty_folder / "dataset" / f".other.{socket.gethostname()}-{ended.pid}").mkdir(parents=True)
    assert convert("movielens", "u.data", "--name=made") == 0
    assert [path.name for path in Path("dataset").iterdir()] == ["made"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--name=taken",), "exists already"),
        (("--name=taken", "--overwrite"), "not replaced, it is no data set"),
        (("--name=made", "--output=file"), "file is a file; expected a folder"),
        (("--name=made", "--output=file/below"), "Not a directory"),
        (("--name=" + 300 * "x",), "File name too long"),
        (("--name=made", "--output=" + 300 * "x"), "File name too long"),
    ],
)
def test_a_place_that_can_not_be_written_is_one_line(arguments, message, empty_folder, capsys):
    (empty_folder / "u.data").write_text(U_DATA)
    (empty_folder / "file").write_text("mine")
    (empty_folder / "dataset").mkdir()
    (empty_folder / "dataset" / "taken").write_text("mine")
    assert convert("movielens", "u.data", *arguments) == 2
    assert message in error(capsys)
    assert Path("file").read_text() == Path("dataset/taken").read_text() == "mine"
    assert [path.name for path in Path("dataset").iterdir()] == ["taken"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_or_read_only_file_system_is_one_line_and_keeps_what_was_there(empty_folder, capsys):
    place = empty_folder / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("tmpfs can't be mounted here")
    try:
        write_inter(place, "made", [("old", "i", 1)])
        before = files_of(place)
        rows = [f"{n}\t{n}\t3\t881250949\n" for n in range(20_000)]
        (empty_folder / "u.data").write_text("".join(rows))
        assert convert("movielens", "u.data", "--name=made", f"--output={place}", "--overwrite") == 2
        assert "No space left on device, 0 MiB free; nothing was written" in error(capsys)
        assert files_of(place) == before and [path.name for path in place.iterdir()] == ["made"]
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        assert convert("movielens", "u.data", "--name=other", f"--output={place}") == 2
        assert "Read-only file system" in error(capsys)
    finally:
        subprocess.run(["umount", place], check=True)


def test_all_that_can_be_raised_on_reading_is_told_with_the_file(empty_folder):
    for kind in archives.UNREADABLE:
        with pytest.raises(archives.ConfigError, match="truncated or damaged"), archives.told_where(Path("a.gz")):
            raise kind("x")
