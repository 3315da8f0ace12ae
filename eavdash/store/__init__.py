"""The files under ``checkpoints/``: their names, how they are written, and what a run's state may become.

This package alone spells those names (docs/architecture.md, "Files"): names.py those of folders, paths.py those of
files; run.py and study.py say what stands in them. The app, the queue and the workers meet only through these files.
Everything is written to a temporary name, flushed to disk and then renamed, so that a reader never sees half a file.
Nothing here needs torch.
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
