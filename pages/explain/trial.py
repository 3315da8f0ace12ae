"""One test trial: what was decided, from which modality, and from where in its recordings."""

import streamlit as st

from eavdash.text import markdown
from eavdash.ui import address, cached_results, widgets
from eavdash.ui.explain import attributions, choose_trial, from_modality, playhead, playing, question, whatif
from eavdash.ui.fragment import stop

study, document = widgets.study_page("One trial", "What was decided, from which modality, and from where?")
widgets.show_message()
trials = cached_results.trials(study)
widgets.require_results(study, trials)
names = (*choose_trial.NAMES, *question.NAMES, *attributions.NAMES, *whatif.NAMES)
linked = address.read(choose_trial.PAGE, names)
rows = choose_trial.choose_trial(trials, linked)
if rows.empty:
    address.write(choose_trial.PAGE, names)
    word = choose_trial.label_word(document.classes)
    st.info(f"No trial matches. Choose another subject, decision or {word}.")
    stop()
st.subheader(markdown(choose_trial.decision_sentence(rows)), anchor=False)
from_modality.show(study, document, rows)

st.subheader("From where", anchor=False)
playhead.open_at(*choose_trial.place(rows), linked)
asked = question.ask(study, rows, document.classes)
address.write(choose_trial.PAGE, names)
with widgets.show_errors():
    found = asked.answer()
question.offer(study, rows, asked, found is not None, found is not None and playing.lacks_places(study, found))
if found is not None:
    attributions.show_attributions(study, asked, names)
whatif.show(study, document, rows)
