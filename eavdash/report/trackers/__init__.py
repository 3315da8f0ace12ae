"""Finished runs in other trackers of experiments: MLflow and TensorBoard."""
