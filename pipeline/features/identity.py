"""Identity: by what a feature is known again, in another run and on another host.

Ours are known by their name in the registry and by their parameters. One of a
user's own is known by where it is found, by its parameters, and by the source of
the modules that its class and the classes below it come from; or, in place of
the source, by a ``version`` that it declares.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import json
import linecache
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType
from typing import Any

from pipeline.features.feature import Feature
from pipeline.features.plain_values import UnknownError, is_found, name_of, plain, state_of
from pipeline.features.registry import FRONTEND, registered_name

SHOWN = 8  # of the digits of a digest
OURS = "pipeline"
MODEL = "model"  # what a feature is known by, and the parameter that says where that is
DIGESTS = ("source", MODEL)
VERSION = "give it an attribute version, a text or a whole number to change with its code"


@dataclass(frozen=True)
class Code:
    """By what the code of a feature is known.

    That is this package, its version, the SHA-256 of its source, or that of a model and what
    computes it.
    """

    by: str  # "package", "version", "source" or "model"
    value: str | int = ""
    frontend: Code | None = dataclasses.field(
        default=None, compare=False
    )  # of the feature below it

    def __str__(self) -> str:
        digest, *rest = str(self.value).split(" ", 1)
        return " ".join([digest[:SHOWN], *rest]) if self.by in DIGESTS else str(self.value)

    def change(self, new: Code) -> str:
        """What has changed from this code to another, for people."""
        if self.by == new.by:
            return f"its {self.by} was {self}, and is now {new}"
        return f"it was known by its {self.by} {self}, and is now by its {new.by} {new}"


@dataclass(frozen=True)
class FeatureIdentity:
    """What a feature is: its name in the registry or module, and plain values."""

    name: str
    parameters: dict[str, Any]
    defaults: dict[str, Any]
    code: Code
    frontend: FeatureIdentity | None = None

    @property
    def deciding(self) -> dict[str, Any]:
        """The parameters that change the values: of a model its digest does, not where it is."""
        known_by = MODEL if self.code.by == MODEL else None
        return {name: value for name, value in self.parameters.items() if name != known_by}

    def as_dict(self) -> dict[str, Any]:
        """What tells it from others; a parameter that is added later changes nothing."""
        # A version says nothing of defaults, which may be others at the next.
        defaults = {} if self.code.by == "version" else self.defaults
        parameters = without_defaults(self.deciding, defaults)
        if self.frontend is not None:
            parameters[FRONTEND] = self.frontend.as_dict()
        return {
            "name": self.name,
            "parameters": parameters,
            "code": (self.code.by, self.code.value),
        }

    def description(self) -> dict[str, Any]:
        """The same for people: all parameters, and the code in short."""
        code = {} if self.code.by == "package" else {self.code.by: str(self.code)}
        below = {} if self.frontend is None else {FRONTEND: self.frontend.description()}
        return {"name": self.name, "parameters": self.parameters | below, **code}


def without_defaults(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not as they are where nothing is given."""
    return {
        name: value
        for name, value in values.items()
        if name not in defaults or not is_same(value, defaults[name])
    }


def is_same(one: Any, other: Any) -> bool:
    """Whether two plain values are the same; 1, 1.0 and true are not."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def identify(feature: Feature) -> FeatureIdentity:
    """What a feature is, unless neither its code nor a version tells it from others."""
    code, name = code_of(feature), registered_name(feature) or name_of(_kind(feature))
    frontend = _frontend_of(feature)
    parameters = _parameters(feature, name, code.by == "version", frontend)
    below = None if frontend is None else identify(frontend)
    return FeatureIdentity(name, parameters, _defaults(feature), code, below)


def _frontend_of(feature: Feature) -> Feature | None:
    """The feature below one of ours."""
    frontend: Feature | None = getattr(feature, FRONTEND, None)
    return frontend if registered_name(feature) else None


def _parameters(
    feature: Feature, name: str, vouched: bool, frontend: Feature | None
) -> dict[str, Any]:
    """Its parameters as plain values; where a version vouches for it, as far as they have one."""
    where, parameters = "it", {}
    try:
        state = dict(vars(feature)) if _kind(feature) is feature else state_of(feature)
        for where, value in state.items():
            if value is frontend and value is not None:  # it has an identity of its own
                continue
            try:
                parameters[where] = plain(value)
            except UnknownError:
                if not vouched:
                    raise
                parameters[where] = {"of": name_of(type(value))}
    except UnknownError as error:
        if not vouched:
            raise ValueError(
                f"of the feature {name}, {where} is or holds {error}, of which another run could "
                f"not say whether it is the same; {VERSION}"
            ) from error
    return parameters


def _defaults(feature: Any) -> dict[str, Any]:
    """The plain ones among the defaults of a dataclass."""
    defaults = {}
    for field in dataclasses.fields(feature) if dataclasses.is_dataclass(feature) else ():
        if field.default is not dataclasses.MISSING:
            with suppress(UnknownError):
                defaults[field.name] = plain(field.default)
    return defaults


def _kind(feature: Feature) -> Any:
    """The class of a feature, or the function that it is."""
    return feature if isinstance(feature, FunctionType) else type(feature)


def code_of(feature: Feature) -> Code:
    """By what the code of a feature is known, as it was when first asked in this process."""
    if registered_name(feature):
        return _code_of_ours(feature)
    kind, version = _kind(feature), getattr(feature, "version", None)
    if isinstance(version, str | int) and not isinstance(version, bool):
        return Code("version", version)
    name = name_of(kind)
    if version is not None:
        raise ValueError(
            f"the version of the feature {name} is {version!r}; it must be a text or a whole number"
        )
    try:
        return Code("source", _source_digest(kind))
    except (OSError, TypeError, SyntaxError) as error:
        raise ValueError(
            f"the source of the feature {name} cannot be had, so that another run could not say "
            f"whether it was changed; {VERSION}"
        ) from error


def _code_of_ours(feature: Any) -> Code:
    model, frontend = getattr(feature, "model_identity", None), _frontend_of(feature)
    below = None if frontend is None else code_of(frontend)
    return Code("package") if model is None else Code(MODEL, model, below)


def other_code(feature: Feature, code: Code) -> str | None:
    """What the code of a feature is here, if another than that; None where it is the same.

    Nor is it another where it came with the feature, as that of a script or a
    notebook does.
    """
    kind = _kind(feature)
    if kind.__module__ == "__main__" or not is_found(kind):
        return None
    try:
        here = code_of(feature)
    except ValueError as error:
        return str(error)
    except (OSError, ImportError) as error:
        return f"no model that can be used ({error})"
    if here == code:
        below = _frontend_of(feature)
        return other_code(below, code.frontend) if below and code.frontend else None
    return (
        f"other code of the feature {name_of(kind)}: {here.by} {here} where the client has "
        f"{code.by} {code}"
    )


@lru_cache(maxsize=256)  # what counts is what was imported, not what stands in the file later
def _source_digest(kind: Any) -> str:
    """SHA-256 of the source of a class and those below it, by modules."""
    kinds = kind.__mro__ if isinstance(kind, type) else (kind,)
    not_theirs = sys.stdlib_module_names | {OURS}
    own = [k for k in kinds if k is kind or k.__module__.partition(".")[0] not in not_theirs]
    texts = {k.__module__ if _has_file(k) else name_of(k): _source(k) for k in own}
    return hashlib.sha256("".join(texts.values()).encode("utf-8", "surrogatepass")).hexdigest()


def _has_file(kind: Any) -> bool:
    return hasattr(sys.modules.get(kind.__module__), "__file__")


def _source(kind: Any) -> str:
    """The text of a module, or of what was typed into a notebook."""
    if _has_file(kind):
        return inspect.getsource(sys.modules[kind.__module__])
    return inspect.getsource(kind) if isinstance(kind, FunctionType) else _typed_class(kind)


def _typed_class(kind: type) -> str:
    """The text of a class in the cell that defines it, which `inspect` does not find."""
    functions = [value for value in vars(kind).values() if isinstance(value, FunctionType)]
    files = {function.__code__.co_filename for function in functions}
    for file in sorted(files):
        lines = linecache.getlines(file)
        for node in ast.walk(ast.parse("".join(lines))):
            if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
                first = min([node.lineno, *(found.lineno for found in node.decorator_list)])
                return "".join(lines[first - 1 : node.end_lineno])
    raise OSError("no cell that is remembered defines it")
