"""What is computed once and kept on disk: folders, their keys, what is in them, filling them in parallel."""
