"""The declared question, is fusion better than the best single modality; and what lies behind the scores."""

import streamlit as st

from eavdash.report.figures.answer import metric_name
from eavdash.results.metrics import METRICS
from eavdash.ui import address, cached_results, downloads, widgets
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
for name, options in (("view", VIEWS), ("metric", METRICS)):
    if st.session_state.get(f"{PAGE}_{name}") not in options:
        st.session_state[f"{PAGE}_{name}"] = next(iter(options))
view = st.segmented_control("View", [*VIEWS], format_func=VIEWS.__getitem__, required=True, **kept(PAGE, "view"))
if view == "answer":
    metric = st.segmented_control("Metric", [*METRICS], format_func=metric_name, required=True, **kept(PAGE, "metric"))
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
