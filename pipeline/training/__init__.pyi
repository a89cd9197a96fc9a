from .batches import Batches as Batches
from .batches import read_features as read_features
from .row_statistics import statistics as statistics
from .splitting import split as split
from .stored_split import store_split as store_split
from .streaming import stream as stream
