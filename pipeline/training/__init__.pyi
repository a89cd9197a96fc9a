from .batches import Batches as Batches
from .batches import read_features as read_features
from .streaming import stream as stream
