"""Figures, and what else a report shows, without Streamlit; pages draw the same figures."""
