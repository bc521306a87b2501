"""Ctrl-C, SIGTERM and SIGHUP: one line, the exit status that tells, nothing unfinished left behind."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from recbole_cfgdiff.runs import interrupts
from recbole_cfgdiff.runs.pool import search_path

SCRIPT = Path(__file__).resolve().parents[1] / "run_recbole_cfg.py"
MODULE = ("-m", "recbole_cfgdiff")
ENDLESS = ("--dataset=tiny", "--epochs=100000", "--stopping_step=100000", "--state=ERROR")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")

AT_IMPORT = """
import os, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT"]:
            os.kill(os.getpid(), int(os.environ["BY"]))

sys.meta_path.insert(0, Interrupter())
"""


def start(*arguments, **environment):
    environment = {**os.environ, "PYTHONPATH": search_path(), **environment}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def check_ended_by(process, number):
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()  # one that did not end would train on
    assert process.returncode == 128 + number and len(err.splitlines()) == 1, err
    by = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    assert err.startswith(f"error: {by}; a run continues with --resume=RUN_FOLDER")


def hidden(folder):
    return [path.name for path in folder.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize(
    ("command", "module", "number"),
    [
        ((SCRIPT,), "pandas", signal.SIGINT),
        ((*MODULE, "run"), "numpy", signal.SIGINT),
        ((*MODULE, "run"), "torch", signal.SIGTERM),
        ((SCRIPT,), "recbole.model.abstract_recommender", signal.SIGHUP),
    ],
    ids=str,
)
def test_an_interrupt_while_packages_are_imported_is_one_line(command, module, number, tiny, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(AT_IMPORT)
    path = os.pathsep.join((str(tmp_path), search_path()))
    process = start(*command, "--model=CFGDiffRec", *ENDLESS, PYTHONPATH=path, AT=module, BY=str(int(number)))
    check_ended_by(process, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_interrupted_run_ends_with_one_line_and_nothing_unfinished(number, tiny):
    arguments = ("--model=CFGDiffRec", *ENDLESS, "--run_name=r", "--show_progress=False")
    process = start(SCRIPT, *arguments)
    wait_for(Path("saved/r/last.pth"), process)
    process.send_signal(number)
    check_ended_by(process, number)
    assert sorted(path.name for path in Path("saved/r").iterdir()) == ["best.pth", "last.pth"]


def test_what_nohup_ignores_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.raised():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


class Swallows:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_interrupt_that_is_swallowed_comes_again_but_not_into_what_cleans_up(capfd):
    cleaned = False
    with pytest.raises(interrupts.Interrupted) as caught, interrupts.raised():
        Swallows()
        try:
            time.sleep(60)
        finally:
            time.sleep(2 * interrupts._PATIENCE)
            cleaned = True
    assert cleaned and caught.value.status == 143
    assert capfd.readouterr().err == ""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interrupt_that_another_replaced_keeps_its_status():
    with pytest.raises(interrupts.Interrupted) as caught, interrupts.raised():
        with suppress(interrupts.Interrupted):
            signal.raise_signal(signal.SIGTERM)
        raise KeyboardInterrupt  # as Ray does it
    assert caught.value.status == 143


def test_an_ended_comparison_ends_its_workers_and_leaves_nothing_unfinished(tiny):
    models = ("CFGDiffRec", "DiffRec")
    experiment = (f"--models={','.join(models)}", "--output=out", "--jobs=2", "--seeds=1")
    process = start(*MODULE, "compare", *experiment, *ENDLESS)
    runs = Path("out/runs/tiny")
    for model in models:
        wait_for(runs / model / "2020/checkpoint/last.pth", process)
    process.send_signal(signal.SIGTERM)
    check_ended_by(process, signal.SIGTERM)
    folders = [str(folder.resolve()) for folder in runs.glob("*/2020")]
    commands = [path.read_bytes().decode() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert len(folders) == 2 and not [command for command in commands if any(folder in command for folder in folders)]
    assert not hidden(Path("out"))
