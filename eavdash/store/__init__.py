"""The files under ``checkpoints/``: their names, their content, and the states of a run.

Only this package defines those names (docs/architecture.md, "Files"): names.py those of folders, paths.py those of
files; run.py and study.py define the content. The app, the queue and the workers communicate only through these files.
Every file is written under a temporary name, flushed to disk and renamed, so a reader never sees a partial file.
Nothing here imports torch.
"""

from eavdash.store.names import check_study_name, checkpoints_folder, checkpoints_root, slug, unit_name
from eavdash.store.run import CHECKED_FILES, RunDir
from eavdash.store.study import StudyDir, find_run, find_study, studies

__all__ = [
    "CHECKED_FILES",
    "RunDir",
    "StudyDir",
    "check_study_name",
    "checkpoints_folder",
    "checkpoints_root",
    "find_run",
    "find_study",
    "slug",
    "studies",
    "unit_name",
]
