"""The site's pages that stand at the top of the repository: contributing, changes and the licence.

In: the files there, which forges look for. Out: pages of the site, with links to and from docs/
that work in both places.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
#: Files outside of docs/, and the pages that they become.
OUTSIDE = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "LICENSE": "licence.md"}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages whose text is outside of docs/."""
    from mkdocs.structure.files import File

    for name, page in OUTSIDE.items():
        text = (HOME / name).read_text(encoding="utf-8")
        if name == "LICENSE":
            text = f"# Licence\n\n```text\n{text}```\n"
        files.append(File.generated(config, page, content=re.sub(r"\]\(docs/", "](", text)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to those files to their pages."""
    folder = posixpath.dirname(page.file.src_uri)
    for name, target in OUTSIDE.items():
        inside = posixpath.relpath(target, folder or ".")
        markdown = re.sub(rf"\]\((?:\.\./)*{re.escape(name)}(?=[)#])", f"]({inside}", markdown)
    return markdown
