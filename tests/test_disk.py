"""Full disks, folders that can't be written into, names that can't be: one line, and nothing lost."""

import json
import logging
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a small disk is a tmpfs of Linux")

RUN = ("--model=CFGDiffRec", "--dataset=tiny", "--dims_dnn=[20]", "--run_name=r", "--show_progress=False")


@contextmanager
def disk(folder, options):
    """A disk in memory, mounted on the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not permitted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def mount(request):
    """Mount a disk until the end of the test."""
    if os.geteuid():
        pytest.skip("only root may mount a small disk")

    def call(folder, options):
        manager = disk(Path(folder).resolve(), options)
        request.addfinalizer(lambda: manager.__exit__(None, None, None))
        return manager.__enter__()

    return call


@pytest.fixture
def command(cli, monkeypatch):
    """``cli`` with a log, as in a process of its own: RecBole adds its handlers where there are none."""

    def call(*arguments):
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        return cli(*arguments)

    return call


def grow(folder):
    subprocess.run(["mount", "-o", "remount,rw,size=20m", str(folder.resolve())], check=True)


def fill(folder):
    """Leave no room."""
    with (folder / "fill").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    return folder / "fill"


def is_one_line(err):
    errors = [line for line in err.splitlines() if "rror" in line]
    return "Traceback" not in err and len(errors) == 1 and errors[0].startswith("error: ")


def metrics(folder):
    return json.loads((folder / "result.json").read_text())["test_result"]


def hidden(folder):
    return [path.name for path in folder.rglob(".*")]


# Where one disk is full: the log, the first best.pth, the first last.pth, the second best.pth.
@pytest.mark.parametrize(
    ("kilobytes", "status", "full", "kept"),
    [
        (8, 2, r"log/CFGDiffRec/.*\.log", []),
        (64, 1, r"saved/r/best\.pth", []),
        (300, 1, r"saved/r/last\.pth", ["best.pth"]),
        (536, 1, r"saved/r/best\.pth", ["best.pth", "last.pth"]),
    ],
)
def test_a_run_on_a_full_disk_is_one_line_and_goes_on_once_there_is_room(
    kilobytes, status, full, kept, tiny, command, mount, monkeypatch, tmp_path
):
    arguments = (*RUN, "--epochs=3", f"--data_path={tmp_path / 'dataset'}")
    assert command(*arguments).status == 0
    small = mount("small", f"size={kilobytes}k")
    monkeypatch.chdir(small)
    outcome = command(*arguments)
    assert outcome.status == status and is_one_line(outcome.err), outcome.err
    assert re.search(rf"error: \S*{full}: No space left on device", outcome.err)
    assert sorted(path.name for path in Path("saved").rglob("*.pth")) == kept and not hidden(small)
    grow(small)
    again = ("--resume=saved/r",) if "last.pth" in kept else arguments
    assert command(*again, "--show_progress=False").status == 0
    assert metrics(Path("saved/r")) == metrics(tmp_path / "saved/r") and not hidden(small)


@pytest.mark.parametrize(("is_full", "length", "status"), [(True, 1, 2), (False, 1, 1), (False, 60, 1)])
def test_a_full_disk_of_tensorboard_is_one_line(is_full, length, status, tiny, command, mount):
    """Full when its first file is written, its second, and where what it holds back is written at the end."""
    small = mount("log_tensorboard", "size=4k")
    if is_full:
        fill(small)
    arguments = (*RUN, f"--epochs={length}", "--stopping_step=100")
    outcome = command(*arguments)
    assert outcome.status == status and is_one_line(outcome.err), outcome.err
    assert "No space left on device" in outcome.err and "log_tensorboard" in outcome.err
    grow(small)
    assert command(*("--resume=saved/r", "--show_progress=False") if status == 1 else arguments).status == 0


def test_a_log_that_is_full_while_training_is_one_line(tiny, command, mount):
    small = mount("log", "size=12k")
    outcome = command(*RUN, "--epochs=20", "--stopping_step=100")
    assert outcome.status == 1 and is_one_line(outcome.err), outcome.err
    assert re.search(r"error: \S+log/CFGDiffRec/\S+\.log: No space left on device", outcome.err)
    grow(small)
    assert command("--resume=saved/r", "--epochs=20").status == 0


@pytest.mark.parametrize("folder", ["log", "log_tensorboard", "saved", "."])
def test_a_folder_that_is_read_only_is_one_line(folder, tiny, command, mount, monkeypatch, tmp_path):
    locked = mount(Path("locked", folder), "ro")
    monkeypatch.chdir("locked")
    outcome = command(*RUN, f"--data_path={tmp_path / 'dataset'}")
    assert outcome.status == 2 and is_one_line(outcome.err), outcome.err
    assert "Read-only file system" in outcome.err and folder.strip(".") in outcome.err
    assert not list(locked.rglob("*")) and not list(Path("saved").glob("*"))
