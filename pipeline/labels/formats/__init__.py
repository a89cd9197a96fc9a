"""Formats of label files, one file for each tool or family of tools."""
