"""Reads and runs the data files of tests/api; see README.md there."""
