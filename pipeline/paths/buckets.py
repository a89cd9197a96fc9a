"""Buckets: clients of object stores and web servers, whose errors are those of the system."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

# So long a server that is gone is waited for before a request has failed.
RETRY_SECONDS = 20.0
DENIED = "permission denied; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that allow it"


class ChangedError(OSError):
    """An object is not, or no longer, what it was when it was last seen."""


def open_bucket(root: str, prefix: str | None = None) -> ObjectStore:
    """The client of a bucket or of a web server, one for all threads.

    Keys and endpoints come from the environment, as ``AWS_...``, and are kept
    nowhere else.

    Parameters
    ----------
    root : str
        Such as ``s3://bucket``.
    prefix : str, optional
        What all keys that are asked for begin with, and a slash.

    Returns
    -------
    obstore.store.ObjectStore

    Raises
    ------
    RuntimeError
        In place of hanging, if there were clients before this process was forked: they have
        threads, which do not survive that.
    """
    if _cut_off:
        raise RuntimeError(
            "a remote store or source was read or written before this process was forked, which "
            "its library does not survive; start processes by 'spawn' (torch: "
            "multiprocessing_context)"
        )
    return _client(root, prefix)


@lru_cache(maxsize=256)
def _client(root: str, prefix: str | None) -> ObjectStore:
    from obstore import store

    scheme, _, host = root.partition("://")
    retry: RetryConfig = {
        "max_retries": 1000,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {"max_backoff": timedelta(seconds=2)},
    }
    if scheme == "s3":
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        options: ClientConfig = {"allow_http": plain}
        return store.S3Store(host, prefix=prefix, client_options=options, retry_config=retry)
    if scheme == "gs":
        return store.GCSStore(host, prefix=prefix, retry_config=retry)
    client: ClientConfig = {"allow_http": scheme == "http"}
    return store.HTTPStore.from_url(root, client_options=client, retry_config=retry)


_cut_off = False


def _forked() -> None:
    global _cut_off
    _cut_off = _cut_off or _client.cache_info().currsize > 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise what the system raises of files, in place of what obstore does.

    Parameters
    ----------
    url : str
        What is worked on.

    Raises
    ------
    ChangedError
        If a condition was not met.
    OSError
        In place of any other error.
    """
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError:
        raise _system_error(errno.ENOENT, url) from None
    except (exceptions.PreconditionError, exceptions.AlreadyExistsError):
        raise ChangedError(f"{url} has changed") from None
    except exceptions.BaseError as error:
        raise _as_os_error(error, url) from None


def _as_os_error(error: Exception, url: str) -> OSError:
    """What a client says, in our words: without the answer of the server, which may hold keys."""
    said = str(error).partition("\n")[0].partition("<")[0]
    found = re.search(r"status code: (\d+)", said)
    code, kind = int(found[1]) if found else 0, type(error).__name__
    if code == 404:
        return _system_error(errno.ENOENT, url)
    if code in (401, 403) or kind in ("PermissionDeniedError", "UnauthenticatedError"):
        return PermissionError(errno.EACCES, DENIED, url)
    if kind == "NotSupportedError":
        return OSError(f"{url} is on a server that gives no parts of files; copy it to another")
    reason = re.sub(r"^.*? - |^Generic \w+ error: ", "", said).strip(" :")
    return OSError(f"{url} cannot be reached: {reason}")


def _system_error(number: int, url: str) -> OSError:
    return OSError(number, os.strerror(number), url)
