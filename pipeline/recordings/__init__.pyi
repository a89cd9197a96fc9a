from .blocks import read_shared as read_shared
from .blocks import read_windows as read_windows
from .blocks import why_unreadable as why_unreadable
from .file_names import FileNames as FileNames
from .recording import Recording as Recording
from .recordings import Recordings as Recordings
from .scanning import scan as scan
from .sources import PathLike as PathLike
