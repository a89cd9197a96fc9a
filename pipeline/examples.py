"""Examples: each verb as people type it, in the order of a job's life."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("audio-pipeline demo --hours 0.1 --out demo",),
    "plan": ("audio-pipeline plan recordings/ --out features.zarr --labels annotations/",),
    "cluster": ("audio-pipeline cluster cluster.yaml:slurm",),
    "extract": (
        "audio-pipeline extract recordings/ --out features.zarr --labels annotations/ \\",
        "    --feature melspectrogram --preset kaldi --samplerate 16000",
    ),
    "status": ("audio-pipeline status features.zarr --watch",),
    "verify": ("audio-pipeline verify features.zarr --repair",),
    "label": ("audio-pipeline label features.zarr --labels annotations/ --min-overlap 0.2",),
    "split": (
        "audio-pipeline split features.zarr --parts train=.8,valid=.1,test=.1 --by recording",
    ),
    "statistics": ("audio-pipeline statistics features.zarr --split train",),
    "pack": ("audio-pipeline pack features.h5 one-file.h5",),
    "info": ("audio-pipeline info features.zarr",),
    "report": ("audio-pipeline report features.zarr --html report.html",),
    "batches": ("audio-pipeline batches features.zarr --batch-size 64 --shuffle --limit 100",),
    "plot": ("audio-pipeline plot features.zarr --window 5 --png window.png",),
}
