"""Representations: the test trials as the models see them, and whether people or classes separate them."""

from eavdash.ui import address, cached_results, widgets
from eavdash.ui.explain import representations

study, document = widgets.study_page("Representations", "What separates the trials, as the models see them?")
widgets.show_message()
trials = cached_results.trials(study)
widgets.require_results(study, trials)
address.read(representations.PAGE, representations.NAMES)
found = representations.offer(study)
if found is not None:
    representations.show(study, found, trials)
address.write(representations.PAGE, representations.NAMES)
