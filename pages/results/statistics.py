"""The declared question, is fusion better than the best single modality; and what lies behind the scores."""

from eavdash.report.figures.answer import metric_name
from eavdash.results.metrics import METRICS
from eavdash.ui import address, cached_results, choosing, downloads, widgets
from eavdash.ui.draft import kept
from eavdash.ui.results import confusions, kinds, modalities, questions, why

PAGE = questions.PAGE
VIEWS = {
    "answer": "The answer",
    "classes": "Classes",
    "together": "Modalities together",
    "why": "Why do modalities differ?",
    "curves": "Learning curves",
}
NAMES = ("view", "metric", "stage", "subject", "split", "alone", "quantity", "measure")

study, document = widgets.study_page("Statistics", "Is fusion better than the best single modality, and why?")
widgets.show_message()
scores = cached_results.scores(study, "trial", True)
widgets.require_results(study, scores)
address.read(PAGE, NAMES)
for name in ("subject", "stage"):
    address.valid(f"{PAGE}_{name}", scores[name].unique().tolist())
address.valid(f"{PAGE}_metric", METRICS, next(iter(METRICS)))  # in the address also of the other views
view = choosing.segments("View", [*VIEWS], label=VIEWS.__getitem__, **kept(PAGE, "view"))
if view == "answer":
    metric = choosing.segments("Metric", [*METRICS], label=metric_name, **kept(PAGE, "metric"))
    questions.show(study, document, metric)
    kinds.show(study)
elif view == "classes":
    confusions.show(study)
elif view == "together":
    modalities.show(study)
elif view == "why":
    why.show(study, document)
else:
    confusions.show_curves(study)
address.write(PAGE, NAMES)
downloads.report_button(study, PAGE)
