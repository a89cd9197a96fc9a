from .lock import Holder as Holder
from .lock import Lock as Lock
from .lock import holders as holders
from .lock import locked as locked
from .lock import shared as shared
