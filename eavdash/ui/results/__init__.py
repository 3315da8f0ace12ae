"""Widgets of the pages in the section ``results``."""
