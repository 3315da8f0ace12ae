"""Datasets that come as pickles, read without unpickling anything but arrays."""
