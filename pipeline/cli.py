"""The command line: verbs in the order of a job's life, each one call of the library."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from tqdm import tqdm

from pipeline.features import Spectrogram
from pipeline.job import printable
from pipeline.process import INTERRUPTED, interruptible
from pipeline.runfile import Job, load_job
from pipeline.yaml_files import parse_value

if TYPE_CHECKING:
    from pipeline.job import Progress

FAILED, WRONG = 1, 2
SHOWN = 10

Command = Callable[..., Any]


def main() -> NoReturn:
    """Run the command line; the process ends with its exit code."""
    try:
        with interruptible():
            code = commands.main(prog_name="audio-pipeline", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        code = WRONG
    except click.ClickException as error:
        code = _complain(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        resumes = sys.argv[1:2] in (["extract"], ["demo"])
        more = "; the same command goes on where it was" if resumes else ""
        print(f"interrupted{more}", file=sys.stderr)
        code = INTERRUPTED
    except (ValueError, OSError, MemoryError, ImportError, OverflowError) as error:
        code = _complain(_words(error))
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        code = _complain(
            "no thread can be started here; allow this user more processes, or the process more "
            "memory (see ulimit), or run on fewer threads"
        )
    sys.exit(code)


def _words(error: Exception) -> str:
    """What an error says, for people; that of the system names its file first."""
    if isinstance(error, OSError) and error.errno and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _complain(message: str) -> int:
    print(f"error: {printable(message)}", file=sys.stderr)
    return WRONG


class _InOrder(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # that of a job's life, not of the alphabet


@click.group(
    cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="dask-audio-pipeline")
def commands() -> None:
    """Feature extraction for audio that does not fit in memory."""


def _job_options(command: Command) -> Command:
    """Everything that can be set of a job; what is not given is None."""
    options = [
        click.argument("sources", nargs=-1, metavar="SOURCE..."),
        click.option("--out", metavar="OUT", help="Store to write: .zarr, .h5 or .hdf5."),
        click.option("--config", metavar="YAML", help="run.yaml; the flags override it."),
        click.option("--feature", metavar="NAME", help="spectrogram, or package.module:Name."),
        click.option("--labels", metavar="FILE", help="One label a window: .npy, HDF5, CSV."),
        click.option("--cluster", metavar="YAML[:NAME]", help="Where to run; see cluster.yaml."),
        click.option("--window", type=float, metavar="SECONDS", help="Length of a window: 1."),
        click.option("--hop", type=float, metavar="SECONDS", help="Between window starts."),
        click.option("--channel", metavar="N|mix", help="Channel from 0, or the mean of all: 0."),
        click.option("--samplerate", type=int, metavar="HZ", help="Resample to; needed for .npy."),
        click.option("--tail", metavar="pad|drop", help="The partial last window: pad."),
        click.option("--dtype", metavar="float32|float16", help="Of the store: float32."),
        click.option("--compression", metavar="none|lz4|zstd", help="Of Zarr: none."),
        click.option("--on-error", metavar="mask|stop", help="At unreadable audio: mask."),
        click.option("--on-lost", metavar="stop|mask", help="At recordings that are gone: stop."),
        click.option("--retries", type=int, metavar="N", help="Of a region that failed: 3."),
        click.option(
            "--numerics", metavar="same|any", help="Of the processors that compute: same."
        ),
        click.option("--flush/--no-flush", default=None, help="Regions to the disk at once: no."),
        click.option("--share", metavar="I/N", help="One of N parts, I from 0; others at once."),
    ]
    for field in dataclasses.fields(Spectrogram):
        if field.name not in ("samplerate", "window"):
            flag = "--" + field.name.replace("_", "-")
            shown = json.dumps(field.default) if field.default is not None else "by samplerate"
            options.append(click.option(flag, metavar="VALUE", help=f"Of the feature: {shown}."))
    for option in reversed(options):
        command = option(command)
    return command


def _job(sources: tuple[str, ...], config: str | None, given: dict[str, Any]) -> Job:
    """The job that flags and run.yaml describe together."""
    flags = {key: value for key, value in given.items() if value is not None}
    if sources:
        flags["sources"] = list(sources)
    if "channel" in flags:
        flags["channel"] = parse_value(flags["channel"])
    names = {field.name for field in dataclasses.fields(Spectrogram)} - {"samplerate", "window"}
    parameters = {key: parse_value(flags.pop(key)) for key in list(flags) if key in names}
    return load_job(Path(os.path.expanduser(config)) if config else None, flags, parameters)


@commands.command()
@click.option(
    "--hours", type=float, default=0.1, show_default=True, help="Length of the recording."
)
@click.option("--out", default="demo", show_default=True, metavar="DIR", help="Folder to write to.")
def demo(hours: float, out: str) -> None:
    """Make up a labelled recording and run the whole chain on it."""
    from pipeline.demo import run_demo

    with _progress(False) as progress:
        for line in run_demo(hours, Path(out), progress):
            click.echo(line)


@commands.command()
@click.argument("entry", metavar="YAML[:NAME]")
def cluster(entry: str) -> None:
    """Check an entry of cluster.yaml, and print the job script; submit nothing."""
    from pipeline.cluster import job_script, load_cluster

    loaded = load_cluster(entry)
    script = job_script(loaded)
    if script is not None:
        click.echo(script.rstrip())
        return
    where = f"threads: {loaded.threads}" if loaded.threads else loaded.manager or loaded.address
    click.echo(f"{loaded.name}: {where}; the entry is right, and nothing is submitted for it")


@commands.command()
@_job_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(sources: tuple[str, ...], config: str | None, as_json: bool, **given: Any) -> None:
    """Say what extract would do; refuse what cannot end well."""
    from pipeline.cluster import capacity_of, check_manager, load_cluster
    from pipeline.job import Plan, find_begun

    job = _job(sources, config, given)
    cluster = load_cluster(job.cluster)
    check_manager(cluster)
    worker = capacity_of(cluster)
    with _looking(False) as looked:
        planned = Plan.make(
            job.sources, job.out, job.feature, job.labels, job.settings, progress=looked
        )
    planned.check_fits(worker)
    find_begun(planned, job.overwrite)
    _print(planned.as_dict(worker.threads, job.share), as_json)


@commands.command()
@_job_options
@click.option("--overwrite", is_flag=True, default=None, help="Remove another job's store.")
@click.option("--quiet", is_flag=True, default=None, help="No progress, no report.")
@click.option("--performance-report", metavar="HTML", help="File for Dask's report of the run.")
def extract(
    sources: tuple[str, ...], config: str | None, performance_report: str | None, **given: Any
) -> int:
    """Compute the features and store them, or go on doing so."""
    from pipeline.cluster import capacity_of, check_manager, check_report, load_cluster
    from pipeline.job import Plan, run

    job = _job(sources, config, given)
    cluster = load_cluster(job.cluster)
    check_manager(cluster)
    performance = Path(performance_report) if performance_report else None
    check_report(cluster, performance)
    with _looking(job.quiet) as looked:
        planned = Plan.make(
            job.sources, job.out, job.feature, job.labels, job.settings, progress=looked
        )
    planned.check_fits(capacity_of(cluster))
    with _progress(job.quiet, planned.grid.hop_samples / planned.grid.samplerate) as progress:
        report = run(
            planned,
            cluster,
            overwrite=job.overwrite,
            share=job.share,
            progress=progress,
            notice=(lambda _: None) if job.quiet else partial(tqdm.write, file=sys.stderr),
            performance_report=performance,
        )
    if not job.quiet:
        click.echo(str(report), err=True)
    return 0 if report.ok else FAILED


@commands.command()
@click.argument("out")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(out: str, as_json: bool) -> None:
    """Say how far a job is, also while it runs, and what failed."""
    from pipeline.job import stand

    values = stand(out)
    if as_json:
        _print(values, as_json)
        return
    lists = {name: values.pop(name) for name in ("shares", "failed", "masked", "unreadable")}
    shares, failed, masked, unreadable = lists.values()
    _print(values | {name: len(items) for name, items in lists.items()}, as_json)
    for item in shares:
        click.echo(
            f"share {item['share']}: {item['done']} of {item['regions']} regions done, "
            f"{item['holder']} at work"
        )
    for item in failed:
        _say(f"failed: region {item['region']}: {item['reason']}")
    for item in masked:
        start, stop = item["windows"]
        _say(f"masked: windows {start} to {stop - 1}: {item['path']}: {item['reason']}")
    for path, reason in unreadable.items():
        _say(f"not read: {path}: {reason}")
    if values["damaged_lines"]:
        click.echo("damaged: the record itself, which verify tells more of")


@commands.command()
@click.argument("out")
@click.option("--repair", is_flag=True, help="Mark what is damaged to be done again by extract.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(out: str, repair: bool, as_json: bool) -> int:
    """Check every stored byte against what was recorded when it was written."""
    from pipeline.job import stand
    from pipeline.job import verify as find_damage

    found = find_damage(out, repair)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(damage) for damage in found], indent=2))
    else:
        for damage in found:
            _say(str(damage))
        click.echo(f"damaged: {len(found)}" if found else "all is as it was written")
        standing = {} if found else stand(out)
        if standing and (left := standing["regions"] - standing["done"]):
            click.echo(f"not stored yet: {left} of {standing['regions']} regions")
    if found and repair:
        click.echo("marked to be done again: give the command of extract again", err=True)
    return FAILED if found else 0


@commands.command()
@click.argument("out")
@click.argument("file")
def pack(out: str, file: str) -> None:
    """Copy an HDF5 store and its parts into one plain file."""
    from pipeline.store import pack as pack_store

    pack_store(out, file)


@commands.command()
@click.argument("out")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(out: str, as_json: bool) -> None:
    """Say what is in a store."""
    from pipeline.job import summarize

    _print(summarize(out), as_json)


@commands.command()
@click.argument("out")
@click.option("--batch-size", type=int, required=True, metavar="B", help="Windows in a batch.")
@click.option("--shuffle", is_flag=True, help="In a random order of all windows.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random order.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Stop after N batches.")
def batches(out: str, batch_size: int, shuffle: bool, seed: int, limit: int | None) -> None:
    """Iterate as a training loop would, and say how fast that went."""
    from pipeline.training import Batches

    n_windows = n_bytes = 0
    began = time.perf_counter()
    for i, (X, y) in enumerate(Batches(out, batch_size, shuffle, seed)):
        if i == limit:
            break
        label = "none" if y is None else y.tolist()
        click.echo(f"shape={X.shape}, label={label}")
        n_windows, n_bytes = n_windows + len(X), n_bytes + X.nbytes
    seconds = time.perf_counter() - began
    click.echo(f"{n_windows / seconds:.0f} windows/s, {n_bytes / seconds / 1e6:.0f} MB/s")


@commands.command()
@click.argument("out")
@click.option("--window", type=int, required=True, metavar="T", help="Window to show.")
@click.option("--png", required=True, metavar="FILE", help="Picture to write.")
def plot(out: str, window: int, png: str) -> None:
    """Draw labels, waveform and spectrogram around a window."""
    from pipeline.views import plot_window

    plot_window(out, window, Path(png))


def _say(line: str) -> None:
    click.echo(printable(line))


def _print(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    width = max(map(len, values))
    for name, value in values.items():
        _say(f"{name:<{width}}  {_text(name, value)}")


def _text(name: str, value: Any) -> str:
    if name.endswith("bytes"):
        return f"{value:,} ({value / 1e9:.3g} GB)"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(key, item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        more = [f"and {len(value) - SHOWN:,} more"] if len(value) > SHOWN else []
        return ", ".join([*map(str, value[:SHOWN]), *more]) or "none"
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@contextmanager
def _looking(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A count of the files looked at, on a terminal, where that takes more than a second."""
    with tqdm(
        disable=True if quiet else None,
        delay=1,
        leave=False,
        bar_format="{n_fmt} of {total_fmt} files looked at, {remaining} left",
        file=sys.stderr,
    ) as bar:

        def tell(done: int, total: int) -> None:
            if not bar.disable:
                bar.total = total
                bar.update(done - bar.n)

        yield tell


@contextmanager
def _progress(quiet: bool, hop: float = 1.0) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on a terminal; nothing elsewhere."""
    with tqdm(
        unit="window",
        disable=True if quiet else None,
        bar_format="{percentage:3.0f}%|{bar:20}| {n_fmt} of {total_fmt} windows{postfix}, "
        "{remaining} left",
        file=sys.stderr,
    ) as bar:
        began: list[float] = []

        def tell(state: Progress) -> None:
            if bar.disable:
                return
            if not began:  # the first call says what earlier runs have done
                bar.total, bar.initial = state.n_windows, state.windows
                began.append(time.monotonic())
            bar.update(state.windows - bar.n)
            rate = (bar.n - bar.initial) / max(1e-9, time.monotonic() - began[0])
            bar.set_postfix_str(
                f"{state.regions} of {state.n_regions} regions, {rate:.0f} windows/s, "
                f"{rate * hop:.0f} times real time"
            )

        yield tell
