"""Widgets of the pages in the section ``training``."""
