from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
_TUNE = ["hyperopt==0.2.5", "future", "six"]
_RAY = [*_TUNE, "pyarrow<21"]

setup(
    name="recbole-cfgdiff",
    version="0.1.0",
    description="DiffRec and CFG-DiffRec, diffusion recommenders, as a plugin for RecBole",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=[*find_packages(include=["recbole_cfgdiff", "recbole_cfgdiff.*"]), "recbole_cfgdiff._properties"],
    # The YAML files lie at the top of a checkout and travel inside the package.
    package_dir={"recbole_cfgdiff._properties": "properties"},
    package_data={
        "recbole_cfgdiff._properties": ["*.yaml", "*/*.yaml", "*/*.csv", "*/*.hyper"],
        "recbole_cfgdiff.reporting": ["*.jinja"],
    },
    # RecBole needs ray <= 2.6.3, which has no wheel for Python 3.12 and later.
    python_requires=">=3.9,<3.12",
    install_requires=[
        "recbole==1.2.1",  # the overlay builds on its internals
        "torch>=2.6",  # its load takes plain values only; older ones run what a file says
        "numpy>=1.23,<2",  # RecBole uses np.float_, ray 2.6.3 np.bool8: both gone in numpy 2
        "scipy>=1.9,<1.13",  # RecBole's LightGCN, NGCF and others use dok_matrix._update, gone in scipy 1.13
        "pandas>=1.5,<3",  # RecBole fills columns in place through df[column], which pandas 3 does not write back
        "setuptools<81",  # ray 2.6.3 imports pkg_resources, gone in setuptools 81
        "pyyaml>=6",
        "tabulate>=0.8.10",
        "filelock>=3.4",  # one process at a time in the folder of an experiment
        "jinja2>=3",  # report.html
        "matplotlib>=3.7",  # the figures of reports; 3.7 has legends outside of the axes
    ],
    extras_require={
        # Of hyperopt 0.3.0 RecBole's exhaustive search fails; 0.2.5 imports future and six.
        "tune": _TUNE,
        # Ray Tune 2.6.3 (RecBole requires the version, without what its Tune needs) imports what pyarrow 21 dropped.
        "ray": _RAY,
        "dev": [
            *_RAY,
            "pytest>=7",
            "hypothesis>=6",
            "ruff>=0.5",
            "mypy>=1.8",
            "types-PyYAML",
            "types-tabulate",
            "playwright>=1.40",  # drives Chromium in the test of report.html
        ],
    },
)
