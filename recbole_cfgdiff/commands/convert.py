"""``convert``: a data set as its publisher ships it, to RecBole's atomic files."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from recbole_cfgdiff.commands.arguments import path
from recbole_cfgdiff.data.convert.convert import convert
from recbole_cfgdiff.data.convert.sources import (
    LONGEST_LINE,
    SOURCES,
    TIME_UNITS,
    VERSIONS,
    Layout,
    Reading,
    check_encoding,
    open_source,
)
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.names import check_name, check_path

_OF_ONE_SOURCE = {
    "version": "amazon",
    **dict.fromkeys(
        (
            *("user_col", "item_col", "rating_col", "time_col", "title_col", "items", "item_id_col"),
            *("delimiter", "no_header", "quotes", "time_unit"),
        ),
        "csv",
    ),
}
_NEXT = {
    "compare models on it": ["compare", "--models=Pop,EASE,MultVAE,DiffRec,CFGDiffRec", "--seeds=3"],
    "or train one": ["run", "--model=CFGDiffRec"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of all sources, then those of one."""
    parser.add_argument("source", choices=SOURCES, help="whose layout the input has")
    parser.add_argument("input", type=path, help="the publisher's file, folder or archive; .gz is read as it is")
    parser.add_argument("--name", required=True, help="name of the data set")
    parser.add_argument("--output", type=path, default=Path("dataset"), help="folder of data sets (dataset/)")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set of that name")
    parser.add_argument("--skip-bad-lines", action="store_true", help="count bad lines and pass over them")
    parser.add_argument("--encoding", help="of text: latin-1, utf-16-le, ... (by the byte order mark, else utf-8)")
    parser.add_argument(
        "--max-line-length", type=int, default=LONGEST_LINE, help="characters of a line; more is refused (%(default)s)"
    )
    parser.add_argument("--version", choices=VERSIONS, help="amazon: the version, where it can't be told")
    parser.add_argument("--user-col", help="csv: name of the column of users")
    parser.add_argument("--item-col", help="csv: name of the column of items")
    parser.add_argument("--rating-col", help="csv: name of the column of ratings, if there is one")
    parser.add_argument("--time-col", help="csv: name of the column of times (numbers or ISO 8601), if there is one")
    parser.add_argument("--title-col", help="csv: name of the column of items' titles, of --items if that is given")
    parser.add_argument("--items", type=path, help="csv: a file of items, of the same delimiter, quotes and encoding")
    parser.add_argument("--item-id-col", help="csv: name of its column of ids, if it is not that of --item-col")
    parser.add_argument("--delimiter", help="csv: what separates the columns (,); tab for a tab")
    parser.add_argument(
        "--no-header", action="store_true", default=None, help="csv: columns are named by their numbers, from 1 on"
    )
    parser.add_argument(
        "--quotes",
        choices=("double", "none"),
        help="csv: whether a field in double quotes may hold the delimiter (double; none with --delimiter=tab)",
    )
    parser.add_argument("--time-unit", choices=TIME_UNITS, help="csv: of times, where they are not what they look like")


def call(known: argparse.Namespace, rest: list[str]) -> None:
    """Convert, and print what was written and what to do with it."""
    if rest:
        raise ConfigError(f"convert does not know {rest[0]}")
    for option, owner in _OF_ONE_SOURCE.items():
        if known.source != owner and getattr(known, option) is not None:
            raise ConfigError(f"--{option.replace('_', '-')} is an option of {owner}, not of {known.source}")
    check_name("--name", known.name)
    check_path("--output", known.output)
    for read in filter(None, (known.input, known.items)):
        _check_input_stays(read, known.output / known.name)
    layout = _layout(known) if known.source == "csv" else None
    source = open_source(known.source, known.input, _reading(known), known.version, layout)
    print(convert(source, known.name, known.output, known.overwrite))
    where = [f"--dataset={known.name}", *([] if known.output == Path("dataset") else [f"--data_path={known.output}"])]
    where += ['--eval_args={"order": "RO"}'] if layout and not layout.time else []  # there are no times to order by
    print()
    for what, command in _NEXT.items():
        print(f"{what}: {shlex.join(['python', '-m', 'recbole_cfgdiff', *command, *where])}")


def _check_input_stays(source: Path, target: Path) -> None:
    try:
        written, read = target.resolve(), source.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, one with NUL, links in a circle
        raise ConfigError(f"{source}: there is no such file or folder ({error})") from error
    if written in (read, *read.parents):
        raise ConfigError(f"{target}: the input lies in the folder to be written; choose another --name or --output")


def _reading(known: argparse.Namespace) -> Reading:
    if known.encoding is not None:
        if known.source == "diffrec":
            raise ConfigError("--encoding is of text; arrays have none")
        check_encoding(known.encoding)
    if known.max_line_length < 1:
        raise ConfigError(f"--max-line-length: expected a number of characters, got {known.max_line_length}")
    return Reading(known.skip_bad_lines, known.encoding, known.max_line_length)


def _layout(known: argparse.Namespace) -> Layout:
    if not (known.user_col and known.item_col):
        raise ConfigError("csv: name the columns with --user-col and --item-col")
    delimiter = {None: ",", "tab": "\t", "\\t": "\t"}.get(known.delimiter, known.delimiter)
    if len(delimiter) != 1 or delimiter in '\r\n"\0':
        raise ConfigError(f"--delimiter: expected one character or tab, got {known.delimiter!r}")
    if known.time_unit and not known.time_col:
        raise ConfigError("--time-unit: there are no times without --time-col")
    if known.item_id_col and not known.items:
        raise ConfigError("--item-id-col: there is no file of items without --items")
    return Layout(
        known.user_col,
        known.item_col,
        known.rating_col,
        known.time_col,
        delimiter,
        known.quotes,
        not known.no_header,
        known.time_unit,
        known.title_col,
        known.items,
        known.item_id_col,
    )
