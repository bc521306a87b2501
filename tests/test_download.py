"""Data sets that are not there: RecBole's address, then GroupLens' archive, then what to do by hand."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recbole_cfgdiff.data import download
from recbole_cfgdiff.data.download import download_if_missing
from recbole_cfgdiff.errors import ConfigError

RATINGS = "".join(f"{user}::{item}::{user % 5 + 1}::{978300760 + item}\n" for user in range(1, 9) for item in range(9))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(empty_folder, monkeypatch):
    """The folder of a server that takes the place of RecBole's and GroupLens', with nothing in it."""
    folder = empty_folder / "server"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{served.server_port}"
        properties = empty_folder / "properties"
        (properties / "dataset").mkdir(parents=True)
        urls = [f"{name}: {address}/recbole/{name}.zip\n" for name in ("ml-1m", "ml-10m", "other")]
        (properties / "dataset" / "url.yaml").write_text("".join(urls))
        monkeypatch.setattr(download, "RECBOLE_PROPERTIES", properties)
        monkeypatch.setattr(download, "GROUPLENS", f"{address}/grouplens/")
        yield folder
        served.shutdown()


def serve(path, members):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def serve_grouplens(server, name="ml-1m"):
    members = {f"{name}/ratings.dat": RATINGS, f"{name}/movies.dat": "1::Café (1990)::Drama\n".encode("latin-1")}
    archive = serve(server / "grouplens" / f"{name}.zip", members)
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    (server / "grouplens" / f"{name}.zip.md5").write_text(f"MD5 ({name}.zip) = {digest}\n")
    return archive


def fetch(name):
    download_if_missing({"dataset": name, "data_path": f"dataset/{name}"})


def found():
    return sorted(str(path.relative_to("dataset")) for path in Path("dataset").rglob("*") if path.is_file())


def test_recboles_archive_comes_first(server):
    serve(server / "recbole" / "ml-1m.zip", {"ml-1m.inter": "a:token\n1\n", "README.md": "x", "ml-1m.yaml": "seed: 1"})
    serve_grouplens(server)
    fetch("ml-1m")
    assert found() == ["ml-1m/ml-1m.inter"] and Path("dataset/ml-1m/ml-1m.inter").read_text() == "a:token\n1\n"


def test_grouplens_archive_takes_its_place(server):
    serve_grouplens(server)
    fetch("ml-1m")
    lines = Path("dataset/ml-1m/ml-1m.inter").read_text().splitlines()
    assert lines[0] == "user_id:token\titem_id:token\trating:float\ttimestamp:float" and len(lines) == 73
    assert "Café (1990)" in Path("dataset/ml-1m/ml-1m.item").read_text(encoding="utf-8")
    assert found() == ["ml-1m/ml-1m.inter", "ml-1m/ml-1m.item"]


def test_options_are_those_of_recboles_archive_in_the_next_run_too(server):
    serve_grouplens(server, "ml-10m")
    fetch("ml-10m")
    assert "ml-10m/ml-10m.inter" in found() and "ml-10m/ml-10m.yaml" not in found()


def damaged(server):
    archive = serve_grouplens(server)
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")


def without_checksum(server):
    serve_grouplens(server)
    (server / "grouplens" / "ml-1m.zip.md5").unlink()


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [(lambda server: None, "404"), (damaged, "its checksum is not that of ml-1m.zip.md5"), (without_checksum, "404")],
)
def test_if_both_fail_both_ways_by_hand_are_told_and_nothing_is_left(prepare, reason, server):
    prepare(server)
    with pytest.raises(ConfigError) as raised:
        fetch("ml-1m")
    message = str(raised.value)
    assert "expected the file dataset/ml-1m/ml-1m.inter" in message and reason in message
    assert "/recbole/ml-1m.zip failed" in message and "/grouplens/ml-1m.zip failed" in message
    assert "Put the file there, or get ml-1m.zip" in message and "convert movielens ml-1m.zip --name ml-1m" in message
    assert not list(Path("dataset").iterdir())


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"../outside.inter": "x"}, "points outside"),
        ({"=1+1.inter": "x"}, "does not begin with ="),
        ({"README": "x"}, "has no .inter file"),
        ({"other.inter": b"\0" * (100 << 20)}, "are no data set"),
    ],
)
def test_recboles_archive_is_an_archive_from_elsewhere(members, reason, server):
    serve(server / "recbole" / "other.zip", members)
    with pytest.raises(ConfigError, match=reason):
        fetch("other")
    assert not list(Path("dataset").iterdir())


def test_left_overs_of_a_killed_download_are_removed(server):
    from recbole_cfgdiff.files import _host

    serve(server / "recbole" / "other.zip", {"other.inter": "a:token\n1\n"})
    for name in (f".other.{_host()}-999999999", f".other.{_host()}-999999999.zip"):
        (Path("dataset") / name).mkdir(parents=True)
    fetch("other")
    assert [path.name for path in Path("dataset").iterdir()] == ["other"]
