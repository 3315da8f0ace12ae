"""File formats of datasets and trial tables; pickles are read without unpickling anything but arrays."""
