"""What Linux has and other systems lack, taken away at the beginning of a script."""

BARE = """if True:
    import io, mmap, os, random, signal, sys, psutil  # which ask for some of these themselves
    for module, names in {
        os: ("sched_getaffinity", "sched_setaffinity", "register_at_fork", "fork", "preadv"),
        mmap: ("MAP_PRIVATE", "MAP_ANONYMOUS", "MAP_ANON", "MADV_HUGEPAGE"),
        signal: ("pthread_sigmask", "SIGHUP", "SIGUSR1"),
    }.items():
        for name in names:
            delattr(module, name)
    sys.modules |= dict.fromkeys(["fcntl", "grp", "pwd", "resource"])

    def open_but_proc(path, *arguments, true=io.open, **options):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return true(path, *arguments, **options)

    io.open = open_but_proc  # as pathlib opens files
    import numpy as np, pipeline as pl
"""
