"""Preflight: what every worker must have and see, found out before a job starts."""

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import cloudpickle
import numpy as np

from pipeline.cluster import Engine
from pipeline.features import Code, other_code
from pipeline.job.plan import Plan
from pipeline.job.projection import memory_bytes
from pipeline.paths import is_remote
from pipeline.process import OWN, difference, installed_versions, numerics_class, other_numerics
from pipeline.recordings import Recording

SAMPLE = 8  # recordings that each worker opens


def check_workers(engine: Engine, plan: Plan) -> None:
    """Refuse workers on which a job cannot go well; wait for one if there is none yet.

    Those that join later are held to the versions, with each region. What they do
    not see fails the regions that need it, and masks nothing.
    """
    workers = engine.workers()
    if not workers:  # this process is all
        return
    for worker in workers.values():  # one that is too small would do nothing for ever
        worker.check(memory_bytes(plan, worker.threads))
    recordings, code = plan.inputs.recordings, plan.feature_identity.code
    numbers = np.unique(np.linspace(0, len(recordings) - 1, SAMPLE).astype(int))
    sample = [recordings[int(i)] for i in numbers]
    decisive = (installed_versions(), plan.numerics, _pickled(plan), code)
    with _file_beside(plan.out) as beside:
        answers = engine.everywhere(_lacks, *decisive, sample, beside)
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
        pickled: bytes = cloudpickle.dumps(plan.inputs.feature)
    except Exception as error:
        raise ValueError(
            f"the feature {plan.feature_identity.name} cannot be sent to workers "
            f"({type(error).__name__}: {error}); leave out of it what cannot be pickled, or run "
            f"on threads"
        ) from error
    return pickled


@contextmanager
def _file_beside(out: str) -> Iterator[str | None]:
    """A file beside the store, for workers to find; none where that is no folder."""
    if is_remote(out):
        yield None
        return
    folder, name = Path(out).absolute().parent, Path(out).name
    with tempfile.NamedTemporaryFile(prefix=f".{name}.", suffix=".seen", dir=folder) as file:
        yield file.name


def _lacks(
    versions: dict[str, str],
    numerics: str | None,
    pickled: bytes,
    code: Code,
    recordings: Iterable[Recording],
    beside: str | None,
) -> str | None:
    """What this worker lacks to compute what the client would, and what to do, for people."""
    if found := difference(versions):
        return f"has {found}; install the same there, or run the client with those of the workers"
    if numerics not in (None, numerics_class()):
        return other_numerics(str(numerics))
    try:
        feature = pickle.loads(pickled)
    except Exception as error:
        return (
            f"cannot load the feature ({type(error).__name__}: {error}); install its module there, "
            f"or put its folder on the workers' PYTHONPATH"
        )
    if found := other_code(feature, code):
        return f"has {found}; install the same there, and start it anew"
    if beside is not None and not Path(beside).exists():
        return (
            f"does not see {Path(beside).parent}, where the store is to be; pass a path "
            f"that all workers share"
        )
    for recording in recordings:
        try:
            with recording.open():
                pass
        except OSError as error:
            return f"cannot read {error}; pass sources on a path that all workers share"
    return None
