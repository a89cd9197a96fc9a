"""The identity of a job: all that determines the stored bytes, as plain values."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from pipeline.features import Feature, FeatureIdentity, array_digest, without_defaults
from pipeline.inputs import Inputs
from pipeline.layout import Layout
from pipeline.record import digest_lines
from pipeline.recordings import Recordings
from pipeline.settings import Settings
from pipeline.store import FORMAT, Encoding

# Settings that change nothing of what is stored.
NOT_DECIDING = ("on_error", "on_lost", "retries", "numerics", "flush", "labelling")


def identity_of(
    inputs: Inputs, feature: FeatureIdentity, settings: Settings, layout: Layout
) -> dict[str, Any]:
    """The identity of a job; its digest is the fingerprint."""
    # Settings at their defaults are left out, so that one that is added later changes nothing.
    defaults = {**deciding(Settings()), "hop": settings.window}
    labels = inputs.labels
    return {
        "format": FORMAT,
        "settings": without_defaults(deciding(settings), defaults),
        "feature": feature.as_dict(),
        "labels": None if labels is None else labels.identity(),
        "inputs": digest_lines(file_rows(inputs.recordings)),
        "unreadable": [path for path, _ in inputs.recordings.unreadable],
        "layout": dataclasses.asdict(layout),
        **_given_times(inputs),
    }


def codes_of(encoding: Encoding, feature: Feature, settings: Settings) -> dict[str, Any]:
    """Which values the codes of whole numbers have, where a later version may choose others."""
    of_dtype = settings.limits is None and settings.dtype in getattr(feature, "steps", {})
    return {} if of_dtype or encoding.scale is None else {"codes": encoding.attributes}


def _given_times(inputs: Inputs) -> dict[str, Any]:
    """A digest of times, where a manifest says them; others follow from files and settings."""
    if inputs.recordings.said.given is None:
        return {}
    return {"datetime": [array_digest(inputs.starts.start), array_digest(inputs.starts.offset)]}


def deciding(settings: Settings) -> dict[str, Any]:
    """The settings that change the stored bytes, all of them, as plain values."""
    values = {**dataclasses.asdict(settings), "hop": settings.hop or settings.window}
    for name in ("datetime", "limits"):  # as they come back from JSON
        values[name] = values[name] and [*values[name]]
    return {name: value for name, value in values.items() if name not in NOT_DECIDING}


def file_rows(recordings: Recordings) -> Iterator[list[Any]]:
    """A row for each recording: its path, by what it is known again, what its header said."""
    return ([*file] for file in recordings.files())
