"""Feature extraction for audio that does not fit in memory."""

from pipeline.interrupts import await_command  # isort: split

await_command()  # before all that takes time

import lazy_loader  # noqa: E402

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
