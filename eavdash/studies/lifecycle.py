"""Studies as things one keeps house with: what the page *Studies* and the command line both call.

``overview`` says what is there, how far and how large; ``clone`` and ``extend`` plan more; ``archive``, ``delete`` and
``verify`` look after what is there. In: folders of studies. Out: tables and plain records, and changes in the files of
``eavdash.store``; running anything is left to ``eavdash.jobs``. Everything may be called from several processes at
once, and refuses while it would pull the ground from under a run.
"""

from eavdash.studies.archive import archive, delete, resume_bytes, sweep, unarchive, under_way
from eavdash.studies.extend import Clone, Extension, clone, extend, free_name, latest_execution, plan_extension
from eavdash.studies.overview import overview, size
from eavdash.studies.verify import RECORDS, Damage, Verification, verify

__all__ = [
    "RECORDS",
    "Clone",
    "Damage",
    "Extension",
    "Verification",
    "archive",
    "clone",
    "delete",
    "extend",
    "free_name",
    "latest_execution",
    "overview",
    "plan_extension",
    "resume_bytes",
    "size",
    "sweep",
    "unarchive",
    "under_way",
    "verify",
]
