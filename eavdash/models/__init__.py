"""Model architectures, one per file, independent of any dataset."""
