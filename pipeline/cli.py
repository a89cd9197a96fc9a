"""The command line: verbs in the order of a job's life, each one call of the library."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from pipeline.interrupts import INTERRUPTED, interruptible
from pipeline.options import SOURCES, JobCommand, LabelCommand, VerbCommand
from pipeline.planning import make_plan, read_job
from pipeline.screen import show_looks
from pipeline.terminal import notice_above_bar, progress_bar, say, say_status, say_values, step_bars

FAILED, WRONG = 1, 2
EVERY = 2.0  # seconds, of status --watch

# Help and errors of the command line come at once: a verb imports what it needs when it runs.


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
    say(f"error: {message}", to_stderr=True)
    return WRONG


class _Verbs(click.Group):
    command_class = VerbCommand

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # that of a job's life, not of the alphabet


@click.group(
    cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="dask-audio-pipeline")
def commands() -> None:
    """Feature extraction for audio that does not fit in memory.

    `plan` says what a job would do, `extract` does it or goes on with it, `batches` reads what
    it stored. Exit codes: 0 done; 1 recordings or regions failed, or verify found damage; 2 the
    input or an option is wrong; 130 interrupted, and the same command goes on.
    """


@commands.command()
@click.option(
    "--hours", type=float, default=0.1, show_default=True, help="Length of the recording."
)
@click.option("--out", default="demo", show_default=True, metavar="DIR", help="Folder to write to.")
def demo(hours: float, out: str) -> None:
    """Make up a labelled recording and run the whole chain on it."""
    from pipeline.demo import run_demo

    with progress_bar() as progress:
        for line in run_demo(hours, Path(out), progress):
            click.echo(line)


@commands.command(cls=JobCommand, epilog=SOURCES)
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(sources: tuple[str, ...], config: str | None, as_json: bool, **passed: Any) -> None:
    """Say what a job would do: windows, files, bytes, memory.

    Nothing is computed or written; a job that cannot end well is refused.
    """
    from pipeline.job import describe_plan, find_begun

    job = read_job(sources, config, passed)
    planned, _, worker = make_plan(job)
    find_begun(planned, job.overwrite)
    with step_bars() as steps:
        values = describe_plan(planned, worker.threads, job.share, progress=steps)
    say_values(values, as_json)


@commands.command()
@click.argument("entry", metavar="YAML[:NAME]")
def cluster(entry: str) -> None:
    """Check an entry of cluster.yaml, and print its job script.

    Nothing is submitted. The file explains its entries, and what is added to them.
    """
    from pipeline.cluster import job_script, load_cluster

    loaded = load_cluster(entry)
    where = f"threads: {loaded.threads}" if loaded.threads else loaded.manager or loaded.address
    right = f"{loaded.name}: {where}; the entry is right, and nothing is submitted for it"
    click.echo((job_script(loaded) or right).rstrip())


@commands.command(cls=JobCommand, epilog=SOURCES)
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option(
    "--overwrite",
    is_flag=True,
    default=None,
    help="Remove the store of another job at OUT; one of this very job goes on where it was.",
)
@click.option("--quiet", is_flag=True, default=None, help="Show no progress and no report.")
@click.option(
    "--performance-report",
    type=Path,
    metavar="HTML",
    help="Write Dask's own report of the run to this file; not with threads.",
)
def extract(
    sources: tuple[str, ...], config: str | None, performance_report: Path | None, **passed: Any
) -> int:
    """Compute the features and store them, or go on doing so.

    The same command again computes what is not recorded as done, and nothing twice.
    """
    from pipeline.job import run

    job = read_job(sources, config, passed)
    planned, cluster, _ = make_plan(job, performance_report, job.quiet)
    grid = planned.inputs.grid
    with progress_bar(job.quiet, grid.hop_samples / grid.samplerate) as progress:
        report = run(
            planned,
            cluster,
            overwrite=job.overwrite,
            share=job.share,
            progress=progress,
            notice=(lambda _: None) if job.quiet else notice_above_bar,
            performance_report=performance_report,
        )
    if not job.quiet:
        click.echo(str(report), err=True)
    return 0 if report.ok else FAILED


@commands.command()
@click.argument("out")
@click.option("--watch", "watched", is_flag=True, help="Look again until the job is finished.")
@click.option(
    "--every", type=float, metavar="SECONDS", help="How often to look, with --watch. Default: 2."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch, a line a look.")
def status(out: str, watched: bool, every: float | None, as_json: bool) -> None:
    """Say how far a job is, also while it runs, and what failed."""
    from pipeline.job import status_of, watch

    if watched:
        show_looks(watch(out, EVERY if every is None else every), as_json)
    elif every is not None:
        raise click.UsageError("--every says how often to look; pass --watch with it.")
    else:
        with step_bars() as steps:
            values = status_of(out, steps)
        say_status(values, as_json)


@commands.command()
@click.argument("out")
@click.option("--repair", is_flag=True, help="Mark what is damaged to be done again by extract.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(out: str, repair: bool, as_json: bool) -> int:
    """Check every stored byte against what was recorded of it.

    Says which windows are damaged; exit code 1 where any are.
    """
    from dataclasses import asdict

    from pipeline.job import status_of
    from pipeline.job import verify as find_damage

    with step_bars() as steps:
        found = find_damage(out, repair, steps)
    if as_json:
        click.echo(json.dumps([asdict(damage) for damage in found], indent=2))
    else:
        for damage in found:
            say(str(damage))
        click.echo(f"damaged: {len(found)}" if found else "all is as it was written")
        values = {} if found else status_of(out)
        if values and (left := values["regions"] - values["done"]):
            click.echo(f"not stored yet: {left} of {values['regions']} regions")
    if found and repair:
        click.echo(
            "marked to be done again: run the command of extract again, and then label, split and "
            "statistics, where they were run",
            err=True,
        )
    return FAILED if found else 0


@commands.command(cls=LabelCommand)
@click.argument("out")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def label(out: str, as_json: bool, labels: str | None, **passed: Any) -> None:
    """Label a finished store anew, without computing its features.

    At once or not at all: killed at any moment, it has the old labels or the new ones.
    """
    from pipeline.job import label as label_store

    if labels is None:
        raise ValueError("labels is missing; pass --labels FILE")
    chosen = {name: value for name, value in passed.items() if value is not None}
    with step_bars() as steps:
        values = label_store(out, os.path.expanduser(labels), progress=steps, **chosen)
    say_values(values or {"labels": labels}, as_json)


@commands.command()
@click.argument("out")
@click.option(
    "--parts",
    required=True,
    metavar="NAME=F,...",
    help="The parts, and which fraction of the groups each has: train=.8,valid=.1,test=.1.",
)
@click.option(
    "--by",
    default="recording",
    show_default=True,
    metavar="recording|site|day",
    help="What is never cut: recordings (of one file name), all of a folder, or all of a day.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other parts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def split(out: str, parts: str, by: Any, seed: int, as_json: bool) -> None:
    """Split the windows in parts, such as train and test.

    Kept in the store. A group keeps its part when others are added; so fractions are met on
    average. 'divided' are recordings that go on where one of another part ends.
    """
    from pipeline.training import store_split

    with step_bars() as steps:
        values = store_split(out, parts, by, seed, steps)
    say_values(values, as_json)


@commands.command()
@click.argument("out")
@click.option("--split", metavar="NAME", help="Of the windows in this part of the split only.")
def statistics(out: str, split: str | None) -> None:
    """Compute mean and standard deviation of each row.

    Kept in the store, for Batches(normalize=True); over the valid windows of a finished one. A
    row is a place on every axis but time: a frequency, a coefficient.
    """
    from pipeline.training import statistics as find_statistics

    with step_bars() as steps:
        found = find_statistics(out, split=split, progress=steps("windows read"))
    rows = "1 row" if found.mean.size == 1 else f"{found.mean.size:,} rows"
    rows += f" in {split}" if split else ""
    click.echo(f"mean and std of {rows}: {'stored' if found.computed else 'already there'}")


@commands.command()
@click.argument("out")
@click.argument("file")
def pack(out: str, file: str) -> None:
    """Copy an HDF5 store and its parts into one plain file."""
    from pipeline.store import pack as pack_store

    with step_bars() as steps:
        pack_store(out, file, steps("bytes copied"))


@commands.command()
@click.argument("out")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(out: str, as_json: bool) -> None:
    """Say what is in a store: shape, labels, settings, sources."""
    from pipeline.job import info_of

    with step_bars() as steps:
        values = info_of(out, steps)
    say_values(values, as_json)


@commands.command()
@click.argument("out")
@click.option("--html", type=Path, metavar="FILE", help="Page to write, which needs nothing else.")
@click.option("--json", "json_file", type=Path, metavar="FILE", help="The same as values.")
@click.option("--card", type=Path, metavar="FILE", help="README.md for the Hugging Face Hub.")
@click.option("--audio", is_flag=True, help="Put sounds into the page, of recordings at hand.")
def report(
    out: str, html: Path | None, json_file: Path | None, card: Path | None, audio: bool
) -> None:
    """Write a page to look at: all that is known of a store.

    Also of one that is not finished. Coverage in time, windows by state, classes, pictures,
    values and levels, what failed, throughput and settings.
    """
    from pipeline.reports import write_report

    for file in write_report(out, html, json_file, audio, card):
        say(f"written: {file}")


@commands.command()
@click.argument("out")
@click.option("--batch-size", type=int, required=True, metavar="B", help="Windows in a batch.")
@click.option("--shuffle", is_flag=True, help="Read the windows in a random order.")
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of the random order: the same seed, the same order.",
)
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
@click.option("--window", type=int, metavar="T", help="Window to show, with its neighbours.")
@click.option(
    "--recording", metavar="NAME|N", help="Recording to show as a whole, by name or number."
)
@click.option("--class", "name", metavar="NAME", help="Class whose windows to show.")
@click.option("--png", type=Path, metavar="FILE", help="Picture to write.")
@click.option("--svg", type=Path, metavar="FILE", help="The same as lines and letters.")
def plot(
    out: str,
    window: int | None,
    recording: str | None,
    name: str | None,
    png: Path | None,
    svg: Path | None,
) -> None:
    """Draw a window, a recording as a whole, or a class.

    A window comes with its neighbours, a class as windows of it side by side.
    """
    from pipeline.views import plot_class, plot_recording, plot_window

    if [window, recording, name].count(None) != 2:
        raise click.UsageError("Pass one of --window, --recording and --class.")
    if (png is None) == (svg is None):
        raise click.UsageError("Pass one of --png and --svg.")
    if window is not None:
        plot_window(out, window, png, svg)
    elif recording is not None:
        plot_recording(out, recording, png, svg)
    elif name is not None:
        plot_class(out, name, png, svg)
