"""The service under load: requests a second and how long they take, in batches and one at a time.

    python benchmarks/serve.py [--model=FOLDER] [--seconds=30] [--connections=32] [--output=benchmarks/serve.json]

A CFGDiffRec of ml-100k (two epochs: how good it is does not matter), and one of random weights with 35,000 items and
1,000 hidden units; or an exported model. Each connection asks again when it has its answer, for the list of a new
person with 3 to 20 items. Server and clients are a process each on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import working_folder
from harness import machine
from recommend import make_model

from recbole_cfgdiff.files import write_json
from recbole_cfgdiff.recommender import Recommender

_HERE = Path(__file__).resolve().parents[1]
_COMMAND = [sys.executable, "-m", "recbole_cfgdiff"]
_REQUESTS = 2000  # different ones
_WARM_UP_SECONDS = 2.0
_WAYS = {"in batches": [], "one at a time": ["--max-batch=1"]}


def ml_100k(folder: Path) -> None:
    """Train a CFGDiffRec of ml-100k, and export it."""
    train = [
        "run",
        "--model=CFGDiffRec",
        "--dataset=ml-100k",
        "--epochs=2",
        "--run_name=serve",
        "--show_progress=False",
    ]
    with working_folder():
        for command in (
            [*train, "--state=ERROR", "--show_progress=False"],
            ["export", "--checkpoint=saved/serve", f"--output={folder}"],
        ):
            subprocess.run([*_COMMAND, *command], env=_environment(), stdout=subprocess.DEVNULL, check=True)


def generated(folder: Path) -> None:
    """A model of random weights, of 35,000 items."""
    make_model(folder, 1000, 35_000, 1000)


_MODELS: dict[str, Callable[[Path], None]] = {"ml-100k": ml_100k, "generated": generated}


def models(given: Path | None, folder: Path) -> Iterator[tuple[str, Path]]:
    """Names and folders: the one that is given, or those that are made."""
    if given is not None:
        yield given.name, given
        return
    for name, make in _MODELS.items():
        make(folder / name)
        yield name, folder / name


def requests(model: Path) -> list[bytes]:
    """Whole requests, each for the list of somebody."""
    ids = Recommender.from_pretrained(model).items.ids.ids
    random = np.random.default_rng(0)
    made = []
    for _ in range(_REQUESTS):
        history = random.choice(ids, random.integers(3, 21), replace=False).tolist()
        body = json.dumps({"histories": [history], "topk": 10}).encode()
        head = f"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
        made.append(f"{head}content-type: application/json\r\n\r\n".encode() + body)
    return made


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """The status of the answer, which is read whole."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = re.findall(rb"content-length: (\d+)", head)
    await reader.readexactly(int(length))
    return int(head.split(b" ", 2)[1])


async def load(port: int, made: list[bytes], connections: int, seconds: float) -> tuple[list[float], int]:
    """Seconds of each answer, and how many were errors."""
    end = time.perf_counter() + seconds
    took: list[float] = []
    errors = 0

    async def client(number: int) -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("localhost", port)
        place = number * len(made) // connections
        while (started := time.perf_counter()) < end:
            errors += await ask(reader, writer, made[place % len(made)]) != 200
            took.append(time.perf_counter() - started)
            place += 1
        writer.close()

    await asyncio.gather(*map(client, range(connections)))
    return took, errors


def measure(model: Path, arguments: list[str], made: list[bytes], connections: int, seconds: float) -> dict[str, Any]:
    """A row of the table."""
    command = [*_COMMAND, "serve", f"--model={model}", "--port=0", *arguments]
    with subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        (port,) = re.findall(r":(\d+)/", server.stdout.readline())
        asyncio.run(load(int(port), made, connections, _WARM_UP_SECONDS))
        took, errors = asyncio.run(load(int(port), made, connections, seconds))
        server.send_signal(signal.SIGTERM)
        server.communicate()
    p50, p95, p99 = (1000 * np.percentile(took, [50, 95, 99])).tolist()
    return {
        "requests": len(took),
        "errors": errors,
        "exit_status": server.returncode,
        "requests_per_second": len(took) / seconds,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
    }


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_HERE)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="an exported one, instead of both")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print("| model | scored | requests/s | p50 ms | p95 ms | p99 ms | errors |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models(arguments.model, Path(folder)):
            made = requests(model)
            for way, options in _WAYS.items():
                row = measure(model, options, made, arguments.connections, arguments.seconds)
                rows.append({"model": name, "scored": way, "connections": arguments.connections, **row})
                times = " | ".join(f"{row[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms"))
                print(f"| {name} | {way} | {row['requests_per_second']:,.0f} | {times} | {row['errors']} |", flush=True)
    write_json(arguments.output, {"rows": rows, "machine": machine(os.cpu_count() or 1)})


if __name__ == "__main__":
    main()
