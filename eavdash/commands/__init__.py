"""What each command of the command line does; parsed options in, exit code out.

One module per section of the app. Everything heavy is imported by the command that needs it, so that
``eavdash status`` does not pay for torch.
"""

from eavdash.commands.checkpoints import fetch_weights, import_checkpoint
from eavdash.commands.dashboard import app, demo
from eavdash.commands.execution import check_place, executors
from eavdash.commands.outcome import explain, results
from eavdash.commands.probing import probe
from eavdash.commands.recordings import cache, check, make_demo
from eavdash.commands.steering import cancel, move, pause, prioritise, resume, retry
from eavdash.commands.studies import archive, clone, delete, extend, studies, unarchive, verify
from eavdash.commands.training import logs, status, train

__all__ = [
    "app",
    "archive",
    "cache",
    "cancel",
    "check",
    "check_place",
    "clone",
    "delete",
    "demo",
    "executors",
    "explain",
    "extend",
    "fetch_weights",
    "import_checkpoint",
    "logs",
    "make_demo",
    "move",
    "pause",
    "prioritise",
    "probe",
    "results",
    "resume",
    "retry",
    "status",
    "studies",
    "train",
    "unarchive",
    "verify",
]
