"""Two studies on the same trials, and one study as published and honestly scored."""

from eavdash.ui import address, cached_results, widgets
from eavdash.ui.results import comparing

study, document = widgets.study_page("Compare", "Do two studies differ on the same trials, and why?")
scores = cached_results.scores(study, "trial", False)
widgets.require_results(study, scores)
address.read(comparing.PAGE, comparing.NAMES)
other = comparing.choose(study)
comparing.show(study, other, list(dict.fromkeys(scores["stage"])))
address.write(comparing.PAGE, comparing.NAMES)
