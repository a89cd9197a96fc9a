from .batches import Batches as Batches
from .row_statistics import statistics as statistics
from .sources import read_features as read_features
from .splitting import split as split
from .stored_split import store_split as store_split
from .streaming import ComputedSource as ComputedSource
from .streaming import complain as complain
from .streaming import stream as stream
