"""Receipts: checks of a trial's map and of a run, each with a threshold, and each able to fail (docs/receipts.md)."""
