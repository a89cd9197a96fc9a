"""What Linux has and other systems lack, taken away at the beginning of a script."""

BARE = """if True:
    import builtins, io, mmap, os, random, signal, sys
    import psutil, psutil._common  # which ask for some of these themselves
    psutil._common.open = io.open  # on each system psutil has its own ways
    for module, names in {
        os: (
            *("sched_getaffinity", "sched_setaffinity", "register_at_fork", "fork"),
            *("pread", "preadv", "pwrite"),
        ),
        mmap: ("MAP_PRIVATE", "MAP_ANONYMOUS", "MAP_ANON", "MADV_HUGEPAGE"),
        signal: ("pthread_sigmask", "SIGHUP", "SIGUSR1"),
    }.items():
        for name in names:
            delattr(module, name)
    sys.modules |= dict.fromkeys(["fcntl", "grp", "pwd", "resource"])

    def without_proc(function):
        def wrapped(path, *arguments, **options):
            if str(path).startswith(("/proc", "/sys")):
                raise FileNotFoundError(2, "No such file or directory", str(path))
            return function(path, *arguments, **options)
        return wrapped

    io.open = builtins.open = without_proc(io.open)  # as pathlib opens files, and all others
    os.stat = without_proc(os.stat)
    import numpy as np, pipeline as pl
"""
