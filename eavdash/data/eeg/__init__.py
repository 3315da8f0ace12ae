"""EEG: reading, preprocessing, electrodes and their places."""
