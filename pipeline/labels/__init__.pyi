from .event_labels import EventLabels as EventLabels
from .formats.registry import FORMATS as FORMATS
from .joining import LabelsLike as LabelsLike
from .joining import find_labels as find_labels
from .labelling import Labelling as Labelling
from .values import Labels as Labels
from .values import LabelSource as LabelSource
