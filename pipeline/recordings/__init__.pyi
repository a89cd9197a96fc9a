from .blocks import read_windows as read_windows
from .blocks import why_unreadable as why_unreadable
from .recordings import Recording as Recording
from .recordings import Recordings as Recordings
from .recordings import check_request as check_request
from .recordings import scan as scan
from .sources import FileNames as FileNames
from .sources import PathLike as PathLike
