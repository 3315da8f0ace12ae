"""EEG: reading, preprocessing, electrodes and their positions."""
