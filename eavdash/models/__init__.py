"""One architecture per file; nothing here knows about datasets."""
