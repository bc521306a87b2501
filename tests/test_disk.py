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

from recbole_cfgdiff.commands.cli import main

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
        (4, 2, r"log/CFGDiffRec/.*\.log", []),
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


def experiment_of(output, *more):
    return ["compare", "--models=Pop,DiffRec", "--dataset=tiny", f"--output={output}", "--seeds=1", "--epochs=2", *more]


def call_main(capfd, *arguments):
    capfd.readouterr()
    status = main(arguments)
    return status, capfd.readouterr().err


@pytest.mark.parametrize("kilobytes", [4, 100])
def test_a_comparison_on_a_full_disk_is_one_line_and_goes_on_once_there_is_room(kilobytes, tiny, mount, capfd):
    """Full where the first files are written, where runs write theirs, and in the report."""
    small = mount("out", f"size={kilobytes}k")
    status, err = call_main(capfd, *experiment_of("out", "--dims_dnn=[20]"))
    assert status in (1, 2) and is_one_line(err), err
    assert status == 1 or "No space left on device" in err
    assert not hidden(small / "runs")
    grow(small)
    assert call_main(capfd, *experiment_of("out", "--dims_dnn=[20]"))[0] == 0
    assert (small / "report.html").exists()


def test_a_sweep_whose_output_is_full_or_read_only_is_one_line(tiny, command, mount, capfd):
    assert command(*RUN, "--epochs=1").status == 0
    for options, told in (("size=4k", "out/.*: No space left on device"), ("ro", "out/.*: Read-only file system")):
        small = mount("out", options)
        if options != "ro":
            fill(small)
        before = sorted(small.iterdir())
        status, err = call_main(capfd, "sweep", "--checkpoint=saved/r", "--guidance_scales=0,1", "--output=out")
        assert status == 2 and is_one_line(err) and re.search(told, err), err
        assert sorted(small.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--checkpoint_dir=file",), "checkpoint_dir, run_name: can't write into file/r: Not a directory"),
        (("--checkpoint_dir=file/below",), "can't write into file/below/r: Not a directory"),
        (("--run_name=" + 300 * "n",), "File name too long"),
        (("--checkpoint_dir=" + 300 * "n",), "File name too long"),
        (("--data_path=" + 300 * "n",), "File name too long"),
        (("--dataset=" + 300 * "n",), "File name too long"),
        (("--config_files=" + 300 * "n",), "File name too long"),
        (("--resume=" + 300 * "n",), "File name too long"),
        (("--run_name=a\0b",), "run_name: expected a value without NUL characters"),
        (("--checkpoint_dir=a\0b",), "checkpoint_dir: expected a value without NUL characters"),
        (("--config_files=a\0b",), "config_files: expected a value without NUL characters"),
        (("--resume=a\0b",), r"checkpoint a\x00b: there is no such file"),
        (("--benchmark_filename=['a\0', 'b', 'c']",), "benchmark_filename: expected"),
    ],
    ids=lambda value: value[0][:20] if isinstance(value, tuple) else "",
)
def test_a_folder_or_name_that_can_t_be_is_one_line(options, told, tiny, cli):
    Path("file").touch()
    given = {argument.split("=")[0] for argument in options}
    before = sorted(filter(Path.is_file, Path().rglob("*")))
    outcome = cli(*options, *(argument for argument in RUN if argument.split("=")[0] not in given), "--state=ERROR")
    assert outcome.status == 2 and is_one_line(outcome.err) and told in outcome.err, outcome.err
    assert sorted(filter(Path.is_file, Path().rglob("*"))) == before


@pytest.mark.parametrize("option", ["--output", "--checkpoint"])
@pytest.mark.parametrize(("name", "told"), [(300 * "n", "File name too long"), ("a\0b", "without NUL characters")])
def test_a_name_of_another_command_that_can_t_be_is_one_line(option, name, told, tiny, command, capfd):
    assert command(*RUN, "--epochs=1").status == 0
    arguments = {"--checkpoint": "saved/r", "--output": "out", option: name}
    status, err = call_main(capfd, "sweep", *(f"{key}={value}" for key, value in arguments.items()))
    assert status == 2 and is_one_line(err) and told in err, err
