"""Mean maps over a study: what the maps of each class have in common, and which trials are unlike the others."""

from eavdash.ui import address, cached_results, widgets
from eavdash.ui.explain import maps

study, document = widgets.study_page("Average maps", "What do the maps of each class have in common?")
widgets.show_message()
trials = cached_results.trials(study)
widgets.require_results(study, trials)
address.read(maps.PAGE, maps.NAMES)
asked = maps.ask(trials)
found = maps.read(study, asked)
maps.offer(study, asked, found)
if found is not None:
    maps.show(found)
address.write(maps.PAGE, maps.NAMES)
