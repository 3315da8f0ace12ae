"""Figures, caches, widgets and colours of the pages."""
