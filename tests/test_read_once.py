"""Atomic files are read once: as RecBole's own reader reads them, and for all runs of an experiment."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_cfgdiff.commands import cli
from recbole_cfgdiff.commands.compare import parse_variants
from recbole_cfgdiff.data import atomic, atomic_data, atomic_rows, loading
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.runs.data_sets import DataSets, kept_data
from recbole_cfgdiff.runs.spec import make_runs
from recbole_cfgdiff.runs.worker import train_and_test

KINDS = {"token": object, "float": np.float64, "token_seq": object, "float_seq": object}
COLUMNS = {"user_id": "token", "item_id": "token", "price": "float", "words": "token_seq", "place": "float_seq"}
ID = st.text("ab0é'#. -", min_size=1, max_size=3).filter(str.strip)
NUMBER = st.one_of(
    st.floats(-1e30, 1e30).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(["", "NA", "nan", " 7 ", "1_0", "1e5", "1E-300", ".5", "5.", "-0", "000000000000000000012", "+3"]),
)
ROW = st.tuples(ID, ID, NUMBER, st.sampled_from(["", "a b", "null", "c"]), st.sampled_from(["", "1 2.5", "NaN"]))


def files(content: str | bytes, name: str = "d.inter") -> Config:
    folder = Path("dataset/d")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Config("Pop", "d", config_dict={"load_col": {"inter": list(COLUMNS)}, "eval_args": {"order": "RO"}})


def by_pandas(path: Path, columns: dict[str, str], separator: str = "\t") -> pd.DataFrame:
    """As RecBole's ``_load_feat`` calls it and fills sequences, text as objects by pandas 3, too."""
    dtype = {f"{name}:{kind}": KINDS[kind] for name, kind in columns.items()}
    table = pd.read_csv(path, delimiter=separator, usecols=list(dtype), dtype=dtype, engine="python")
    return table.fillna({field: "" for field in dtype if field.endswith("seq")})


def frame(data: atomic_data.AtomicData, columns: dict[str, str]) -> pd.DataFrame:
    with data.in_place_of_files():
        return pd.read_csv("dataset/d/d.inter", usecols=[f"{name}:{kind}" for name, kind in columns.items()])


def header(columns: dict[str, str], separator: str = "\t") -> str:
    return separator.join(f"{name}:{kind}" for name, kind in columns.items())


@given(st.lists(ROW, min_size=1, max_size=8), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from([40, 1 << 20]))
def test_the_frames_are_those_of_recbole_s_reader(rows, end, block):
    rows = [*rows, ("u", "i", "2.5", "a", "1")]
    content = end.join([header(COLUMNS), *map("\t".join, rows), "", "\t\t\t\t"]) + end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic_rows, "_BLOCK", block)
        data = atomic.read_atomic_files(files(content))
    pd.testing.assert_frame_equal(frame(data, COLUMNS), by_pandas(Path("dataset/d/d.inter"), COLUMNS), check_exact=True)


@pytest.mark.parametrize(
    ("separator", "rows"),
    [
        (",", ['"a,b",i,1', 'u,"i""j",NA']),
        ("::", ["  u ::i:: 3 ", "u::j::1e2", "", "   "]),
        (";", ["u;i;", "u;j;4", ";;", "v;NA x;5"]),
    ],
)
def test_quotes_and_other_separators_are_read_as_by_recbole(separator, rows):
    columns = {name: COLUMNS[name] for name in ("user_id", "item_id", "price")}
    config = files("\n".join([header(columns, separator), *rows]) + "\n")
    config["field_separator"], config["load_col"] = separator, {"inter": list(columns)}
    expected = by_pandas(Path("dataset/d/d.inter"), columns, separator)
    pd.testing.assert_frame_equal(frame(atomic.read_atomic_files(config), columns), expected, check_exact=True)


@given(st.text("0123456789.-+_ e", max_size=16))
def test_a_number_is_the_one_that_pandas_reads(text):
    column = atomic_rows.NumberColumn("x", is_needed=False)
    if text and atomic_rows.is_number(text):
        assert column.add([text]) is None
        read = pd.read_csv(Path(_written(text)), sep="\t", dtype={"x": np.float64}, engine="python")["x"]
        assert column.column().tolist() == read.tolist()


def _written(text: str) -> str:
    Path("number.txt").write_text(f"x\tend\n{text}\t1\n")
    return "number.txt"


def test_a_wrong_line_behind_the_first_block_is_named(monkeypatch):
    monkeypatch.setattr(atomic_rows, "_BLOCK", 64)
    columns = {name: COLUMNS[name] for name in ("user_id", "item_id", "price")}
    lines = [header(columns), *(f"u{n}\ti\t{n}" for n in range(50)), "u\ti\tx", "u"]
    config = files("\r\n".join(lines))
    config["load_col"] = {"inter": list(columns)}
    with pytest.raises(ConfigError, match="line 52: expected a number for price, found 'x'"):
        atomic.read_atomic_files(config)


def test_the_hash_is_of_what_was_read(tiny):
    config = Config("Pop", tiny)
    Path("dataset/tiny/tiny.item").write_text("item_id:token\nunread\n")
    data = atomic.read_atomic_files(config)
    assert data.hash == atomic.hash_of_data(config)
    Path("dataset/tiny/tiny.item").write_text("item_id:token\nother\n")
    assert data.hash != atomic.hash_of_data(config)


@pytest.fixture
def kept(tiny):
    """What was read, and where it is kept as long as the test goes on."""
    data_sets = DataSets()
    data_sets.check(Config("Pop", tiny))
    Path("out").mkdir()
    with data_sets.kept(Path("out"), ["tiny"]):
        yield Path("out/data-read-once/tiny")
    assert not list(Path("out").iterdir())


def test_what_is_kept_is_what_was_read(kept):
    read, again = atomic.read_atomic_files(Config("Pop", "tiny")), atomic_data.load(kept)
    assert (again.hash, again.reading) == (read.hash, read.reading)
    columns, others = (data.tables["tiny.inter"].columns for data in (read, again))
    assert list(columns) == list(others)
    for column, other in zip(columns.values(), others.values()):
        if isinstance(column, atomic_rows.Texts):
            assert column.words == other.words
        np.testing.assert_array_equal(getattr(column, "codes", column), getattr(other, "codes", other))


def cut(folder):
    with (folder / "0.npy").open("r+b") as file:
        file.truncate(200)


def change(folder):
    content = bytearray((folder / "0.npy").read_bytes())
    content[-1] ^= 1
    (folder / "0.npy").write_bytes(content)


def rewritten(folder, name, array):
    """Damage that knows of the checksums."""
    index = json.loads((folder / "index.json").read_text())
    np.save(folder / name, array, allow_pickle=True)
    index["checksums"][name] = atomic_data._checksum(folder / name)
    (folder / "index.json").write_text(json.dumps(index))


DAMAGE = [
    cut,
    change,
    lambda folder: (folder / "0.npy").unlink(),
    lambda folder: (folder / "index.json").write_text("[]"),
    lambda folder: (folder / "index.json").write_text('{"checksums": {"../x": ""}}'),
    lambda folder: (folder / "index.json").unlink(),
    lambda folder: rewritten(folder, "0.npy", np.full(900, 10**6, np.int32)),
    lambda folder: rewritten(folder, "0.npy", np.full(900, -1, np.int32)),
    lambda folder: rewritten(folder, "0.npy", np.zeros((3, 3), np.int32)),
    lambda folder: rewritten(folder, "1.npy", np.array([0, 5, 3, 10**9])),
    lambda folder: rewritten(folder, "1.npy", np.array([object()])),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_and_the_files_are_read_again(damage, kept):
    said = []
    damage(kept)
    assert kept_data(Path("out"), "tiny", said.append) is None
    assert len(said) == 1 and "damaged" in said[0] and "\n" not in said[0]


def test_files_of_another_run_s_options_are_read_again(tiny):
    data = loading.check_data(Config("Pop", tiny))
    other = Config(
        "Pop", tiny, config_dict={"load_col": {"inter": ["user_id", "item_id"]}, "eval_args": {"order": "RO"}}
    )
    assert loading.check_data(Config("Pop", tiny), data) is data
    assert list(loading.check_data(other, data).types()["inter"]) == ["user_id", "item_id"]


def test_a_comparison_reads_its_data_once_and_leaves_the_same_figures(tiny, monkeypatch):
    calls = []
    read = loading.read_atomic_files
    monkeypatch.setattr(loading, "read_atomic_files", lambda config: calls.append(config) or read(config))
    runs = make_runs(parse_variants("Pop,EASE"), [tiny], 1)
    calls.clear()
    arguments = ["compare", "--models=Pop,EASE", "--dataset=tiny", "--seeds=1", "--output=out"]
    assert cli.main(arguments) == 0
    assert len(calls) == 1 and not Path("out/data-read-once").exists()
    for run in runs:  # without what is kept
        record = train_and_test(run, Path(f"alone/{run.label}").resolve())
        kept = json.loads((run.folder(Path("out")) / "record.json").read_text())
        for part in ("test", "valid", "beyond_accuracy"):
            assert record[part] == kept[part]


def test_what_is_kept_spares_reading_but_not_the_look_whether_the_files_changed(tiny, monkeypatch):
    (run,) = make_runs(parse_variants("Pop"), [tiny], 1)
    data = loading.check_data(Config("Pop", tiny))
    monkeypatch.setattr(loading, "read_atomic_files", None)
    Path("a").mkdir()
    assert train_and_test(run, Path("a").resolve(), data=data)["status"] == "ended"
    with Path("dataset/tiny/tiny.inter").open("a") as file:
        file.write("u0\ti0\t5\n")
    with pytest.raises(ConfigError, match="have changed since the experiment was started"):
        train_and_test(run, Path("a").resolve(), data=data)


def test_a_folder_of_that_name_from_elsewhere_is_replaced(tiny, capfd):
    shutil.copytree("dataset", "out/data-read-once")
    shutil.copytree("dataset", "out/data")  # of the user's own
    Path("out/.lock").touch()
    Path("out/runs/tiny/Pop/1").mkdir(parents=True)
    Path("out/runs/tiny/Pop/1/spec.json").write_text("{}")
    assert cli.main(["compare", "--models=Pop", "--dataset=tiny", "--seeds=1", "--output=out"]) == 0
    assert not Path("out/data-read-once").exists() and Path("out/data/tiny/tiny.inter").exists()


def test_what_no_run_is_to_be_done_on_is_not_kept(tiny, monkeypatch):
    saved = []
    monkeypatch.setattr(atomic_data, "save", lambda data, folder: saved.append(folder.name))
    command = ["compare", "--models=Pop", "--dataset=tiny", "--seeds=1", "--output=out"]
    assert [cli.main(command), cli.main(command)] == [0, 0] and saved == ["tiny"]
    data_sets = DataSets()
    data_sets.check(Config("Pop", tiny))
    Path("out/data-read-once").mkdir()  # of a process that was killed
    with data_sets.kept(Path("out"), []):
        assert saved == ["tiny"]
    assert not Path("out/data-read-once").exists()
