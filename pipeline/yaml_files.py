"""YAML files, read safely and as YAML 1.2 means them."""

import math
import re
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Safe YAML, in which 1e-6 is a number, 12:00:00 is text, and no key is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), "-+0123456789"
)
for _resolvers in _Loader.yaml_implicit_resolvers.values():
    # The first that fits is taken: a time or an offset, before it is a number to the base of 60.
    _resolvers.insert(0, ("tag:yaml.org,2002:str", re.compile(r"[-+]?[0-9]+(:[0-5]?[0-9])+$")))


def load_yaml(path: Path) -> dict[str, Any]:
    """Read names and values from a YAML file; ValueError if it is none, or holds none."""
    try:
        values = yaml.load(path.read_text("utf-8-sig"), _Loader)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; give the path of a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "it is not text"
        raise ValueError(f"{path} is not valid YAML{line}: {problem}; fix it there") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no mapping; it must be lines of the form 'name: value'")
    return values


def dump_yaml(values: dict[str, Any]) -> str:
    """Names and values as YAML, in their order."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=math.inf)


def parse_value(text: str) -> Any:
    """The value that run.yaml would have for this text, or None for "none"."""
    if text.lower() == "none":
        return None
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text
