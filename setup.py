"""Build the wheel with the dashboard inside: app.py, pages/, .streamlit/ and docs/ travel as ``eavdash/_app``.

They stay at the top level of a checkout, where Streamlit's tools look for them, but no package of the name ``pages`` is
installed beside other people's.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithApp(build_py):
    """Copy the dashboard into the built package; an editable installation uses the checkout's files."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "eavdash" / "_app"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(HERE / "pages", target / "pages", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(HERE / ".streamlit", target / ".streamlit")
        shutil.copy(HERE / "app.py", target)
        for document in sorted((HERE / "docs").glob("*.md")):
            (target / "docs").mkdir(exist_ok=True)
            shutil.copy(document, target / "docs")


setup(cmdclass={"build_py": BuildWithApp})
