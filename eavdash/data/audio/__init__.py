"""Sound: reading it, its files and sound tracks, AST's log-mel energies."""
