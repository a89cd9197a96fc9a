"""Batches as the data sets of training frameworks, one file a framework, none of them needed."""
