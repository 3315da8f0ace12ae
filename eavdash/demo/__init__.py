"""Simulated recordings in EAV's layout, with the ground truth of the planted expressions.

In: a folder, a number of subjects and a seed. Out: :func:`make_demo` writes EAV's files and ``truth.json``.

``plan.py`` decides which emotion each trial expresses in each modality, and how clearly; ``eeg.py``, ``voice.py`` and
``face.py`` turn the plan of a trial into signals; ``files.py`` writes one subject, ``make.py`` the dataset.
"""

from eavdash.demo.make import make_demo

__all__ = ["make_demo"]
