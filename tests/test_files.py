"""Files and folders in one piece, and what killed processes leave."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_cfgdiff.files import folder_in_one_piece, in_one_piece, remove_left_overs, write_text

KILLED = """
import os, signal
from pathlib import Path
from recbole_cfgdiff.files import folder_in_one_piece, in_one_piece
with in_one_piece(Path("last.pth")) as file, folder_in_one_piece(Path("data.set")) as folder:
    file.write_text("half")
    (folder / "a").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names():
    return sorted(path.name for path in Path().iterdir())


def test_what_a_killed_process_left_is_removed_and_nothing_else():
    write_text(Path("last.pth"), "whole")
    Path(".hidden").write_text("somebody's")
    Path(f".live.{os.uname().nodename}-{os.getpid()}.pth").write_text("being written")
    subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert len(names()) == 5
    remove_left_overs(Path())
    assert names() == sorted([".hidden", f".live.{os.uname().nodename}-{os.getpid()}.pth", "last.pth"])
    assert Path("last.pth").read_text() == "whole"


def test_an_error_leaves_the_old_file_and_no_other():
    write_text(Path("a.txt"), "old")
    with pytest.raises(KeyError), in_one_piece(Path("a.txt")) as unfinished:
        unfinished.write_text("new")
        raise KeyError
    assert names() == ["a.txt"] and Path("a.txt").read_text() == "old"


@pytest.mark.parametrize("content", [[], ["b"]], ids=["empty", "full"])
def test_a_folder_that_was_made_meanwhile_stays(content):
    with pytest.raises(FileExistsError, match="exists already"), folder_in_one_piece(Path("new")) as folder:
        (folder / "a").touch()
        Path("new").mkdir()
        for name in content:
            Path("new", name).touch()
    assert names() == ["new"] and [path.name for path in Path("new").iterdir()] == content


def test_a_folder_takes_its_name_at_the_end():
    with folder_in_one_piece(Path("new")) as folder:
        (folder / "a").write_text("x")
        assert not Path("new").exists()
    assert names() == ["new"] and Path("new", "a").read_text() == "x"
