#!/usr/bin/env bash
# Train on the real recordings of a folder with speech/trials.csv and eeg/trials.csv, within and across subjects.
# Usage: benchmarks/real_recordings.sh FOLDER [CHECKPOINTS]
set -euo pipefail
data=$1
export EAVDASH_CHECKPOINTS=${2:-checkpoints}
eavdash() { "$(dirname "$0")/../.venv/bin/eavdash" "$@"; }
eavdash train "$data/speech/trials.csv" --study speech-within --stages audio --wait
eavdash train "$data/speech/trials.csv" --study speech-across --stages audio --protocol loso --wait
eavdash train "$data/eeg/trials.csv" --study eeg-within --stages eeg --wait
eavdash train "$data/eeg/trials.csv" --study eeg-across --stages eeg --protocol loso --wait
for study in speech-within speech-across eeg-within eeg-across; do eavdash results "$study"; done
