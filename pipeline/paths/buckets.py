"""Buckets: clients of object stores and web servers, with the errors that files have."""

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

RETRY_SECONDS = 20.0  # so long a request is tried again while the server does not answer
DENIED = "permission denied; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that allow it"


class ChangedError(OSError):
    """An object is not, or no longer, what it was when it was last seen."""


class EndedError(OSError):
    """An object ends before what was asked for."""


def open_bucket(root: str, prefix: str | None = None) -> ObjectStore:
    """The client of a bucket (``s3://bucket``) or web server, the same for all threads.

    All keys that it is asked for begin with `prefix` and a slash. Secrets and endpoints come
    from the environment, as ``AWS_...``, and are kept nowhere else. In a process that was
    forked when there were clients, it raises RuntimeError: it would hang, as their threads
    are gone.
    """
    if _forked_with_clients:
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
    server = os.environ.get("AWS_ENDPOINT_URL", "") if scheme == "s3" else root
    options: ClientConfig = {"allow_http": server.startswith("http://")}
    if scheme == "s3":
        return store.S3Store(host, prefix=prefix, client_options=options, retry_config=retry)
    if scheme == "gs":
        return store.GCSStore(host, prefix=prefix, retry_config=retry)
    return store.HTTPStore.from_url(root, client_options=options, retry_config=retry)


_forked_with_clients = False


def _forked() -> None:
    global _forked_with_clients
    _forked_with_clients = _forked_with_clients or _client.cache_info().currsize > 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise, for errors of obstore, those of files: OSError, or ChangedError for a condition."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError:
        raise _not_found(url) from None
    except (exceptions.PreconditionError, exceptions.AlreadyExistsError):
        raise ChangedError(f"{url} has changed") from None
    except exceptions.BaseError as error:
        raise _as_os_error(error, url) from None


def _as_os_error(error: Exception, url: str) -> OSError:
    """The error in our words, without the answer of the server, which may hold keys."""
    said = str(error).partition("\n")[0].partition("<")[0]
    found = re.search(r"status code: (\d+)", said)
    code, kind = int(found[1]) if found else 0, type(error).__name__
    if code == 404:
        return _not_found(url)
    if code == 416:
        return EndedError(f"{url} ends before what was asked for")
    if code in (401, 403) or kind in ("PermissionDeniedError", "UnauthenticatedError"):
        return PermissionError(errno.EACCES, DENIED, url)
    if kind == "NotSupportedError":
        return OSError(f"{url} is on a server that sends no parts of files; copy it to another")
    reason = re.sub(r"^.*? - |^Generic \w+ error: ", "", said).strip(" :")
    return OSError(f"{url} cannot be reached: {reason}")


def _not_found(url: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)
