"""The documentation inside the app."""

from pathlib import Path

from eavdash.ui import widgets
from eavdash.ui.home import documents

widgets.page_head("Documentation", "How does it work, and what do the words and numbers mean?")
documents.show(Path(__file__).resolve().parents[2] / "docs")
