"""Damaged atomic files and odd options that select rows, through the whole command up to training.

A small data set (one file or a given split, with or without .item and .user) is damaged in one place, or an option is
odd. The command must take it with the right number of rows, or say in one line what is wrong.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from recbole_cfgdiff.commands.cli import main
from recbole_cfgdiff.runs import prepare
from recbole_cfgdiff.runs.single import Prepared

MODELS = ("Pop", "DiffRec", "CFGDiffRec", "BPR", "EASE", "SASRec")
COLUMNS = ["user_id", "item_id", "rating", "timestamp"]
TYPES = ("token", "float", "token_seq", "float_seq", "TOKEN", "int", "")
ODD_FIELDS = (
    "",
    "NaN",
    "NA",
    "inf",
    "-inf",
    "1e39",
    "1e400",
    "1_0",
    " 7 ",
    "0x1",
    "noon",
    '"',
    '"x',
    '"x"y',
    "x" * 2000,
)
ODD_BYTES = (
    b"\0",
    b"\xff",
    b'"',
    b"\t",
    b"\n",
    b"\r",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"#",
    b"," * 9,
    b"a" * 140_000,
)
SEPARATORS = (b" ", b",", b";", b"|", b"::", b"\t\t")

SOME_ITEMS = [f"i{item}" for item in range(15)]

# An option, and how many rows it leaves; None where it is to be refused.
Expected = Callable[[list[list[str]]], int]
OPTIONS: list[tuple[str, Expected | None]] = [
    ("val_interval={'rating': '[3,inf)'}", lambda rows: sum(float(row[2]) >= 3 for row in rows)),
    ("val_interval={'rating': '[1,2];(3,5]'}", lambda rows: sum(float(row[2]) != 3 for row in rows)),
    (f"val_interval={{'item_id': {SOME_ITEMS}}}", lambda rows: sum(row[1] in SOME_ITEMS for row in rows)),
    ("user_inter_num_interval=[0,inf)", len),
    ("item_inter_num_interval=[1,1000]", len),
    ("val_interval={'rating': [4, 5]}", lambda rows: sum(float(row[2]) >= 4 for row in rows)),
    ("filter_inter_by_user_or_item=False", len),
    ("rm_dup_inter=first", len),
    ("rm_dup_inter=last", len),
    *[
        (option, None)
        for option in (
            "val_interval=[3,inf)",
            "val_interval={'rating': '3'}",
            "val_interval={'rating': '[3,inf'}",
            "val_interval={'rating': '[4,2]'}",
            "val_interval={'rating': ['4', '5']}",
            "val_interval={'rating': [4, 5, 6]}",
            "val_interval={'rating': 4}",
            "val_interval={'rates': '[3,inf)'}",
            "val_interval={'user_id': '[3,inf)'}",
            "user_inter_num_interval=5",
            "user_inter_num_interval=[5,inf",
            "user_inter_num_interval=5,inf",
            "item_inter_num_interval=>=3",
            "item_inter_num_interval=(5,5)",
            "item_inter_num_interval=[1000,inf)",
            "rm_dup_inter=False",
            "rm_dup_inter=middle",
            "filter_inter_by_user_or_item=1",
            "threshold=4",
            "threshold={'user_id': 4}",
            "threshold={'rating': '4'}",
            "TIME_FIELD=user_id",
            "TIME_FIELD=when",
            "ITEM_ID_FIELD=user_id",
            "noise_threshold={}",
            "heldout_users=2",
            "unload_col={'inter': ['nope']}",
            "load_col={'inter': ['user_id', 'item_id', 'timestamp', 'nope']}",
            "load_col={'inter': 'user_id'}",
            "load_col=7",
            "unused_col=rating",
            "additional_feat_suffix=['../x']",
            "field_separator=,",
            "encoding=utf-16",
            "topk=[5, 100]",
            "metrics=['AUC']",
            "valid_metric=GAUC",
            "eval_args={'mode': 'labeled'}",
            "eval_args={'split': {'LS': 'last'}}",
            "eval_args={'split': {'TS': [0.8, 0.1, 0.1]}, 'order': 'RO'}",
        )
    ],
]


def check(seed: int, folder: Path) -> str | None:
    """Make one damaged input from ``seed`` in the empty ``folder``, run the command on it in this process, and say what
    was wrong, or None."""
    chance = random.Random(seed)
    files, rows, options = _data_set(chance)
    expected: int | None = len(rows)
    may_be_refused = may_be_taken = True
    kind = chance.choice(["harmless", "option", "bytes", "bytes", "field", "field", "header", "file"])
    if kind == "harmless":
        files, may_be_refused = {name: _harmless(content, chance) for name, content in files.items()}, False
    elif kind == "option":
        option, count = chance.choice(OPTIONS)
        options.append(f"--{option}")
        is_given = any(name.startswith("--benchmark_filename") for name in options)
        expected = count(rows) if count and not is_given else None
        may_be_taken = count is not None or (is_given and option == "TIME_FIELD=when")
        may_be_refused = count is None or is_given
    else:
        name = chance.choice(sorted(files))
        damage = {"bytes": _damage_bytes, "field": _damage_field, "header": _damage_header}.get(kind)
        files[name] = damage(files[name], chance) if damage else b""
        expected = None
    _write(files, folder)
    model = chance.choice(MODELS)
    problem = _run([f"--model={model}", "--dataset=d", *options], folder, expected, may_be_refused, may_be_taken)
    left = {path.name: path.read_bytes() for path in (folder / "dataset" / "d").iterdir()}
    if problem is None and left != files:
        problem = "the data set is not as it was"
    return f"{kind}, {model}, {options}: {problem}" if problem else None


def _data_set(chance: random.Random) -> tuple[dict[str, bytes], list[list[str]], list[str]]:
    """Files by name, the rows of interactions, and the options that load them."""
    rows = []
    for user in range(12):
        for item in chance.sample(range(20), 8):
            rows.append([f"u{user}", f"i{item}", str(chance.randint(1, 5)), str(1_400_000_000 + chance.randint(0, 9))])
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    load, options, files = {"inter": COLUMNS}, ["--topk=[1,3]", "--valid_metric=NDCG@3", "--state=ERROR"], {}
    if chance.random() < 0.25:
        parts = {"train": rows[0::4] + rows[1::4], "valid": rows[2::4], "test": rows[3::4]}
        files = {f"d.{part}.inter": _text(header, chosen) for part, chosen in parts.items()}
        options.append("--benchmark_filename=['train','valid','test']")
    else:
        files["d.inter"] = _text(header, rows)
    if chance.random() < 0.3:
        features = [[f"i{item}", str(item / 4), "a b"] for item in range(20)]
        files["d.item"] = _text("item_id:token\tprice:float\tgenre:token_seq", features)
        load["item"] = ["item_id", "price", "genre"]
    if chance.random() < 0.2:
        files["d.user"] = _text("user_id:token\tage:token", [[f"u{user}", "30"] for user in range(12)])
        load["user"] = ["user_id", "age"]
    return files, rows, [*options, f"--load_col={load}"]


def _text(header: str, rows: list[list[str]]) -> bytes:
    return "\n".join([header, *map("\t".join, rows), ""]).encode()


def _harmless(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines()
    if chance.random() < 0.5:
        lines.insert(chance.randrange(1, len(lines)), chance.choice([b"", b"", b"   "]))
    end = chance.choice([b"\n", b"\r\n"])
    return end.join(lines) + chance.choice([end, b"", end * 3])


def _damage_bytes(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    how = chance.randrange(4)
    if how == 0:
        return content[:place]
    if how == 1:
        return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]
    if how == 2:
        return content.replace(b"\t", chance.choice(SEPARATORS))
    return content[:place] + chance.choice(ODD_BYTES) + content[place:]


def _damage_field(content: bytes, chance: random.Random) -> bytes:
    lines = [line.split("\t") for line in content.decode().splitlines()]
    fields = lines[chance.randrange(1, len(lines))]
    place = chance.randrange(len(fields))
    how = chance.randrange(4)
    if how == 0:
        fields.pop(place)
    elif how == 1:
        fields.insert(place, "9")
    elif how == 2:
        fields[:] = [""] * len(fields)
    else:
        fields[place] = chance.choice(ODD_FIELDS)
    return "\n".join(map("\t".join, lines)).encode()


def _damage_header(content: bytes, chance: random.Random) -> bytes:
    header, rest = content.decode().split("\n", 1)
    fields = header.split("\t")
    place, other = (chance.randrange(len(fields)) for _ in range(2))
    how = chance.randrange(5)
    if how == 0:
        fields[place] = f"{fields[place].partition(':')[0]}:{chance.choice(TYPES)}"
    elif how == 1:
        fields[place] = fields[other]
    elif how == 2:
        fields[place], fields[other] = fields[other], fields[place]
    elif how == 3:
        fields[place] = chance.choice(
            ["", ":", ":token", "a:b:token", '"rating:float"', "rating :float", "[PAD]:token"]
        )
    else:
        fields = []
    return "\n".join(["\t".join(fields), rest]).encode()


def _write(files: dict[str, bytes], folder: Path) -> None:
    target = folder / "dataset" / "d"
    target.mkdir(parents=True)
    for name, content in files.items():
        (target / name).write_bytes(content)


def _run(
    arguments: list[str], folder: Path, expected: int | None, may_be_refused: bool, may_be_taken: bool
) -> str | None:
    """Run the command up to training; what was wrong, or None."""
    prepared: list[Any] = []

    def no_training(run: Any, *_: Any) -> dict[str, Any]:
        prepared.append(run)
        return {"best_valid_result": {"ndcg@3": 0.0}, "test_result": {"ndcg@3": 0.0}, "run_dir": None}

    out, err = io.StringIO(), io.StringIO()
    with (
        _inside(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(prepare, "init_logger"),
        mock.patch.object(Prepared, "fit_and_test", no_training),
    ):
        try:
            status = main(["run", *arguments])
        except BaseException:
            return traceback.format_exc()
    last = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    if status not in (0, 2):
        return f"exit status {status}"
    if status == 2:
        if not may_be_refused:
            return f"refused: {last}"
        return None if len(last) == 1 and err.getvalue().endswith(f"{last[0]}\n") else f"no message: {err.getvalue()}"
    if not may_be_taken:
        return "taken"
    found = len(prepared[0].dataset.inter_feat)
    return None if expected in (None, found) else f"{found} rows, expected {expected}"


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
