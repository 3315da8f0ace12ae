"""Names that are code for one of the programs that show them, and a study and a dataset that consist of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from fake_study import make_explanation, make_study, write_parquet
from google.protobuf.json_format import MessageToDict
from recordings import make_recordings

from eavdash.explain.explanation import save_explanation
from eavdash.store import StudyDir

#: Links, emphasis, directives, formulas and templates, for Streamlit, Plotly, LaTeX and rich.
NAME = (
    r"<b>evil</b> www.evil.com [evil](http://ev.il) :red[evil] :material/evil: :evil: *evil* _evil_ `evil` $evil$ "
    r"%{evil} e@ev.il <a href='http://ev.il'>evil</a> [red]evil[/red] [/] &lt; ~ ^ & \evil # a -- b"
)
FORMULA, TURNED = "=evil(1)", "evil\u202etxt"
SUBJECTS = (NAME, FORMULA, TURNED)
LABELS = (f"A {NAME}", "-evil", "@evil")
STUDY = "www.evil.com"
COLUMN = f"kind {NAME}"
#: Parts of the names that must not reach a reader of Markdown or of a figure as they are.
IN_MARKDOWN = (
    *("<b>", "www.evil", "[evil]", "http://ev", ":red[", ":material/evil:", ":evil:", "*evil*", "_evil_", "`evil`"),
    *("$evil$", "e@ev", "<a ", "&lt;", "\u202e"),
)
IN_FIGURES = ("<b>", "<a ", "%{evil", "$evil$", "\u202e")
CODE = re.compile(r"(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)")
#: Fields of Streamlit's messages that its pages show as plain text, or do not show.
PLAIN = {
    *("id", "formId", "key", "alt", "url", "spec", "config", "defaultValues", "rawValues", "value", "setValue"),
    *("data", "columns", "json", "arrowData", "mixedData", "placeholder", "fileName", "downloadUrl", "codeText"),
    *("default", "rawValue", "userKey", "componentName", "queryParamKey", "deferredFileId", "element", "jsContent"),
}


def dataset(folder: Path) -> Path:
    """Write a trial table whose texts are hostile, with a file name that holds a control sequence."""
    path = make_recordings(folder, subjects=2, groups=4)
    table = pd.read_csv(path, dtype=str)
    sound = f"{NAME.replace('/', '')[:200]}\x1b[31m.wav"
    (folder / table["audio"][0]).rename(folder / sound)
    table.loc[0, "audio"] = sound
    table["subject"] = table["subject"].map({"1": NAME, "2": TURNED})
    table["trial"] = [FORMULA if n == "2" else f"{NAME} {n}" for n in table["trial"]]
    table["label"] = table["label"].map(dict(zip(sorted(set(table["label"])), LABELS, strict=True)))
    table["group"] = table["group"] + NAME
    table["condition"] = [f"{NAME}\x1b[2J" if n % 2 else "=evil" for n in range(len(table))]
    table.to_csv(path, index=False)
    return path


def study(root: Path, data: Path) -> StudyDir:
    """Write a finished study whose texts are hostile, with an explanation of its first trial."""
    made = make_study(root, STUDY, subjects=SUBJECTS, classes=LABELS, trials=6, dataset=data)
    for run in made.runs():
        for file in (run.predictions_file, run.baselines_file, run.attention_file):
            if file.exists():
                frame = pd.read_parquet(file)
                write_parquet(file, frame.assign(trial=[f"{NAME} {trial}" for trial in frame["trial"]]))
        run.update(checksums=run.seal())
    splits = pd.read_csv(made.splits_file, dtype=str)
    splits["trial"] = [f"{NAME} {trial}" for trial in splits["trial"]]
    splits.to_csv(made.splits_file, index=False)
    kinds = [f"{NAME}\x1b[2J" if n % 2 else "=evil" for n in range(len(splits))]
    splits[["subject", "trial"]].assign(**{COLUMN: kinds}).to_csv(made.trials_file, index=False)
    fusion = next(run for run in made.runs() if run.config().stage == "fusion" and run.config().subject == NAME)
    made_here = make_explanation(made, fusion.name, NAME, f"{NAME} 2")
    windows = tuple(window.replace(predicted=LABELS[0]) for window in made_here.windows)
    channels = tuple(f"{NAME} {n}" for n in range(len(made_here.channels)))
    gaps = [{"gap": 9.0, "relative_gap": 0.9}] * 2
    receipts = made_here.receipts.replace(target=LABELS[0], completeness=gaps)
    save_explanation(fusion, replace(made_here, windows=windows, channels=channels, receipts=receipts, label=LABELS[0]))
    return made


def elements(block: Any) -> list[Any]:
    """Return the messages of all elements of an AppTest's page."""
    children = getattr(block, "children", None)
    own = [block.proto] if getattr(block, "proto", None) is not None else []
    return own + [message for child in (children or {}).values() for message in elements(child)]


def markdown_texts(messages: list[Any]) -> list[str]:
    """Return the texts that Streamlit reads as Markdown."""
    return [text for message in messages for text in _texts(MessageToDict(message))]


def figures(messages: list[Any]) -> list[dict[str, Any]]:
    """Return the figures as Plotly's JSON."""
    return [json.loads(message.spec) for message in messages if getattr(message, "spec", "").startswith("{")]


def figure_texts(value: Any, key: str = "") -> list[tuple[str, str]]:
    """Return all texts of a figure with the keys that they are found under."""
    if isinstance(value, str):
        return [(key, value)]
    items = value.items() if isinstance(value, dict) else [(key, v) for v in value] if isinstance(value, list) else ()
    return [found for k, v in items if k != "template" for found in figure_texts(v, str(k))]


def as_read(markdown: str) -> str:
    """Return what a reader of an escaped text sees."""
    return re.sub(r"\\(.)", r"\1", markdown.replace("\u2060", ""))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [CODE.sub("", value)]
    if isinstance(value, dict):
        # The choices of a select box are plain texts; those of buttons are messages.
        read = {k: v for k, v in value.items() if k != "options" or any(isinstance(choice, dict) for choice in v)}
        return [text for key, v in read.items() if key not in PLAIN for text in _texts(v)]
    return [text for v in value for text in _texts(v)] if isinstance(value, (list, tuple)) else []


def control_characters(text: str) -> list[str]:
    """Return the characters of a text that would control a terminal or turn its direction."""
    return re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", text)
