"""The report of a study: one HTML file with everything that its results rest on, and their figures as files."""
