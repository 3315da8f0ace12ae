"""From recordings to windows: trial tables, readers, splits, caches."""
