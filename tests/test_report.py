"""The report: its figures, and the page in a real browser."""

import itertools
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import write_run
from matplotlib.backends.backend_agg import FigureCanvasAgg

from recbole_cfgdiff.errors import TrainingError
from recbole_cfgdiff.files import write_json
from recbole_cfgdiff.reporting import figures
from recbole_cfgdiff.reporting.report import report, write_sweep
from recbole_cfgdiff.runs.spec import RECORD, Run, make_folder

CHROMIUM = shutil.which("chromium")
LABELS = ["A model with a rather long name (published settings)", "B", "C <i>& $a$", "D"]


def made_up_runs(output):
    """Four models, two seeds, random hits of 40 users."""
    random = np.random.default_rng(0)
    return [
        write_run(output, label, seed, list(map(int, random.random(40) < 0.2 + 0.2 * index)))
        for index, label in enumerate(LABELS)
        for seed in (2020, 2021)
    ]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    output = tmp_path_factory.mktemp("report")
    report("A <made-up> comparison", made_up_runs(output), output)
    return output / "report.html"


def test_the_page_needs_nothing_else(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!data:)""", text) and "<script" not in text and "@import" not in text
    assert "A &lt;made-up&gt; comparison" in text and "C &lt;i&gt;&amp; $a$" in text and "<i>" not in text
    assert "permutation" in text and "2020" not in text.partition("<footer>")[2]


def test_every_figure_is_there_as_png_and_pdf(page):
    names = {path.stem for path in (page.parent / "figures").iterdir()}
    assert {"toy-learning", "toy-cost", "toy-history-length", "toy-popularity", "toy-guidance-recall-2"} <= names
    for name in names:
        assert (page.parent / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (page.parent / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert page.read_text(encoding="utf-8").count("data:image/svg+xml;base64,") == len(names)


def test_the_same_results_make_the_same_files(page, tmp_path):
    report("A <made-up> comparison", made_up_runs(tmp_path), tmp_path)
    for name in ("report.html", "figures/toy-cost.pdf", "figures/toy-cost.png", "summary.tex", "groups.csv"):
        assert (tmp_path / name).read_bytes() == (page.parent / name).read_bytes(), name


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


# Rectangles of the page's blocks, left out those inside of another, and of the words inside of table cells.
BLOCKS = """() => [...document.querySelectorAll('h1, h2, summary, p, .notes, .table, figure, footer')]
    .filter(block => block.checkVisibility({contentVisibilityAuto: true}))
    .map(block => block.getBoundingClientRect())
    .map(({left, top, right, bottom}) => [left, top, right, bottom])"""
TEXT = """() => [...document.querySelectorAll('body *')]
    .filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(element => parseFloat(getComputedStyle(element).fontSize))"""
IMAGES = "() => [...document.images].map(image => [image.complete, image.naturalWidth, image.clientWidth])"


@pytest.mark.parametrize("is_unfolded", [False, True])
@pytest.mark.parametrize("width", [1200, 400])
def test_the_page_is_readable_offline(width, is_unfolded, page, browser):
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    view = context.new_page()
    complaints = []
    view.on("console", lambda message: complaints.append(message.text))
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.on("requestfailed", lambda request: complaints.append(request.url))
    view.goto(page.as_uri())
    if is_unfolded:
        view.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    blocks = view.evaluate(BLOCKS)
    assert len(blocks) > (25 if is_unfolded else 15)
    for (left, top, right, bottom), (left2, top2, right2, bottom2) in itertools.combinations(blocks, 2):
        apart = right <= left2 + 0.5 or right2 <= left + 0.5 or bottom <= top2 + 0.5 or bottom2 <= top + 0.5
        assert apart
        assert left >= 0 and right <= width
    assert min(view.evaluate(TEXT)) >= 10  # the star of a significant difference
    for complete, natural, shown in view.evaluate(IMAGES):
        assert complete and natural > 0
        assert shown >= 0.9 * natural  # so that a figure's 8 points stay readable
    hint, table = "getComputedStyle(document.querySelector('.table'), '::before')", "document.querySelector('.table')"
    assert view.evaluate(f"{hint}.display") == ("none" if width == 1200 else "block")
    # What is not the model's name has room beside it, which stays where it is.
    assert view.evaluate(f"{table}.querySelector('td').clientWidth < 0.6 * {table}.clientWidth")
    assert complaints == []
    context.close()


def test_the_sentence_comes_first_then_one_table_and_the_rest_is_folded(page):
    text = page.read_text(encoding="utf-8").partition("<h2>toy</h2>")[2]
    assert "D is first by recall@2, 0.7250" in text.partition("<table>")[0]
    folded = text.partition("<details>")[2].partition("</section>")[0]
    before = text.partition("<details>")[0]
    assert before.count("<table>") == 1 and "recall@2" in before and "recall@1</th>" not in before
    assert "recall@1</th>" in folded and before.count("<figure>") == text.count("<figure>") > 4
    assert "*: differs significantly from the best of the other models" in before.partition("</table>")[2]


def drawn(drawing):
    canvas = FigureCanvasAgg(drawing.figure)
    canvas.draw()
    return canvas.get_renderer()


def test_labels_of_many_groups_do_not_overlap():
    names = ["0", "1-5", "6-10", "11-20", "21-50", "51-100", "101-200", "201+"]
    table = pd.DataFrame({"group": names, "members": [123456] * 8, "value": np.linspace(0, 1, 8)})
    of_model = dict.fromkeys(LABELS, table)
    drawing = figures.by_group(of_model, "history length (users)", "ndcg@10", "x", "caption")
    renderer = drawn(drawing)
    axes = drawing.figure.axes[0]
    boxes = [label.get_window_extent(renderer) for label in axes.get_xticklabels()]
    assert len(boxes) == 8
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
    legend = drawing.figure.legends[0].get_window_extent(renderer)
    assert not legend.overlaps(axes.get_tightbbox(renderer))
    assert legend.x0 >= 0 and legend.x1 <= drawing.figure.bbox.width


def test_a_group_that_one_model_lacks_keeps_the_places_of_the_others():
    first = pd.DataFrame({"group": ["0", "1-5"], "members": [1, 2], "value": [0.1, 0.2]})
    drawing = figures.by_group({"A": first, "B": first.iloc[1:]}, "x", "y", "name", "caption")
    assert [list(line.get_xdata()) for line in drawing.figure.axes[0].lines] == [[0, 1], [1]]


def test_the_mean_curve_ends_where_the_first_seed_does():
    long = pd.DataFrame({"epoch": [0, 1, 2], "valid_score": [0.1, 0.3, 0.9]})
    drawing = figures.learning_curves({"A": [long, long.iloc[:2]]}, ["A"], "ndcg@10", "toy")
    *seeds, mean = drawing.figure.axes[0].lines
    assert [len(line.get_xdata()) for line in seeds] == [3, 2]
    assert list(mean.get_xdata()) == [1, 2] and list(mean.get_ydata()) == [0.1, 0.3]


def test_every_entry_of_a_legend_has_a_line_or_a_point():
    curve = pd.DataFrame({"epoch": [0, 1, 2], "valid_score": [0.1, 0.3, 0.9]})
    drawing = figures.learning_curves(
        {"A": [curve] * 2, "once": [curve.iloc[:1]] * 2}, ["A", "once", "none"], "m", "toy"
    )
    assert [text.get_text() for text in drawing.figure.legends[0].get_texts()] == ["A", "once"]
    level = drawing.figure.axes[0].lines[-1]
    assert level.get_linestyle() == ":" and list(level.get_ydata()) == [0.1, 0.1] and list(level.get_xdata()) == [0, 1]


def test_groups_of_few_are_hollow():
    table = pd.DataFrame({"group": ["0", "1-5", "6-10"], "members": [29, 30, 1], "value": [0.1, 0.2, 0.3]})
    drawing = figures.by_group({"A": table}, "x", "y", "name", "caption")
    (hollow,) = drawing.figure.axes[0].collections
    assert hollow.get_offsets().tolist() == [[0, 0.1], [2, 0.3]]
    assert hollow.get_facecolor().tolist() == [[1, 1, 1, 1]]


def test_hollow_marks_are_said(page):
    text = page.read_text(encoding="utf-8")
    assert "recall@2 by history length on toy; hollow: fewer than 30." in text
    assert "recall@2 by popularity of the target on toy." in text  # of 40 targets


def test_no_two_of_many_models_look_the_same():
    labels = [f"m{index}" for index in range(20)]
    table = pd.DataFrame({"model": labels, "training_seconds": 1.0, "x": 0.5})
    lines = figures.cost(table, labels, "x", "toy").figure.axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 20


def test_a_sweep_alone_leaves_figures_and_its_table(tmp_path):
    run = write_run(tmp_path, "A", 2020, [1, 0])
    table = pd.read_csv(run.folder(tmp_path) / "sweep.csv")
    write_sweep(table, "A", "toy", ["recall@2", "novelty@2"], tmp_path / "new" / "sweep")
    names = {path.name for path in (tmp_path / "new" / "sweep").iterdir()}
    assert {"sweep.csv", "toy-guidance-recall-2.png", "toy-guidance-novelty-2.pdf"} <= names


def test_failed_runs_and_unequal_effort_stand_above_the_tables(tmp_path):
    runs = [write_run(tmp_path, "A", 2020, [1, 0], "tuned: 5 trials"), write_run(tmp_path, "B", 2020, [0, 0])]
    failed = failed_run(tmp_path)
    report("Failures", [*runs, failed], tmp_path)
    notes = (tmp_path / "report.html").read_text(encoding="utf-8").partition('class="notes"')[2].partition("</div>")[0]
    assert "F on toy, seed 2020 failed: out of luck" in notes and "Unequal effort" in notes
    table = pd.read_csv(tmp_path / "results.csv").set_index("model")
    assert table.loc["F", "error"] == "out of luck" and np.isnan(table.loc["F", "recall@2"])
    assert "Unequal effort" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "Unequal effort" in (tmp_path / "summary.tex").read_text(encoding="utf-8")


def failed_run(output: Path) -> Run:
    run = Run("F", "F", "toy", 2020, {}, "shipped YAML")
    make_folder(run, run.folder(output))
    record = {"dataset": "toy", "model": "F", "seed": 2020, "status": "failed", "error": "out of luck"}
    write_json(run.folder(output) / RECORD, {**record, "config_hash": run.config_hash})
    return run


def test_without_any_result_there_is_no_report(tmp_path):
    with pytest.raises(TrainingError, match="all runs failed; the first: out of luck"):
        report("Failures", [failed_run(tmp_path)], tmp_path)
    assert (tmp_path / "results.csv").is_file() and not (tmp_path / "report.html").exists()
