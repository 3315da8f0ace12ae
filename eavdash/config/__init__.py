"""A study's settings and their limits, the presets, and the parsing of subject and fold lists."""
