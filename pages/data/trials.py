"""One trial's recordings: video, waveform and spectrogram, EEG."""

import streamlit as st

from eavdash import config as cfg
from eavdash.presets import preset
from eavdash.store import checkpoints_root
from eavdash.ui import cache, parts
from eavdash.ui.figures import data as figures

parts.head("Trials", "What was recorded in this trial?")
path = parts.dataset_input("data_trials_path")
parts.need_dataset(path)
with parts.shown_errors():
    table = cache.dataset(path)
parts.simulated_banner(table.simulated)
left, right = st.columns(2)
subject = left.selectbox("Subject", table.subjects, key="data_trials_subject")
rows = table.frame[table.frame["subject"] == subject]
labels = dict(zip(rows["trial"], rows["label"], strict=True))
trial = right.selectbox(
    "Trial",
    list(labels),
    index=figures.fullest(rows),
    format_func=lambda t: f"{t} ({labels.get(t, '')})",
    key="data_trials_trial",
)
if subject in table.problems:
    st.error(parts.plain(table.problems[subject]))

study = parts.current_study()
with parts.shown_errors():
    config = cfg.from_dict(study.study()["config"]) if study else preset("quick")
    preview = cache.preview(path, subject, trial, config)
st.caption(parts.plain(figures.facts(rows[rows["trial"] == trial].iloc[0].to_dict())))

left, right = st.columns([2, 3])
with left:
    st.subheader("Video", anchor=False)
    if preview.vision:
        parts.video(preview.vision, checkpoints_root() / ".cache")
    else:
        parts.absent(preview.errors.get("vision"))
with right:
    st.subheader("Sound", anchor=False)
    if sound := preview.audio:
        parts.chart(figures.waveform(sound.times, sound.low, sound.high), "data_trials_wave", "Envelope of the sound.")
        parts.chart(figures.spectrogram(sound.logmel, sound.logmel_times), "data_trials_mel", "Log-mel spectrogram.")
    else:
        parts.absent(preview.errors.get("audio"))
st.subheader("EEG", anchor=False)
if eeg := preview.eeg:
    parts.chart(figures.eeg_traces(eeg.microvolt, eeg.times, eeg.channels), "data_trials_eeg", "EEG traces in µV.")
    st.caption(f"{len(eeg.channels)} channels, filtered as for training, shown at {eeg.rate:.0f} Hz.")
else:
    parts.absent(preview.errors.get("eeg"))
