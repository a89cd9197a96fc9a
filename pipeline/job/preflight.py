"""Needs: what every worker must have and see, found out before a job starts."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cloudpickle
import numpy as np

from pipeline.cluster import Engine
from pipeline.features import Code, other_code
from pipeline.job.plan import Plan
from pipeline.process import OWN, difference, installed_versions, numerics_class, other_numerics
from pipeline.recordings import Recording

SAMPLE = 8  # recordings that each worker opens


@dataclass(frozen=True)
class Needs:
    """What a worker is asked for.

    Parameters
    ----------
    versions : dict
        Of the client.
    feature : bytes
        What is computed, pickled.
    code : Code
        That of the feature, on the client.
    recordings : tuple of Recording
        Some of those that are read.
    beside : str or None
        A file that the client has put beside the store.
    numerics : str or None
        The numerics class that the worker must be of; None if of any.
    """

    versions: dict[str, str]
    feature: bytes
    code: Code
    recordings: tuple[Recording, ...]
    beside: str | None
    numerics: str | None


def check_workers(engine: Engine, plan: Plan) -> None:
    """Refuse workers on which a job cannot go well; wait for one if there is none yet.

    Those that join later are held to the versions, with each region. What they do
    not see fails the regions that need it, and masks nothing.

    Parameters
    ----------
    engine : Engine
        Whose workers to ask.
    plan : Plan
        What they are to do.

    Raises
    ------
    ValueError
        If a worker has other versions or other code of the feature, or does not see the
        recordings or the folder of the store; in one sentence, with the worker's address.
    MemoryError
        If a worker has too little memory, likewise.
    """
    if engine.everywhere is None:
        return
    for worker in engine.workers().values():  # one that is too small would do nothing for ever
        worker.check(plan.memory_bytes(worker.threads))
    sample = np.unique(np.linspace(0, len(plan.recordings) - 1, SAMPLE).astype(int))
    with _seen(plan) as beside:
        needs = Needs(
            installed_versions(),
            _pickled(plan),
            plan.known.code,
            tuple(plan.recordings[int(i)] for i in sample),
            beside,
            plan.numerics,
        )
        answers = engine.everywhere(_lacks, needs)
    for address, answer in answers.items():
        if isinstance(answer, OSError):  # it has gone meanwhile
            continue
        if isinstance(answer, Exception):  # it lacks even what it is asked with
            theirs = engine.everywhere(version, OWN).get(address)
            have = theirs if isinstance(theirs, str) else "none"
            answer = (
                f"has {OWN} {have} where the client has {version(OWN)}, and lacks a part of it "
                f"({answer}); install the same there"
            )
        if isinstance(answer, str):
            raise ValueError(f"the worker at {address} {answer}")


def _pickled(plan: Plan) -> bytes:
    try:
        pickled: bytes = cloudpickle.dumps(plan.feature)
    except Exception as error:
        raise ValueError(
            f"the feature {plan.known.name} cannot be sent to workers ({type(error).__name__}: "
            f"{error}); leave out of it what cannot be pickled, or run on threads"
        ) from error
    return pickled


@contextmanager
def _seen(plan: Plan) -> Iterator[str | None]:
    """A file beside the store, for workers to find; none where that is no folder."""
    if "://" in plan.out:
        yield None
        return
    folder, name = Path(plan.out).absolute().parent, Path(plan.out).name
    with tempfile.NamedTemporaryFile(prefix=f".{name}.", suffix=".seen", dir=folder) as file:
        yield file.name


def _lacks(needs: Needs) -> str | None:
    """What this worker lacks and what to do, for people."""
    if found := difference(needs.versions):
        return f"has {found}; install the same there, or run the client with those of the workers"
    if needs.numerics not in (None, numerics_class()):
        return other_numerics(str(needs.numerics))
    try:
        feature = pickle.loads(needs.feature)
    except Exception as error:
        return (
            f"cannot load the feature ({type(error).__name__}: {error}); install its module there, "
            f"or put its folder on the workers' PYTHONPATH"
        )
    if found := other_code(feature, needs.code):
        return f"has {found}; install the same there, and start it anew"
    if needs.beside is not None and not Path(needs.beside).exists():
        return (
            f"does not see {Path(needs.beside).parent}, where the store is to be; give a path "
            f"that all workers share"
        )
    for recording in needs.recordings:
        try:
            with recording.open():
                pass
        except OSError as error:
            return f"cannot read {error}; give sources on a path that all workers share"
    return None
