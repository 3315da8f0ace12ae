"""Explanations of single trials: attention, attributions and their completeness."""
