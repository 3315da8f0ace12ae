"""Changes of one trial's windows, one kind per module; registry.py lists them and reads them from text."""
