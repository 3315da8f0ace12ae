"""The commands of the command line: parsed options in, exit code out.

One module per section of the dashboard. Each command imports what it needs when it runs, so that ``eavdash status``
does not wait for torch.
"""

from eavdash.cli.commands.cache import cache
from eavdash.cli.commands.checkpoints import fetch_weights, import_checkpoint
from eavdash.cli.commands.dashboard import app, demo
from eavdash.cli.commands.encoders import encoders
from eavdash.cli.commands.execution import executors
from eavdash.cli.commands.explaining import explain
from eavdash.cli.commands.export import export
from eavdash.cli.commands.expressiveness import expressiveness
from eavdash.cli.commands.maps import maps
from eavdash.cli.commands.outcome import results
from eavdash.cli.commands.probing import probe
from eavdash.cli.commands.receipts import receipts
from eavdash.cli.commands.recordings import check, make_demo
from eavdash.cli.commands.report import report
from eavdash.cli.commands.representations import representations
from eavdash.cli.commands.shapley import shapley
from eavdash.cli.commands.steering import cancel, move, pause, prioritise, resume, retry
from eavdash.cli.commands.studies import archive, clone, delete, extend, relocate, studies, unarchive, verify
from eavdash.cli.commands.tasks import tasks
from eavdash.cli.commands.training import logs, status, train
from eavdash.cli.commands.whatif import whatif
