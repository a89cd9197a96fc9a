from .file_names import FileNames as FileNames
from .recording import Recording as Recording
from .recordings import Recordings as Recordings
from .request import check_channel as check_channel
from .request import check_samplerate as check_samplerate
from .scanning import scan as scan
from .sources import PathLike as PathLike
