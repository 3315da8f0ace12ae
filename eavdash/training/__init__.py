"""Training of encoders and fusion in two stages, and evaluation."""
