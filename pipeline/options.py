"""The options of a job on the command line, in groups; those of the feature are its parameters."""

from functools import cache

import click

from pipeline.examples import EXAMPLES
from pipeline.feature_options import feature_of, named, rows_of

SOURCES = """\
A SOURCE is a file, a folder (searched recursively), a glob, a CSV file with a column 'path',
an https:// file, or s3://bucket/folder/, an object or a glob there (both need the extra
dask-audio-pipeline[remote]). Keys of a bucket are in the environment, also of the workers:
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL for a server that
is not Amazon's, AWS_SKIP_SIGNATURE=true for a public bucket."""

OWN_GROUP, FEATURE_GROUP = "Options", "Feature"
FEATURE = "pipeline.feature"  # of a command line: its name and preset

# By group: flag, what follows it, and what it does.
Row = tuple[str, str, str]
GROUPS: dict[str, tuple[Row, ...]] = {
    "Recordings": (
        ("--channel", "N|mix", "Channel, counted from 0, or the mean of all. Default: 0."),
        ("--samplerate", "HZ", "Resample to this rate; for .npy, the rate that it has. Default: "
         "that of the recordings."),
        ("--datetime", "TEMPLATE", "Where file names say when recordings begin: codes of strptime, "
         "such as %Y%m%d_%H%M%S, found anywhere in the name; passed again, others that are tried "
         "in turn. Default: the metadata of WAV files, where they say it."),
        ("--timezone", "ZONE", "Of times that say no offset: UTC, +10:00, Europe/Paris."),
        ("--on-error", "mask|stop", "Whether windows that cannot be read are masked, or end the "
         "job. Default: mask."),
        ("--on-lost", "stop|mask", "Whether a recording that is gone since the job began ends it, "
         "or is masked. Default: stop."),
    ),
    "Labels": (
        ("--labels", "FILE", "Events, as tools for annotation write them, in a file, a folder or "
         "a glob; or one label a window, in .npy, HDF5 'label', or CSV, where a column 'path' may "
         "say which recording each row is of. Default: those stored with the recordings."),
        ("--label-format", "NAME", "{formats}; or windows: one label a window. "
         "Default: recognised from what a file holds."),
        ("--label-column", "NAME", "Column, tier or kind of tag that has the labels. Default: the "
         "one that the format has."),
        ("--classes", "A,B,...", "The classes, in this order; other labels are left out. Default: "
         "all, sorted."),
        ("--label-map", "FILE", "Names in place of labels, null to leave one out: YAML, or CSV "
         "with columns 'label' and 'name'."),
        ("--label-kind", "window|fraction|frame", "Whether y is 1 where a class is heard in the "
         "window, how much of the window it takes, or 1 in each frame that has it. Default: "
         "window."),
        ("--min-overlap", "SECONDS", "An event counts in a window that has so much of it."),
        ("--min-fraction-of-event", "F", "An event counts in a window that has such a part of "
         "it."),
        ("--min-fraction-of-window", "F", "An event counts in a window of which it takes such a "
         "part. Of the three, one is enough. Default: any overlap."),
        ("--unlabelled", "unknown|negative", "Whether nobody looked at a recording that no label "
         "file speaks of, or nothing is in it. Default: unknown."),
    ),
    "Windows": (
        ("--window", "SECONDS", "Length of a window. Default: 1."),
        ("--hop", "SECONDS", "From the start of one window to that of the next. Default: the "
         "length of a window."),
        ("--tail", "pad|drop", "What becomes of the partial last window of a recording. "
         "Default: pad."),
    ),
    FEATURE_GROUP: (
        ("--feature", "NAME", "{features}, or package.module:Name of your own; with --help, its "
         "parameters. Default: spectrogram."),
    ),
    "Store": (
        ("--out", "OUT", "Where to write: a path ending in .zarr, .h5 or .hdf5, or "
         "s3://bucket/name.zarr."),
        ("--dtype", "float32|float16|uint8|int16", "Type of the stored features. float16 takes "
         "half the bytes, and rounds by 0.05 %; int16 half and uint8 a quarter, in equal steps "
         "between limits. Default: float32."),
        ("--limits", "LOW HIGH", "The values that whole numbers hold; those beyond are stored as "
         "the nearest, and counted. Default: those that the feature cannot leave."),
        ("--compression", "none|lz4|zstd", "Of a Zarr store. Default: none."),
        ("--flush", "", "Have each region on the disk before it is recorded as done, so that a "
         "loss of power costs nothing. Default: no."),
    ),
    "Run": (
        ("--config", "YAML", "A file (run.yaml) with any of these options, named as here, with "
         "'sources:' and 'out:'; flags override it."),
        ("--cluster", "YAML[:NAME]", "Where to run: an entry of a file such as cluster.yaml, which "
         "explains them. Default: one thread a core."),
        ("--share", "I/N", "Do one of N parts of the job, I from 0 to N-1. Others may be done at "
         "once, on any host; the last that ends finishes the store. Default: all of it."),
        ("--retries", "N", "How often a region is tried again that failed for what may pass. "
         "Default: 3."),
        ("--numerics", "same|any", "Whether processors whose results differ in the last bits may "
         "compute one store. Default: same."),
    ),
}  # fmt: skip
REPEATED = ("--datetime",)
KINDS = {
    "--limits": (float, float),
    **dict.fromkeys(("--window", "--hop", "--min-overlap"), float),
    **dict.fromkeys(("--min-fraction-of-event", "--min-fraction-of-window"), float),
    **dict.fromkeys(("--samplerate", "--retries"), int),
}


@cache
def job_options() -> dict[str, list[click.Option]]:
    """The options of a job, by group; what is not passed is None."""
    return {group: [_option(*row) for row in rows] for group, rows in GROUPS.items()}


def _option(flag: str, metavar: str, text: str) -> click.Option:
    if flag == "--feature":
        from pipeline.features import FEATURES

        text = text.format(features=", ".join(FEATURES))
    if flag == "--label-format":
        from pipeline.labels import FORMATS

        text = text.format(formats=", ".join(FORMATS))
    if not metavar:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=text)
    kind, repeated = KINDS.get(flag, str), flag in REPEATED
    return click.Option([flag], type=kind, metavar=metavar, help=text, multiple=repeated)


class VerbCommand(click.Command):
    """A verb, whose help shows how it is typed."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        lines = EXAMPLES.get(self.name or "", ())
        if lines:
            with formatter.section("Example"):
                for line in lines:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class JobCommand(VerbCommand):
    """A verb with the options of a job, and of the feature that the command line names."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[FEATURE] = feature_of(args), named(args, "--preset")
        return super().parse_args(ctx, args)

    def _groups(self, ctx: click.Context) -> dict[str, list[click.Option]]:
        groups = dict(job_options())
        taken = {flag for row in groups.values() for option in row for flag in option.opts}
        rows = rows_of(*ctx.meta.get(FEATURE, ("spectrogram", None)))
        own = [_option(*row) for row in rows if row[0] not in taken]
        return {**groups, FEATURE_GROUP: [*groups[FEATURE_GROUP], *own]}

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        groups = self._groups(ctx).values()
        return [*(option for group in groups for option in group), *super().get_params(ctx)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [option for option in super().get_params(ctx) if isinstance(option, click.Option)]
        for group, options in {**self._groups(ctx), OWN_GROUP: own}.items():
            records = [option.get_help_record(ctx) for option in options]
            with formatter.section(group):
                formatter.write_dl([record for record in records if record is not None])


class LabelCommand(VerbCommand):
    """A verb with the options of labels."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*job_options()["Labels"], *super().get_params(ctx)]
