"""The methods that map one window, one per module, all with the same signature; ``method_registry.py`` lists them."""
