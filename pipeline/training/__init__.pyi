from .batches import Batches as Batches
from .row_statistics import statistics as statistics
from .sources import read_features as read_features
from .streaming import stream as stream
