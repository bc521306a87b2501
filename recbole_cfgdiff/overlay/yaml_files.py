"""YAML files of users and of others: plain values only, of bounded size, no key twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
import yaml.constructor
from recbole.config import Config

from recbole_cfgdiff.errors import ConfigError

_MOST_BYTES = 2**20
# An alias counts as often as it is used: nine lines of them can stand for a billion values.
_MOST_VALUES = 100_000
_MOST_CHARACTERS = 16 * _MOST_BYTES
_MOST_KEYS = 10_000
_LONGEST_NUMBER = 400


class _Loader(yaml.SafeLoader):
    """YAML's plain values; unlike PyYAML's, a key that stands twice is an error, and ``1e-3`` a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool, type(None))):
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} can't be a key", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MOST_KEYS:
            raise yaml.constructor.ConstructorError(None, None, f"more than {_MOST_KEYS} keys", node.start_mark)

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        if len(node.value) > _LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(None, None, "a number that is too long", node.start_mark)
        is_int = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)
# RecBole reads 1e-3 as a number, PyYAML alone as text.
_Loader.yaml_implicit_resolvers = Config._build_yaml_loader(None).yaml_implicit_resolvers


def read_yaml(path: Path) -> dict[str, Any]:
    """The options of a YAML file; none of an empty one.

    Raises:
        ConfigError: if it can't be read, is not of lines ``key: value``, has a key twice, or is too large.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ConfigError(f"{path}: expected options, found more than {_MOST_BYTES >> 20} MiB")
        content = yaml.load(text.decode("utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{where}: {error.problem or error}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        found = "other keys than names" if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"{path}: expected lines of `key: value`, found {found}")
    _count(content, path)
    return content


def _count(content: Any, path: Path) -> None:
    count, characters, left = 0, 0, [content]
    while left:
        value = left.pop()
        count += 1
        characters += len(value) if isinstance(value, str) else 0
        if count > _MOST_VALUES or characters > _MOST_CHARACTERS:
            raise ConfigError(f"{path}: expected options, found more than {_MOST_VALUES} values, or too much text")
        left += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
