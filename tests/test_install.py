"""What the package requires, and that its wheel carries all that a run needs."""

import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
OURS = {canonicalize_name(r.name): r for r in map(Requirement, PYPROJECT["project"]["dependencies"])}
RECBOLES = {canonicalize_name(r.name): r for r in map(Requirement, requires("recbole")) if r.marker is None}
NOT_IMPORTED = {"ray", "plotly"}  # but for RecBole's own search; see pyproject.toml


def test_what_recbole_requires_is_required_here():
    """RecBole is installed without its requirements, so that each has to stand in ours."""
    assert RECBOLES.keys() - OURS.keys() == NOT_IMPORTED


@pytest.mark.parametrize("name", sorted(RECBOLES.keys() - NOT_IMPORTED))
def test_our_oldest_version_of_a_requirement_is_one_that_recbole_allows(name):
    oldest = [specifier.version for specifier in OURS[name].specifier if specifier.operator == ">="]
    assert oldest and all(version in RECBOLES[name].specifier for version in oldest)


def test_constraints_hold_every_requirement_to_one_version_each_python():
    extras = PYPROJECT["project"]["optional-dependencies"]
    names = {canonicalize_name(Requirement(line).name) for lines in extras.values() for line in lines} | OURS.keys()
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    held = [Requirement(line) for line in lines if not line.startswith("#")]
    for python in ("3.11", "3.13", "3.14"):
        environment = {"python_version": python, "python_full_version": f"{python}.0"}
        here = [canonicalize_name(r.name) for r in held if r.marker is None or r.marker.evaluate(environment)]
        assert len(here) == len(set(here))
        assert names - {"recbole-cfgdiff"} <= set(here)
    assert all(str(r.specifier).startswith("==") for r in held)


def test_the_wheel_works_in_an_empty_folder(empty_folder):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "wheels"]
    copy = empty_folder / "copy"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((CHECKOUT / name).read_bytes())
    subprocess.run([*build, str(copy)], check=True)
    installed = empty_folder / "installed"
    with zipfile.ZipFile(next(Path("wheels").glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    elsewhere = empty_folder / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-m", "recbole_cfgdiff", "run", "--model=CFGDiffRec", "--dataset=ml-100k", "--epochs=1"]
    where = "import recbole_cfgdiff.properties as p; print(p.PROPERTIES)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    used = subprocess.run([sys.executable, "-c", where], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert used.stdout.strip() == str(installed / "recbole_cfgdiff" / "_properties")
    outcome = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert "ndcg@10" in outcome.stdout
    compare = [sys.executable, "-m", "recbole_cfgdiff", "compare", "--models=Pop", "--dataset=ml-100k", "--seeds=1"]
    subprocess.run([*compare, "--output=out"], cwd=elsewhere, env=environment, capture_output=True, check=True)
    assert "<h1>Comparison on ml-100k</h1>" in (elsewhere / "out" / "report.html").read_text(encoding="utf-8")
    properties = installed / "recbole_cfgdiff" / "_properties"
    assert (properties / "paper" / "table2.csv").is_file() and (properties / "hyper" / "EASE.hyper").is_file()
