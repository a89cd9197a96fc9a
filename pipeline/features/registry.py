"""The registry: features by name, ours and those of the user's own modules."""

import dataclasses
import functools
import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pipeline.checks import reject_unknown
from pipeline.features.feature import Feature, check_feature
from pipeline.features.indices import Indices
from pipeline.features.levels import Levels
from pipeline.features.melspectrogram import MelSpectrogram
from pipeline.features.mfcc import MFCC
from pipeline.features.onnx import Onnx
from pipeline.features.pcen import PCEN
from pipeline.features.spectrogram import Spectrogram
from pipeline.features.waveform import Waveform

FEATURES: dict[str, Any] = {
    "spectrogram": Spectrogram,
    "melspectrogram": MelSpectrogram,
    "mfcc": MFCC,
    "pcen": PCEN,
    "levels": Levels,
    "indices": Indices,
    "waveform": Waveform,
    "onnx": Onnx,
}
FRONTEND = "frontend"  # the parameter of a feature that is itself one


def registered_name(feature: object) -> str | None:
    """The name under which a feature of ours is known; None for others."""
    return next((name for name, kind in FEATURES.items() if type(feature) is kind), None)


def make_feature(name: str, parameters: Mapping[str, Any]) -> Feature:
    """A feature by name, ours or ``package.module:Name``, with parameters."""
    factory = make = find_feature(name)
    parameters = dict(parameters)
    preset = parameters.pop("preset", None) if hasattr(factory, "PRESETS") else None
    if dataclasses.is_dataclass(factory):
        fields = [field.name for field in dataclasses.fields(factory) if field.init]
        reject_unknown(parameters, fields, f"parameter of {name}")
    if factory is Onnx and FRONTEND in parameters:
        parameters[FRONTEND] = _made(parameters[FRONTEND])
    if preset is not None:
        make = functools.partial(factory.preset, preset)
    try:
        feature: Feature = make(**parameters)
    except ValueError:  # a sentence of its own
        raise
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"feature {name} cannot be made of {dict(parameters)}: {_words(error)}; "
            f"give other parameters"
        ) from error
    check_feature(feature, f"feature {name}")
    return feature


def _made(frontend: Any) -> Any:
    """The feature that a name, or a mapping of ``name`` and parameters, says, as in run.yaml."""
    if isinstance(frontend, str):
        frontend = {"name": frontend}
    if not isinstance(frontend, Mapping):
        return frontend
    parameters = {**frontend}
    if not isinstance(name := parameters.pop("name", None), str):
        raise ValueError(
            f"{FRONTEND} is {dict(frontend)}; it must be a name, or a name and parameters"
        )
    return make_feature(name, parameters)


def find_feature(name: str) -> Any:
    """The class of a feature of ours, or what a user's own module has under its name."""
    return FEATURES.get(name) or _import(name)


def _import(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if not attribute:
        reject_unknown([name], [*FEATURES, "package.module:Name"], "feature")
    with suppress(FileNotFoundError):  # a folder that was removed
        # As `python -m` has it; the installed command begins with its own folder.
        if not {"", os.getcwd()} & set(sys.path):
            sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"feature {name} cannot be imported: {_words(error)}; give package.module:Name of "
            f"a class that Python finds, and imports without an error"
        ) from error


def _words(error: BaseException) -> str:
    """What an error says, and where it was raised if that is in a file of the user's."""
    text = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError):
        return f"{text} ({os.path.basename(error.filename or '')}, line {error.lineno})"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if frame.filename == __file__ or frame.filename.startswith("<"):
        return text
    return f"{text} ({os.path.basename(frame.filename)}, line {frame.lineno})"
