"""The size of the folds of a protocol.

In: the rows of a trial table and a :class:`ProtocolConfig`. Out: nothing, or an error before they would fill memory.
"""

from __future__ import annotations

import pandas as pd

from eavdash.config.choices import ACROSS
from eavdash.config.limits import SPLIT_ROWS
from eavdash.config.schema import ProtocolConfig
from eavdash.errors import SplitError


def refuse_too_many_rows(trials: pd.DataFrame, protocol: ProtocolConfig) -> None:
    """Check the number of rows, trials x folds, before they are made.

    Raises:
        SplitError: there are more than :data:`~eavdash.config.limits.SPLIT_ROWS`.
    """
    across = protocol.name in ACROSS
    units = trials.groupby(lambda _: "") if across else trials.groupby("subject")
    folds = units["subject" if across else "group"].nunique()
    if protocol.name != "loso":
        folds = folds.clip(upper=1 if protocol.name == "paper" else protocol.folds)
    if (rows := int((folds * units.size()).sum())) > SPLIT_ROWS:
        raise SplitError.at(
            f"protocol {protocol.name}",
            expected=f"at most {SPLIT_ROWS:,} trials over all folds",
            found=f"{rows:,}: {len(trials):,} trials in up to {int(folds.max()):,} folds",
            remedy="set a smaller protocol.folds, or choose fewer subjects or another protocol",
        )
