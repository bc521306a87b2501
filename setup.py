"""What pyproject.toml has no place for: the YAML files lie at the top of a checkout and travel inside the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["recbole_cfgdiff", "recbole_cfgdiff.*"]), "recbole_cfgdiff._properties"],
    package_dir={"recbole_cfgdiff._properties": "properties"},
    package_data={
        "recbole_cfgdiff": ["py.typed"],
        "recbole_cfgdiff._properties": ["*.yaml", "*/*.yaml", "*/*.csv", "*/*.hyper"],
        "recbole_cfgdiff.reporting": ["*.jinja"],
        "recbole_cfgdiff.serving": ["*.html"],
    },
)
