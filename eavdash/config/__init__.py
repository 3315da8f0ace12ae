"""What a study can be: its settings and their bounds, the presets, and how people name subjects."""
