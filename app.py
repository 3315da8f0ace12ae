"""The dashboard's router: sections, pages and the study picker. Start it with ``eavdash app``.

The home page is at ``/``. Every page shows the selected study. The selection is part of the URL, so that a shared link
opens the same study. On each full run the scheduler is started again if runs wait and it has died.
"""

import streamlit as st

from eavdash.jobs.obstacle import start_scheduler
from eavdash.store import checkpoints_root
from eavdash.text import markdown
from eavdash.ui import allowing, edge, frame, history, widgets
from eavdash.ui.home import documents

frame.configure()
edge.check_exposure()
frame.show()
history.correct()

page = st.navigation(
    {
        "": [
            st.Page("pages/home/overview.py", title="Home", icon=":material/home:", default=True),
            docs := st.Page("pages/home/docs.py", title="Documentation", icon=":material/menu_book:", url_path="docs"),
        ],
        "Results": [
            st.Page("pages/results/subjects.py", title="Subjects", icon=":material/bar_chart:", url_path="subjects"),
            st.Page(
                "pages/results/statistics.py", title="Statistics", icon=":material/query_stats:", url_path="statistics"
            ),
            st.Page("pages/results/compare.py", title="Compare", icon=":material/compare_arrows:", url_path="compare"),
        ],
        "Explain": [
            st.Page(
                "pages/explain/trial.py", title="One trial", icon=":material/center_focus_strong:", url_path="explain"
            ),
            st.Page("pages/explain/attention.py", title="Attention", icon=":material/hub:", url_path="attention"),
            st.Page("pages/explain/maps.py", title="Average maps", icon=":material/face:", url_path="maps"),
            st.Page(
                "pages/explain/representations.py",
                title="Representations",
                icon=":material/scatter_plot:",
                url_path="representations",
            ),
        ],
        "Training": [
            st.Page("pages/training/launch.py", title="Launch", icon=":material/rocket_launch:", url_path="launch"),
            st.Page("pages/training/monitor.py", title="Monitor", icon=":material/monitor_heart:", url_path="monitor"),
            st.Page("pages/training/studies.py", title="Studies", icon=":material/folder_open:", url_path="studies"),
        ],
        "Data": [
            st.Page("pages/data/add.py", title="Add data", icon=":material/add_circle:", url_path="add"),
            st.Page("pages/data/health.py", title="Health", icon=":material/health_and_safety:", url_path="health"),
            st.Page("pages/data/trials.py", title="Trials", icon=":material/play_circle:", url_path="trials"),
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
