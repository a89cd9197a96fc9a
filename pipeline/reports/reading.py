"""Reading: the features of a sample of windows, as far as they are not damaged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.store import Store
from pipeline.training import read_features

AT_ONCE = 1 << 24  # bytes of features in memory
Windows = npt.NDArray[np.int64]
Features = npt.NDArray[np.float32]


class Reader:
    """Reads windows of a store, some at a time; what is damaged is left out, and told of."""

    def __init__(self, store: Store) -> None:
        lengths = [len(store.coordinate(name)) for name in store.axes()]
        self.n_values = int(np.prod(lengths, dtype=np.int64))  # of a window
        self.damage: dict[str, int] = {}  # how many windows are left out for each reason
        self._store = store

    def blocks(self, windows: Windows) -> Iterator[tuple[Windows, Features]]:
        """The windows that can be read, in order, and their features."""
        at_once = max(1, AT_ONCE // (4 * self.n_values))
        for a in range(0, len(windows), at_once):
            yield from self._block(windows[a : a + at_once])

    def _block(self, windows: Windows) -> Iterator[tuple[Windows, Features]]:
        try:
            yield windows, read_features(self._store, windows).astype(np.float32, copy=False)
        except OSError as error:
            if len(windows) == 1:
                self.damage[str(error)] = self.damage.get(str(error), 0) + 1
                return
            for half in np.array_split(windows, 2):
                yield from self._block(half)
