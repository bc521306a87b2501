"""Records made up, written as a delimited file, converted and read back: for the tests of the converters."""

import csv
from typing import NamedTuple

import recbole.data
from hypothesis import strategies as st

from recbole_cfgdiff import data
from recbole_cfgdiff.commands.cli import main
from recbole_cfgdiff.data.convert.tokens import unescape
from recbole_cfgdiff.overlay.config import Config


class Raw(NamedTuple):
    user: str
    item: str
    rating: float
    time: int


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


def read_back(name, **options):
    """(user, item, rating, exact time) of all rows in the order of the data set, ids unescaped."""
    config = Config("CFGDiffRec", name, config_dict=options)
    frame = data.create_dataset(config).inter_feat
    raw = recbole.data.create_dataset(config)
    columns = [
        [unescape(token) for token in raw.id2token(field, frame[field].to_numpy())] for field in ("user_id", "item_id")
    ]
    columns += [frame[field].tolist() for field in ("rating", config["TIME_FIELD"]) if field in frame]
    return list(zip(*columns))


def expected_of(records):
    """Time order, equal times as they were; of repeated pairs the first."""
    seen, rows = set(), []
    for record in sorted(records, key=lambda record: record.time):
        if record[:2] not in seen:
            seen.add(record[:2])
            rows.append(tuple(record))
    return rows


# Without surrogates, which are no text, and without line ends, which end a line in every source.
ids = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=8) | st.sampled_from(
    ["NA", "null", "None", "nan", "%41", 'a "quote"', '"', "a,b", "ü 漢字", "1", "-1.#IND", "a|b"]
)
stars = st.integers(1, 5).map(float)
times = st.integers(0, 2_000_000_000)
records = st.lists(st.builds(Raw, ids, ids, stars, times), min_size=1, max_size=25)
plain_ids = st.from_regex(r"[A-Z0-9]{1,8}", fullmatch=True)


def write_csv(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


def as_delimited(folder, records):
    write_csv(folder / "in.csv", [("who", "what", "stars", "when"), *records])
    columns = ("--user-col=who", "--item-col=what", "--rating-col=stars", "--time-col=when")
    return "csv", folder / "in.csv", *columns
