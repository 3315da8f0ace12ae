"""All runs of the study, updated live: states, progress and accuracy; curves, log and reason of the selected runs."""

import streamlit as st

from eavdash.text import markdown
from eavdash.ui import address, cached_results, cached_runs, tasks, widgets
from eavdash.ui.fragment import fragment
from eavdash.ui.training import monitor_page, run_details

study, document = widgets.study_page("Runs", "What is running, what is done, and what went wrong?")
monitor_page.read_address()


@fragment(run_every=1.5)
def live() -> None:
    """Show the grid and the selected runs; polled, so that a change is on the screen within two seconds."""
    widgets.show_message()
    tasks.overview(study.path.parent, monitor_page.PAGE)
    snapshot = cached_runs.snapshot(study)
    if snapshot.empty:
        st.info("This study has no runs yet.")
        st.page_link(widgets.LAUNCH, label="Set up a study")
        return
    if problem := cached_runs.scheduler_problem(study.path.parent):
        st.error(markdown(problem))
    tested = cached_results.test_trial_counts(study)
    monitor_page.progress(study, snapshot)
    chosen = monitor_page.run_grid(snapshot, tested)
    monitor_page.run_buttons(study, snapshot, chosen)
    run_details.show_runs(study, chosen, tested)
    address.write(monitor_page.PAGE, monitor_page.NAMES)


live()
