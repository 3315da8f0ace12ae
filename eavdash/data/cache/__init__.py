"""The cache on disk: folders of arrays, their keys, their listing, and filling them in parallel."""
