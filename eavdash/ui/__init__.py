"""What the pages share: figures, caches, widgets, colours."""
