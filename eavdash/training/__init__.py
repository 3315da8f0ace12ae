"""The visible loop, the two stages, and evaluation."""
