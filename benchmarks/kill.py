"""Runs that are killed again and again, and go on: do they come to the metrics of the unbroken run, with nothing left?

    python benchmarks/kill.py [--kills=200] [--jobs=2] [--seed=0] [--output=kill.csv]

Small runs of CFGDiffRec (which also chooses its guidance scale), ForwardCFGDiffRec and MultVAE are killed and continued
by --resume, or by the same command where there is no last.pth yet, three times, and then left to end. Half of the kills
are SIGKILL, half SIGTERM; half come at a random moment, half where files are written: within a checkpoint, before
an fsync or before a rename. Most processes are forked from one that has imported everything; every tenth
kill is of a new ``python run_recbole_cfg.py``, start-up included.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch._dynamo

from recbole_cfgdiff.commands.start import start

# What the forked processes need is imported once, here.
from recbole_cfgdiff.overlay import checkpoint

_SCRIPT = Path(__file__).resolve().parents[1] / "run_recbole_cfg.py"
_MODELS = {
    "CFGDiffRec": ("--dims_dnn=[20]", "--guidance_scales=[0, 2]"),
    "ForwardCFGDiffRec": ("--dims_dnn=[20]",),
    "MultVAE": ("--mlp_hidden_size=[20]", "--latent_dimension=10"),
}
_SHARED = ("--dataset=tiny", "--epochs=6", "--stopping_step=100", "--run_name=r", "--show_progress=False")
_KILLS_OF_A_RUN = 3
_PARTS = 8  # of a checkpoint, between which a run is killed
_RUN = Path("saved/r")
_COMPARED = ("best_valid_score", "best_valid_result", "test_result", "guidance_scale", "guidance_curve")


@dataclass
class Kill:
    """A row of the table.

    Attributes:
        run: its number.
        model: its model.
        signal: SIGKILL or SIGTERM.
        kind: at a ``moment`` of a forked process, at a ``write`` of one, or at a moment of a new ``process``.
        place: the moment in seconds, or the number of the write.
        problem: of the kill, or of the run after its last one; empty if there is none.
    """

    run: int
    model: str
    signal: str
    kind: str
    place: float
    problem: str = ""


@dataclass(frozen=True)
class Unbroken:
    """A run that nothing stops: its result, its seconds (forked), its number of writes."""

    result: dict[str, Any]
    seconds: float
    n_writes: int


def make_data(folder: Path) -> None:
    """``dataset/tiny``: 60 users in two groups with items of their own."""
    generator = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(60):
        preference = np.where(np.arange(40) % 2 == user % 2, 4.0, 1.0)
        items = generator.choice(40, size=15, replace=False, p=preference / preference.sum())
        lines += [f"u{user}\ti{item}\t{place}" for place, item in enumerate(items)]
    (folder / "dataset/tiny").mkdir(parents=True)
    (folder / "dataset/tiny/tiny.inter").write_text("\n".join(lines) + "\n")


def command(model: str, data: Path) -> list[str]:
    """The arguments that start the run of the working folder, or continue it."""
    if (_RUN / checkpoint.LAST).exists():
        return [f"--resume={_RUN}", "--show_progress=False"]
    return [f"--model={model}", f"--data_path={data}", *_SHARED, *_MODELS[model]]


def fork(arguments: Sequence[str], watch: Callable[[], Any] = lambda: None) -> int:
    """The command in a process forked from this one, which writes into ``out`` and ``err``; its id.

    Args:
        arguments: of the command.
        watch: called in the process first.
    """
    process = os.fork()
    if process:
        return process
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.argv = [str(_SCRIPT), *arguments]
    watch()
    try:
        os._exit(start("run_main"))
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def spawn(arguments: Sequence[str]) -> int:
    """The command in a new process, as ``fork``."""
    with open("out", "wb") as out, open("err", "wb") as err:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(_SCRIPT.parent)
        return subprocess.Popen([sys.executable, str(_SCRIPT), *arguments], stdout=out, stderr=err, env=environment).pid


def on_each_write(call: Callable[[], Any]) -> None:
    """Have ``call`` called before each part of a checkpoint, each fsync and each rename that this process writes."""

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call_and_do(*arguments: Any, **options: Any) -> Any:
            call()
            return function(*arguments, **options)

        return call_and_do

    save = torch.save

    def save_in_parts(state: Any, file: IO[bytes]) -> None:
        whole = io.BytesIO()
        save(state, whole)
        for part in np.array_split(np.frombuffer(whole.getbuffer(), np.uint8), _PARTS):
            call()
            file.write(part.tobytes())
            file.flush()

    torch.save = save_in_parts  # type: ignore[assignment]
    os.fsync, os.replace = watched(os.fsync), watched(os.replace)


def count_writes() -> None:
    """Count them in the file ``writes``, a byte each."""
    descriptor = os.open("writes", os.O_WRONLY | os.O_CREAT)
    on_each_write(lambda: os.write(descriptor, b"x"))


def kill_at_write(place: int, number: int) -> None:
    """Have this process killed by the signal at a write, from 1."""
    calls = iter(range(1, sys.maxsize))
    on_each_write(lambda: os.kill(os.getpid(), number) if next(calls) == place else None)


def wait(process: int) -> int:
    """Its exit status, negative the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill_after(process: int, seconds: float, number: int) -> int:
    """Kill it once that time is over, unless it has ended; its exit status as of ``wait``."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(process, number)
    return wait(process)


def measure(model: str, data: Path) -> Unbroken:
    """The run that nothing stops, in a folder of its own."""
    with folder_of_a_run():
        started = time.perf_counter()
        if wait(fork(command(model, data), count_writes)):
            raise SystemExit(f"{model}: {Path('err').read_text()}")
        seconds = time.perf_counter() - started
        return Unbroken(result(), seconds, Path("writes").stat().st_size)


def result() -> dict[str, Any]:
    """What is compared of ``result.json``."""
    content = json.loads((_RUN / "result.json").read_text())
    return {name: content.get(name) for name in _COMPARED}


@contextmanager
def folder_of_a_run() -> Iterator[None]:
    """An empty working folder."""
    before = Path.cwd()
    folder = tempfile.mkdtemp(prefix="kill-")
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


def killed_run(number: int, n_kills: int, seed: int, data: Path, unbroken: dict[str, Unbroken]) -> list[Kill]:
    """A run that is killed so often, and then ends; a row for each kill."""
    chance = random.Random(f"{seed}-{number}")
    model = list(_MODELS)[number % len(_MODELS)]
    kills: list[Kill] = []
    while len(kills) < n_kills:
        with folder_of_a_run():
            while len(kills) < n_kills:
                by = (signal.SIGKILL, signal.SIGTERM)[(_KILLS_OF_A_RUN * number + len(kills)) % 2]
                before = left_over()  # of an earlier kill, if this one comes before the run has its folder
                kill, status = kill_once(number, model, by, chance, data, unbroken[model])
                if status == 0:  # it was faster
                    break
                kill.problem = problem_of_kill(kill, status, before)
                kills.append(kill)
            problem = problem_at_end(command(model, data) if status else [], unbroken[model])
            if problem:
                kills[-1:] = [Kill(**{**asdict(kill), "problem": f"{kill.problem} {problem}".strip()})]
    return kills


def kill_once(
    number: int, model: str, by: signal.Signals, chance: random.Random, data: Path, unbroken: Unbroken
) -> tuple[Kill, int]:
    """Start or continue the run of the working folder and kill it; what was planned, and the exit status."""
    kind = chance.choices(("moment", "write", "process"), (4, 5, 1))[0]
    arguments = command(model, data)
    if kind == "write":
        place = chance.randint(1, unbroken.n_writes)
        status = wait(fork(arguments, partial(kill_at_write, place, by)))
        return Kill(number, model, by.name, kind, place), status
    # A new process is longer by its imports, which are not all that can be interrupted.
    seconds = chance.uniform(0, unbroken.seconds) if kind == "moment" else chance.uniform(0.1, 4 + unbroken.seconds)
    process = fork(arguments) if kind == "moment" else spawn(arguments)
    return Kill(number, model, by.name, kind, round(seconds, 3)), kill_after(process, seconds, by)


def problem_of_kill(kill: Kill, status: int, before: Sequence[str]) -> str:
    """SIGTERM is one line, and nothing is left over but a lock that was just being taken; before Python comes to our
    code it ends like SIGKILL."""
    by = signal.Signals[kill.signal]
    if by is signal.SIGKILL:
        return "" if status == -by else f"status {status} after SIGKILL: {Path('err').read_text()[-500:]}"
    errors = [line for line in Path("err").read_text().splitlines() if "error" in line or "Traceback" in line]
    if status == -by and not errors:
        return ""
    if status != 128 + by or len(errors) != 1 or not errors[0].startswith("error: ended by SIGTERM"):
        return f"status {status} after SIGTERM: {Path('err').read_text()[-500:]}"
    left = set(left_over()) - {*before, ".lock"}
    return f"left after SIGTERM: {', '.join(left)}" if left else ""


def left_over() -> list[str]:
    """Hidden files and folders of the run."""
    return [path.name for path in Path("saved").rglob(".*")]


def problem_at_end(arguments: Sequence[str], unbroken: Unbroken) -> str:
    """Let the run of the working folder end by the command, unless it has ended (no arguments), and compare it with the
    unbroken one."""
    if arguments and wait(fork(arguments)):
        return f"it did not go on: {Path('err').read_text()[-500:]}"
    if result() != unbroken.result:
        return f"{result()} instead of {unbroken.result}"
    return f"left over: {', '.join(left_over())}" if left_over() else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if there was a problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how many (200)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2)")
    parser.add_argument("--seed", type=int, default=0, help="of models, signals and moments (0)")
    parser.add_argument("--output", type=Path, default=Path("kill.csv"), help="table of all kills (kill.csv)")
    known = parser.parse_args(arguments)
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder))
        data = Path(folder, "dataset")
        unbroken = {model: measure(model, data) for model in _MODELS}
        print({model: f"{each.seconds:.1f} s, {each.n_writes} writes" for model, each in unbroken.items()})
        whole, rest = divmod(known.kills, _KILLS_OF_A_RUN)
        kills_of = [_KILLS_OF_A_RUN] * whole + [rest] * bool(rest)
        do = partial(killed_run, seed=known.seed, data=data, unbroken=unbroken)
        with ProcessPoolExecutor(known.jobs, multiprocessing.get_context("fork")) as pool:
            kills = [kill for each in pool.map(do, range(len(kills_of)), kills_of) for kill in each]
    with known.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(kills[0])))
        writer.writeheader()
        writer.writerows(map(asdict, kills))
    bad = [kill for kill in kills if kill.problem]
    for kill in bad:
        print(kill)
    print(f"{len(kills) - len(bad)} of {len(kills)} kills: resumed to the unbroken run's metrics, nothing left over")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
