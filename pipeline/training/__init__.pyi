from .batches import Batches as Batches
from .batches import read_features as read_features
from .row_statistics import statistics as statistics
from .streaming import stream as stream
