"""Recordings that are tables of features: which do not fit the others or the encoder, and findings about them.

In: the measures of every recording and the answers per file. Out: sentences about single recordings, which a study
leaves out; an error about all of them; findings. Delegated to data/readers/table.py: the sentence about other columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.choices import COLUMN, ENCODERS, TABLE
from eavdash.config.schema import StudyConfig
from eavdash.data.formats.feature_columns import SUFFIXES, is_feature_table
from eavdash.data.readers.table import other_columns
from eavdash.errors import ConfigError, sentence
from eavdash.health.report import Finding
from eavdash.health.scan import Scan
from eavdash.text import plural, shortened

#: Of the measures, by file.
Answers = dict[str, dict[str, Any]]
#: Modalities whose recordings may be tables.
MODALITIES = tuple(modality for modality, names in ENCODERS.items() if TABLE in names)


def differing(rows: pd.DataFrame, done: Scan) -> pd.Series:
    """For each recording, a sentence if it is a table whose columns are not those of most tables, else ""."""
    texts = pd.Series("", rows.index, dtype="str")
    for modality, of, answers in _tables(rows, done):
        names = {path: tuple(answer["names"]) for path, answer in answers.items()}
        counts = Counter(frozenset(columns) for columns in names.values())
        most = counts.most_common(1)[0][0]
        usual = next(columns for columns in names.values() if frozenset(columns) == most)
        for index, path in zip(of.index, of["path"], strict=True):
            if frozenset(names[path]) != most:
                texts.at[index] = str(other_columns(path, names[path], usual, modality, "most tables"))
    return texts


def other_kind(rows: pd.DataFrame, config: StudyConfig) -> pd.Series:
    """For each recording of the study, a sentence if it is a table and its encoder reads none, or the reverse.

    Raises:
        ConfigError: that is true of all recordings of a modality.
    """
    texts, kinds = pd.Series("", rows.index, dtype="str"), ", ".join(SUFFIXES)
    for modality in set(MODALITIES) & set(config.modalities):
        of = rows[rows["modality"] == modality]
        encoder, usual = config.modality(modality).encoder, ENCODERS[modality][0]
        wants = encoder == TABLE
        wrong = of[of["path"].map(is_feature_table).astype(bool) != wants]
        column = f"{modality}.encoder"
        if len(wrong) and len(wrong) == len(of):
            first = wrong["path"].iloc[0]
            raise ConfigError.at(
                f"{column}, of {plural(len(of), 'recording')} such as {first}",
                expected=f"an encoder of {'recordings' if wants else 'tables of features'}",
                found=f"{encoder}, which reads {f'tables of features ({kinds})' if wants else 'none'}",
                remedy=f"set {column}={usual if wants else TABLE}, or name other files in column {COLUMN[modality]}",
            )
        for index, path in zip(wrong.index, wrong["path"], strict=True):
            expected = f"a table of features ({kinds})" if wants else "a recording"
            found = f"{Path(path).suffix or 'no suffix'}, which {column}={encoder} does not read"
            remedy = "leave the trial out, or name a file like those of the others"
            texts.at[index] = sentence(path, expected, found, remedy)
    return texts


def refuse_constant(rows: pd.DataFrame, done: Scan, config: StudyConfig) -> None:
    """Check that each column of a study's tables changes somewhere.

    Raises:
        ConfigError: one has the same number in all recorded rows of all tables.
    """
    for modality, of, answers in _tables(rows, done):
        still = _constant(answers)
        if still and modality in config.modalities and config.modality(modality).encoder == TABLE:
            name, value = next(iter(still.items()))
            more = f" ({len(still) - 1} more columns likewise)" if len(still) > 1 else ""
            columns = config.modality(modality).table.columns  # type: ignore[union-attr]  # EEG has no tables
            without = ",".join([*columns, *(f"-{name}" for name in still)]) if len(still) < 20 else "..."
            raise ConfigError.at(
                f"{modality}.table.columns, of {plural(len(answers), 'table')} such as {of['path'].iloc[0]}",
                expected="features that change",
                found=f"column {shortened(name, 60)!r} with {value:g} in every row{more}",
                remedy=f"leave it out: --set '{modality}.table.columns={shortened(without)}'",
            )


def refuse_sparse(rows: pd.DataFrame, done: Scan, config: StudyConfig) -> None:
    """Check that the tables have a row per window, which times in other units than seconds have not.

    Raises:
        ConfigError: the rows of all tables of a modality are farther apart.
    """
    for modality, of, answers in _tables(rows, done):
        apart = 1 / float(of["row_rate"].max())
        if apart > config.window and modality in config.modalities and config.modality(modality).encoder == TABLE:
            time = config.modality(modality).table.time  # type: ignore[union-attr]  # EEG has no tables
            raise ConfigError.at(
                f"{modality}.table.time, of {plural(len(answers), 'table')} such as {of['path'].iloc[0]}",
                expected=f"times in seconds, with a row in each window of {config.window:g} s",
                found=f"a row every {apart:g} s",
                remedy=f"set {modality}.table.time={time or 'NAME'}/1000 if it has milliseconds, or longer windows",
            )


def findings(rows: pd.DataFrame, done: Scan, config: StudyConfig) -> list[Finding]:
    """Return the findings about tables: how to train on them, faces that are not read, columns that never change."""
    found = []
    for modality, of, answers in _tables(rows, done):
        names = next(iter(answers.values()))["names"]
        listed = f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        message = f"{plural(len(of), 'recording is', 'recordings are')} tables of {plural(len(names), 'feature')}"
        used = config.modality(modality).encoder == TABLE
        remedy = f"nothing: {modality}.encoder={TABLE} reads them" if used else ""
        remedy = remedy or f"train on them with {modality}.encoder={TABLE}"
        found.append(Finding("info", "", modality, of["path"].iloc[0], f"{message} ({shortened(listed)})", remedy))
        for name, value in list(_constant(answers).items())[:5]:
            message = f"column {shortened(name, 60)!r} is {value:g} in every row of all tables"
            remedy = f"leave it out with {modality}.table.columns=-{name}"
            found.append(Finding("warning", "", modality, of["path"].iloc[0], message, remedy))
        noted = {path: answer["note"] for path, answer in answers.items() if answer.get("note")}
        if noted:
            path, note = next(iter(noted.items()))
            message = f"several faces in {plural(len(noted), 'table')}; {Path(path).name} has {note}"
            remedy = "nothing, if that is the subject; otherwise remove the other rows"
            found.append(Finding("info", "", modality, path, message, remedy))
    return found


def _tables(rows: pd.DataFrame, done: Scan) -> Iterator[tuple[str, pd.DataFrame, Answers]]:
    """Yield each modality with readable tables: its rows without a problem, and the answer per file."""
    for modality in MODALITIES:
        of = rows[(rows["modality"] == modality) & (rows["problem"] == "")]
        of = of[of["path"].map(is_feature_table).astype(bool)]
        answers = {path: done.answers.get((COLUMN[modality], path), {}) for path in of["path"]}
        answers = {path: answer for path, answer in answers.items() if "names" in answer}
        of = of[of["path"].isin(list(answers))]
        if len(of):
            yield modality, of, answers


def _constant(answers: Answers) -> dict[str, float]:
    """Return the columns that have one and the same value in all files."""
    still: dict[str, float] | None = None
    for answer in answers.values():
        here = answer.get("constant", {})
        still = dict(here) if still is None else {n: v for n, v in still.items() if here.get(n) == v}
    return still or {}
