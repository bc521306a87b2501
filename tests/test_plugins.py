"""Modules of the user's own by the option plugins: in commands, and in the processes that do runs."""

import json
import os
import sys
from pathlib import Path

import pytest
from recbole.model.general_recommender import BPR

from recbole_cfgdiff.commands.cli import main
from recbole_cfgdiff.diffusion.encoders import GUIDANCE_ENCODERS
from recbole_cfgdiff.diffusion.samplers import SAMPLERS
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model import MODELS
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.overlay.foreign_options import check_data_options, options_of_checkpoint
from recbole_cfgdiff.overlay.plugins import import_plugins
from recbole_cfgdiff.quick_start import run
from recbole_cfgdiff.runs.pool import search_path
from recbole_cfgdiff.runs.spec import Variant, make_runs, options_of
from recbole_cfgdiff.tuning.tune import plan_search

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MINE = """
from dataclasses import dataclass
from pathlib import Path
from recbole_cfgdiff.model import MODELS, DiffRec
from recbole_cfgdiff.scoring.hyperparameters import DiffRecHyperparameters, hyperparameter
from recbole_cfgdiff.options import Integer

@dataclass(frozen=True)
class MineHyperparameters(DiffRecHyperparameters):
    n_mine: int = hyperparameter(1, Integer(1), "Of mine.")

class Mine(DiffRec):
    hyperparameters_class = MineHyperparameters

MODELS["Mine"] = Mine
Path("imported").open("a").write(".")
"""
SHORT = ("--epochs=1", "--show_progress=False", "--state=ERROR")


class Unregistered(BPR):
    """Of this process only."""


@pytest.fixture(autouse=True)
def nothing_stays_imported():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("my_", "own_")):
            del sys.modules[name]


@pytest.fixture
def mine(empty_folder):
    """``code/my_mine.py``, which registers the model Mine."""
    Path("code").mkdir()
    Path("code/my_mine.py").write_text(MINE)
    return "code/my_mine.py"


def forget():
    """As another process, which has not imported it."""
    del MODELS["Mine"], sys.modules["my_mine"]


def test_a_run_and_what_is_made_of_it_take_a_model_from_a_file(mine, tiny, cli, capfd):
    options = (f"--plugins={mine}", "--run_name=it", *SHORT)
    assert cli("--model=Mine", "--dataset=tiny", "--n_mine=3", *options).status == 0
    assert Path("imported").read_text() == "."  # once, and a second time in what is another process
    forget()
    assert "needs the file that registers it: --plugins=FILE.py" in cli("--resume=saved/it", "--epochs=2").err
    assert "plugins" in checkpoint.load(Path("saved/it/last.pth"))["options"]
    assert cli("--resume=saved/it", "--epochs=2", f"--plugins={mine}").status == 0
    assert Path("imported").read_text() == ".."
    forget()
    assert main(["sweep", "--checkpoint=saved/it", f"--plugins=['{mine}']"]) == 2
    assert "Mine has no guidance scale" in capfd.readouterr().err
    forget()
    assert main(["recommend", "--checkpoint=saved/it", f"--plugins={mine}", "--history=i1,i2"]) == 0
    forget()
    assert main(["export", "--checkpoint=saved/it", f"--plugins={mine}", "--output=exported"]) == 2
    assert "the scores of Mine need RecBole" in capfd.readouterr().err


def test_compare_and_the_processes_of_its_runs_take_it(mine, tiny, capfd):
    Path("code/my_sampler.py").write_text((EXAMPLES / "own_sampler.py").read_text())
    options = ["--sampler=halfway", f"--plugins=['{mine}', 'code/my_sampler.py']", *SHORT]
    command = ["compare", "--dataset=tiny", "--seeds=1", "--output=out", *options]
    assert main([*command, "--models=Mine"]) == 0, capfd.readouterr().err
    spec = json.loads(Path("out/runs/tiny/Mine/2020/spec.json").read_text())
    assert spec["options"]["plugins"] == [os.path.abspath(mine), os.path.abspath("code/my_sampler.py")]
    assert "plugins" not in json.loads(Path("out/experiment.json").read_text())["options"]  # models can be added


def test_a_module_beside_the_user_is_found_by_workers_too(empty_folder, monkeypatch):
    assert os.getcwd() not in search_path().split(os.pathsep)
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as python -m
    assert search_path().split(os.pathsep)[-1] == os.getcwd()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "plugins: there is no file {path}"),
        ("import nowhere\n", "plugins: {path}, line 1: ModuleNotFoundError: No module named 'nowhere'"),
        ("def f():\n    return 1 / 0\n\nf()\n", "plugins: {path}, line 2: ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)\n", "plugins: {path}, line 1: SystemExit: 0"),
        ("x = (\n", "plugins: {path}: SyntaxError: '(' was never closed (my_broken.py, line 1)"),
        (
            "from recbole_cfgdiff.diffusion import register_sampler\n\nregister_sampler('ddpm')(len)\n",
            "plugins: {path}, line 3: ValueError: sampler: there is a 'ddpm' already",
        ),
    ],
)
def test_what_fails_in_a_plugin_is_one_line_that_says_where(content, told, tiny, cli):
    if content is not None:
        Path("my_broken.py").write_text(content)
    for _ in range(2):  # what failed is not taken for imported
        outcome = cli("--model=Pop", "--dataset=tiny", "--plugins=my_broken.py")
        assert outcome.status == 2 and len(outcome.err.splitlines()) == 1
        assert outcome.err.startswith("error: " + told.format(path=os.path.abspath("my_broken.py")))
    if content is not None:
        assert "Traceback" in cli("--model=Pop", "--dataset=tiny", "--plugins=my_broken.py", "--debug").err


@pytest.mark.parametrize(
    ("plugins", "told"),
    [
        ("my_nowhere", "plugins: my_nowhere: ModuleNotFoundError: No module named 'my_nowhere'"),
        (["a/queue.py"], "queue.py: rename it"),
        ("a/torch.py", "torch.py: rename it"),
        ("a/my-model.py", "my-model.py: rename it"),
        (3, "plugins: expected .*such as my_model.py, or a list of them.*, got 3"),
    ],
)
def test_what_is_no_plugin_is_refused(plugins, told, empty_folder):
    Path("a").mkdir()
    for name in ("queue", "torch", "my-model"):
        Path(f"a/{name}.py").touch()
    with pytest.raises(ConfigError, match=told):
        import_plugins(plugins)


def test_the_file_of_a_module_that_is_there_is_not_run_again(empty_folder, monkeypatch):
    import_plugins(__file__)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", os.path.abspath("my_script.py"), raising=False)
    import_plugins("my_script.py")  # does not exist
    Path("my_here.py").write_text("from pathlib import Path\nPath('imported').open('a').write('.')\n")
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as python -m
    for name in ("my_here.py", "my_here", f"{os.getcwd()}/../{Path.cwd().name}/my_here.py"):
        import_plugins(name)
    assert Path("imported").read_text() == "."


def test_files_of_others_name_no_plugins(tiny):
    with pytest.raises(ConfigError, match="refused, it sets plugins"):
        check_data_options({"plugins": "evil.py"}, BPR, "tiny.yaml")
    Path("any").touch()
    assert options_of_checkpoint({"plugins": "evil.py"}, BPR, Path("any")) == {}
    Path("a.hyper").write_text("plugins choice ['evil.py']\n")
    with pytest.raises(ConfigError, match=r"a.hyper: plugins are imported, not searched"):
        plan_search("Pop", tiny, Path("a.hyper"))


def test_a_run_of_another_process_finds_the_file(mine, tiny):
    config = Config("Mine", tiny, config_dict={"plugins": mine})
    assert options_of(config)["plugins"] == [os.path.abspath(mine)]
    runs = [make_runs([Variant("Pop", "Pop", {})], [tiny], 1, options=given) for given in ({}, {"plugins": mine})]
    assert len({run.config_hash for (run,) in runs}) == 1


def test_what_only_this_process_knows_is_refused_where_others_do_the_runs(tiny, monkeypatch):
    monkeypatch.setitem(MODELS, "Unregistered", Unregistered)
    told = "Unregistered is registered in this process only.*--plugins=FILE.py"
    with pytest.raises(ConfigError, match=told):
        make_runs([Variant("it", "Unregistered", {})], [tiny], 1)
    Path("a.hyper").write_text("embedding_size choice [4, 8]\n")
    with pytest.raises(ConfigError, match=told):
        plan_search("Unregistered", tiny, Path("a.hyper"))


def test_a_class_that_its_checkpoints_could_not_name_is_not_trained(tiny):
    with pytest.raises(ConfigError, match=r"set recbole_cfgdiff.model.MODELS\['Unregistered'\] to it"):
        run(Unregistered, tiny, config_dict={"epochs": 1, "state": "ERROR"})
    assert not Path("saved").exists()


def test_the_examples_are_plugins(monkeypatch):
    names = ("own_model", "own_sampler", "own_encoder")
    for name in names:  # tests/test_own_examples.py imports them, too
        monkeypatch.delitem(sys.modules, name, raising=False)
    import_plugins([str(EXAMPLES / f"{name}.py") for name in names])
    assert "LatestCFGDiffRec" in MODELS and "halfway" in SAMPLERS and "gru" in GUIDANCE_ENCODERS
