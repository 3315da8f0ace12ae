"""The dashboard's router: sections, pages and the study picker. Start it with ``eavdash app``.

The home page is at ``/``. Every page shows the selected study. The selection is part of the URL, so that a shared link
opens the same study. On each full run the scheduler is started again if runs wait and it has died.
"""

import streamlit as st

from eavdash.jobs.obstacle import start_scheduler
from eavdash.store import checkpoints_root
from eavdash.text import markdown
from eavdash.ui import allowing, edge, history, widgets
from eavdash.ui.home import documents

st.set_page_config(page_title="eavdash", layout="wide")
edge.check_exposure()
history.mend()

page = st.navigation(
    {
        "": [
            st.Page("pages/home/overview.py", title="Home", default=True),
            docs := st.Page("pages/home/docs.py", title="Documentation", url_path="docs"),
        ],
        "Results": [
            st.Page("pages/results/subjects.py", title="Subjects", url_path="subjects"),
            st.Page("pages/results/statistics.py", title="Statistics", url_path="statistics"),
            st.Page("pages/results/compare.py", title="Compare", url_path="compare"),
        ],
        "Explain": [
            st.Page("pages/explain/trial.py", title="One trial", url_path="explain"),
            st.Page("pages/explain/attention.py", title="Attention", url_path="attention"),
            st.Page("pages/explain/maps.py", title="Average maps", url_path="maps"),
            st.Page("pages/explain/representations.py", title="Representations", url_path="representations"),
        ],
        "Training": [
            st.Page("pages/training/launch.py", title="Launch", url_path="launch"),
            st.Page("pages/training/monitor.py", title="Monitor", url_path="monitor"),
            st.Page("pages/training/studies.py", title="Studies", url_path="studies"),
        ],
        "Data": [
            st.Page("pages/data/add.py", title="Add data", url_path="add"),
            st.Page("pages/data/health.py", title="Health", url_path="health"),
            st.Page("pages/data/trials.py", title="Trials", url_path="trials"),
        ],
    },
    expanded=True,  # otherwise the last sections are folded away
)
root = checkpoints_root()
widgets.study_picker(root)
documents.product(docs)
allowing.start(root)
if problem := start_scheduler(root):
    st.error(markdown(problem))
page.run()
