"""Attention, attributions and their receipts for one trial."""
