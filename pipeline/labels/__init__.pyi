from .files import load_labels as load_labels
from .files import read_label as read_label
from .values import Labels as Labels
from .values import LabelsByPath as LabelsByPath
from .values import check_count as check_count
from .values import make_labels as make_labels
