"""Text of any origin in each format of a report."""

from pathlib import Path

import pandas as pd
import pytest
from experiments import write_run

from recbole_cfgdiff.commands import cli
from recbole_cfgdiff.commands.reproduce import to_markdown
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.escape import (
    bounded,
    file_name,
    for_html,
    for_latex,
    for_markdown,
    latex_comment,
    markdown_code,
    one_line,
    read_table,
    write_table,
)
from recbole_cfgdiff.names import check_name
from recbole_cfgdiff.reporting import figures
from recbole_cfgdiff.reporting.report import report

HOSTILE = "x <img src=q onerror=a> | **b** `c` [d](javascript:e) $f$ \\input{g}\n\\input{h}\r\x1b[31m\u202e#"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", "＝1"]  # noqa: RUF001


def test_markdown_shows_it_as_text():
    escaped = for_markdown(HOSTILE)
    assert "\n" not in escaped and "<img" not in escaped.replace("\\<", "") and "\\|" in escaped
    assert escaped.startswith(r"x \<img src=q onerror=a\> \| \*\*b\*\* \`c\` \[d\](javascript:e) \$f\$ \\input\{g\}")
    assert markdown_code("a `b` c") == "`` a `b` c ``" and markdown_code("a\nb") == "`a b`"


def test_latex_reads_no_command_and_no_second_line():
    assert for_latex("a\n\\input{b}%_^") == "a \\textbackslash{}input\\{b\\}\\%\\_\\textasciicircum{}"
    assert latex_comment("a\n\\input{b}\u2028c") == "% a \\input{b} c"


def test_html_and_terminals_get_no_markup_and_no_control_characters():
    assert for_html("<b>\x00&\"'") == "&lt;b&gt; &amp;&quot;&#x27;"
    assert one_line("a\x1b[31m\n\u202eb\ud800  c") == "a [31m b c"


@pytest.mark.parametrize("text", [*FORMULAS, "a", "1", "-", "a=b", "'a", "NA", "nan", 'a,"b"\nc', "null"])
def test_our_reader_gets_back_what_a_spreadsheet_takes_for_no_formula(text, tmp_path):
    table = pd.DataFrame({"name": [text, "b"], text: ["c", text], "number": [-1.5, 2.0]})
    write_table(table, tmp_path / "table.csv")
    assert not any(cell.strip('"').startswith(tuple("=+@-\t\r＝")) for cell in cells(tmp_path / "table.csv"))  # noqa: RUF001
    if text == "1":
        return  # text that is a number comes back as one
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), table)


def cells(path):
    """Of a CSV file, by a reader that changes nothing; numbers left out."""
    frame = pd.read_csv(path, header=None, dtype=str, keep_default_na=False)
    return [cell for row in frame.to_numpy() for cell in row if cell not in ("-1.5", "2.0")]


def test_names_of_files_are_bounded_and_differ_where_labels_do():
    long = ["ü" * 300, "ü" * 299 + "ö", "a/b\x00\n"]
    names = [file_name(label) for label in long]
    assert len(set(names)) == 3 and all(len(name.encode()) <= 100 and name.isprintable() for name in names)
    assert file_name("DiffRec:mine") == "DiffRec-mine" and bounded("a" * 100) == "a" * 100


@pytest.mark.parametrize("name", ["", "-a", "=a", "a\nb", "a\x00", "a\u2028b", "\u202ea", "a\udcff", "a\x7f"])
def test_names_that_are_taken_for_something_else_are_refused(name):
    with pytest.raises(ConfigError, match="dataset: ") as raised:
        check_name("dataset", name)
    assert str(raised.value).isprintable()
    check_name("dataset", "größe=1 - b")


def written(tmp_path):
    """The report of models with a hostile label, hyperparameters and data set."""
    runs = [write_run(tmp_path, label, 2020, [1, 0], HOSTILE) for label in ("=1+1|<b>$x$\\_%", "B")]
    report("<i>", runs, tmp_path)
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in tmp_path.iterdir()
        if path.suffix != ".lock" and path.is_file()
    }


def test_no_file_of_a_report_has_anything_but_text(tmp_path):
    files = written(tmp_path)
    for name in ("results.csv", "summary.csv", "comparisons.csv", "groups.csv", "learning.csv", "sweeps.csv"):
        assert "'=1+1|<b>$x$\\_%" in files[name] and ",=" not in files[name] and "\n=" not in files[name]
        assert "=1+1|<b>$x$\\_%" in read_table(tmp_path / name).to_numpy()
    assert "<img src=q" not in files["report.html"] and "<b>$x$" not in files["report.html"]
    assert "&lt;b&gt;$x$" in files["report.html"]
    assert (
        "<img" not in files["summary.md"].replace("\\<", "") and "=1+1\\|\\<b\\>\\$x\\$\\\\\\_%" in files["summary.md"]
    )
    lines = [line for line in files["summary.tex"].splitlines() if "input" in line]
    assert lines and all(line.startswith("% ") for line in lines)
    assert "=1+1|<b>\\$x\\$\\textbackslash{}\\_\\% & " in files["summary.tex"]
    assert "\x1b" not in "".join(files.values()) and "\u202e" not in "".join(files.values())


def test_a_figure_has_no_formula_of_a_label():
    curve = pd.DataFrame({"epoch": [0, 1], "valid_score": [0.1, 0.2]})
    labels = ["$\\frac{1", "$a$"]
    drawing = figures.learning_curves({label: [curve] for label in labels}, labels, "ndcg@10", "d" * 250)
    assert [text.get_text() for text in drawing.figure.legends[0].get_texts()] == labels
    assert drawing.data_uri() and len(drawing.name) <= 100


def test_the_command_of_a_reproduction_is_code(tmp_path):
    class Nothing:
        runs = ()

    table = pd.DataFrame(columns=["settings", "guidance"])
    page = to_markdown(table, Nothing(), "Title", "reproduce '--x=`<b>`\n'")
    assert "`` python -m recbole_cfgdiff reproduce '--x=`<b>` ' ``" in page


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "--models=Pop", "--dataset=a\nb"),
        ("compare", "--models=Pop", "--dataset=tiny,=a"),
        ("compare", "--models=Pop:-a.yaml", "--dataset=tiny"),
        ("compare", "--models=Pop:a\nb.yaml", "--dataset=tiny"),
        ("compare", "--models=Pop", "--dataset=tiny", "--output=-a"),
        ("compare", "--models=Pop", "--dataset=tiny", "--output=a/=b"),
        ("compare", "--models=Pop", "--dataset=tiny", "--output=a\udcff"),
        ("compare", "--models=Pop", "--dataset=tiny", "--output=" + "a" * 300),
        ("tune", "--model=DiffRec", "--dataset=\u202etiny"),
        ("tune", "--model=DiffRec", "--dataset=tiny", "--params_file==a.hyper"),
        ("tune", "--model=DiffRec", "--dataset=tiny", "--output=a\x1b"),
        ("sweep", "--checkpoint=a", "--output=-a"),
        ("reproduce", "--table=2", "--setting=-a"),
    ],
)
def test_odd_names_are_refused_by_every_command(arguments, tiny, capfd):
    for name in ("-a.yaml", "=a.hyper"):
        Path(name).write_text("epochs: 1\n")
    before = sorted(map(str, Path().iterdir()))
    assert cli.main(arguments) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and error.strip().isprintable()
    assert sorted(map(str, Path().iterdir())) == before
