"""Mean maps of a study: what the maps of one class have in common, and which trials are unlike the rest."""
