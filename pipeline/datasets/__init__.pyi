from .opening import open_dataset as open_dataset
