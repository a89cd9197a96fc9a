"""The options of a feature: its parameters, as its documentation explains them."""

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

BOUND = ("samplerate", "window")  # they are those of the job
# A parameter in a docstring: its name, its type, and what is said of it.
PARAMETER = re.compile(r"^(\w+) : (.*)\n((?:    .*\n|\n)+)", re.M)


def named(arguments: Sequence[str], option: str) -> str | None:
    """What a command line passes for an option, the last time."""
    found = None
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        if argument == option:
            found = following
        elif argument.startswith(f"{option}="):
            found = argument.partition("=")[2]
    return found


def feature_of(arguments: Sequence[str]) -> str:
    """The name of the feature that a command line, or the run file that it names, is for."""
    from pipeline.yaml_files import load_yaml

    name, config = named(arguments, "--feature"), named(arguments, "--config")
    if name is None and config is not None:
        with suppress(OSError, ValueError):  # said where the file is read
            name = load_yaml(Path(config)).get("feature")
            name = name.get("name") if isinstance(name, dict) else name
    return name if isinstance(name, str) else "spectrogram"


def parameters_of(name: str, preset: str | None = None) -> dict[str, Any]:
    """The parameters of a feature that are options, with their defaults."""
    from pipeline.features import find_feature  # with NumPy, which help of other verbs needs not

    kind = find_feature(name)
    if not dataclasses.is_dataclass(kind):
        return {}
    presets = getattr(kind, "PRESETS", {})
    own: dict[str, Any] = {"preset": preset} if presets else {}
    for field in dataclasses.fields(kind):
        if field.init and field.name not in BOUND:
            own[field.name] = field.default
    return own | dict(presets.get(preset, {}))


def rows_of(name: str, preset: str | None) -> Iterator[tuple[str, str, str]]:
    """Of each parameter that is an option the flag, what follows it, and what it does."""
    from pipeline.features import find_feature

    kind = find_feature(name)
    presets = "|".join(getattr(kind, "PRESETS", ()))
    explained = {"preset": (presets, "All parameters as this tool has them; others override it")}
    for base in reversed(getattr(kind, "__mro__", ())):
        explained |= _explained(inspect.cleandoc(base.__doc__ or "") + "\n")
    for parameter, default in parameters_of(name, preset).items():
        metavar, text = explained.get(parameter, ("VALUE", "Of the feature"))
        yield f"--{parameter.replace('_', '-')}", metavar, _with_default(text, default)


def _explained(docstring: str) -> dict[str, tuple[str, str]]:
    """The values of each parameter in short, and what a docstring says of it."""
    found = {}
    for name, kind, text in PARAMETER.findall(docstring):
        words = re.findall(r"\"(\w+)\"", kind) if kind.startswith("{") else []
        words += ["none"] if words and "None" in kind else []
        found[name] = "|".join(words) or "VALUE", _plain(text)
    return found


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split()).rstrip(".")


def _with_default(text: str, default: Any) -> str:
    """The first sentence and the default; all of it where it says itself what that is."""
    first = text.partition(". ")[0]
    if default is None and "not given" in text:
        return f"{text}."
    if default is dataclasses.MISSING:
        return f"{first}."
    return f"{first}. Default: {json.dumps(default, default=str).replace('null', 'none')}."
