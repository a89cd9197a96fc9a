from .joining import Labelled as Labelled
from .joining import LabelsLike as LabelsLike
from .joining import passed_labels as passed_labels
from .joining import stored_labels as stored_labels
from .values import Labels as Labels
