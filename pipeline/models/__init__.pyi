from .files import ModelFiles as ModelFiles
from .session import Model as Model
from .session import load_model as load_model
from .session import runtime as runtime
