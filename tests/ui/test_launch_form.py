"""The launch form has every setting of the schema, says what is wrong beside its field, and knows its command line."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from test_launch_preprocessing import frozen, no_jobs
from test_pages import PAGES, ROOT, checkpoints, open_page, page_text
from test_pages_data import fill_in, sounds

from eavdash.cli.commands.training import study_config
from eavdash.cli.main import parser
from eavdash.config.choices import MODALITIES
from eavdash.config.convert import recorded_config, settings_of, to_dict, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import SETTINGS, Execution, Selection, StudyConfig
from eavdash.config.setting import value_of
from eavdash.errors import ConfigError
from eavdash.models.catalogue import offered
from eavdash.store import find_study
from eavdash.studies import write
from eavdash.studies.command_line import train_command
from eavdash.studies.sweep import MOST
from eavdash.studies.unusable import Unusable
from eavdash.ui import cached_runs
from eavdash.ui.training import form_state
from eavdash.ui.training.fields import title_of

__all__ = ["checkpoints", "no_jobs", "sounds"]
#: Legal values where the schema's bounds alone do not give one, or a rule between settings would refuse it.
LEGAL = {
    "stages": "audio,eeg",
    "where": "place=lab",
    "window": "2.5",
    "protocol.subject_scaling": "all",
    "protocol.test_epoch": "",  # only under the protocol paper
    "audio.channel": "loudest",
    "audio.scaling": "",  # AudioSet's constants contradict the scaling of people
    "eeg.chain": "",  # the published chain has no such steps as are set below
    "eeg.reference": "average",
    "eeg.low": "1.0",
    "audio.rate": "22050",
    "train.fusion.fit": "gradient",
    **{f"{m}.heads": "2" for m in (*MODALITIES, "fusion")},
    **{f"train.{m}.fit": "gradient" for m in MODALITIES},  # the fits of tangent contradict fusion.joint_epochs
    **{f"{m}.encoder": e for m, e in (("vision", "timm:deit_tiny_patch16_224"), ("audio", "table"), ("eeg", "yin"))},
}


def legal(key: str) -> str:
    """Return another legal value of a setting than the preset's; empty if there is none beside the others."""
    setting, now = SETTINGS[key], value_of(StudyConfig(), key)
    if key in LEGAL:
        return LEGAL[key]
    if setting.kind is bool:
        return str(not now).lower()
    if setting.bounds.choices:
        return next(choice for choice in setting.bounds.choices if choice != now)
    if setting.kind in (int, float):
        value = setting.kind(now * 2 or 1)
        return str(value if setting.bounds.hold(value) else setting.kind(now / 2))
    return "a,b" if isinstance(now, tuple) else "a"


def illegal(key: str) -> str:
    """Return an illegal value of a field of text, empty if there is none."""
    kind, bounds = SETTINGS[key].kind, SETTINGS[key].bounds
    if kind not in (int, float) or bounds.choices:
        return ""
    return "many" if hash(key) % 2 else str(kind((bounds.at_most or bounds.below or 0) + 1))


def settings(app: AppTest) -> list[str]:
    found = app.query_params.get("set", [])
    return [found] if isinstance(found, str) else list(found)


def enter(app: AppTest, key: str, value: str) -> None:
    """Enter a value into the field of a setting, which has to be on the page with the schema's help."""
    name, words = f"training_launch_{key}", SETTINGS[key].help
    if SETTINGS[key].kind is bool:
        box: Any = app.checkbox(key=name).set_value(value == "true")
    elif key == "stages":
        box = app.multiselect(key=name).set_value(value.split(","))
    elif name in {box.key for box in app.selectbox}:
        box = app.selectbox(key=name)
        if any(text == value or text.startswith(f"{value}: ") for text in box.options):
            box.set_value(value)
        else:  # AppTest cannot type a new option
            typed = app.text_area(key="training_launch_set_box")
            typed.set_value(f"{typed.value or ''}\n{key}={value}")
    else:
        box = app.text_input(key=name).set_value(value)
    assert words.removesuffix(".") in box.help
    assert f"`{key}`" in box.help
    assert box.label == title_of(key)


@pytest.fixture
def app(sounds: Path) -> AppTest:
    return open_page("launch", {"training_launch_dataset": str(sounds)})


def test_each_setting_of_the_schema_has_a_field_in_one_tab_that_takes_a_legal_value(app: AppTest) -> None:
    wanted = []
    for tab in form_state.TABS:
        app.session_state["training_launch_tab"] = tab
        app.run()
        for keys in form_state.groups(tab).values():
            for key in keys:
                if value := legal(key):
                    enter(app, key, value)
                    wanted.append(f"{key}={value}")
        app.run()
        assert not app.exception
        assert [e.value for e in app.error] == []
    skipped = {key for key, value in LEGAL.items() if not value}
    assert {text.partition("=")[0] for text in wanted} == set(SETTINGS) - skipped - {"preset"}
    made = with_settings(preset("quick"), settings(app))
    assert made == with_settings(preset("quick"), wanted)
    app.button(key="training_launch_reset_all").click().run()
    assert settings(app) == []


def test_each_illegal_value_is_said_beside_its_field(app: AppTest) -> None:
    for tab in form_state.TABS:
        app.session_state["training_launch_tab"] = tab
        app.run()
        keys = [key for keys in form_state.groups(tab).values() for key in keys if illegal(key)]
        for key in keys:
            enter(app, key, illegal(key))
        app.run()
        assert not app.exception
        texts = [e.value.replace("\\", "") for e in app.error]
        for key in keys:
            assert any(SETTINGS[key].expected in text and repr(illegal(key)) in text for text in texts), key
        assert "training_launch_queue" not in [b.key for b in app.button]
        app.button(key="training_launch_reset_all").click().run()
        assert not app.error


def test_a_changed_setting_is_marked_with_the_value_of_the_preset_and_can_be_reset(app: AppTest) -> None:
    app.session_state["training_launch_tab"] = "EEG"
    app.run()
    assert "training_launch_eeg.low_reset" not in [b.key for b in app.button]
    app.text_input(key="training_launch_eeg.low").set_value("2").run()
    assert "**Changed**; quick: `0.5`" in page_text(app)
    assert "1 setting differs from quick: `eeg.low=2`" in page_text(app)
    app.button(key="training_launch_eeg.low_reset").click().run()
    assert app.text_input(key="training_launch_eeg.low").value == "0.5"
    assert "**Changed**" not in page_text(app)


def test_what_the_recordings_allow_is_preset_and_more_is_said_beside_the_field(app: AppTest) -> None:
    # Sounds alone, of four groups for each person.
    assert app.multiselect(key="training_launch_stages").value == ["audio"]
    assert app.text_input(key="training_launch_protocol.folds").value == "4"
    assert "As the recordings allow; quick: `5`" in page_text(app)
    app.text_input(key="training_launch_name").set_value("pilot")
    app.multiselect(key="training_launch_stages").set_value(["vision", "audio", "eeg"])
    app.text_input(key="training_launch_protocol.folds").set_value("7").run()
    warned = " ".join(w.value.replace("\\", "") for w in app.warning)
    assert "no trial has vision or eeg recordings: vision, eeg not trained" in warned
    made = "the groups of each subject's trials make 3 to 4, by subject"
    assert f"7 folds are asked for, and {made}: so many are run." in warned
    app.selectbox(key="training_launch_protocol.name").set_value("loso").run()
    assert not app.exception
    assert "so many are run" not in page_text(app)
    app.selectbox(key="training_launch_protocol.name").set_value("conversation")
    app.session_state["training_launch_tab"] = "Fusion"  # then the note stands with the plan
    app.run()
    assert "7 folds are asked for" in " ".join(c.value for c in app.caption)


@pytest.mark.parametrize(
    ("box", "value", "expected"),
    [
        ("name", "../up", "letters, digits"),
        ("folds", "9", "found 9"),
        ("seeds", "x", "numbers such as"),
        ("epochs", "none", "a whole number"),
    ],
)
def test_a_wrong_entry_is_said_beside_its_field_and_in_no_other_place(
    app: AppTest, box: str, value: str, expected: str
) -> None:
    app.text_input(key="training_launch_name").set_value("pilot")
    app.text_input(key=f"training_launch_{box}").set_value(value).run()
    assert not app.exception
    assert expected in "".join(e.value.replace("\\", "") for e in app.error)
    assert len(app.error) == 1
    assert "Nothing can be queued until what is marked above is corrected." in page_text(app)
    assert "training_launch_queue" not in [b.key for b in app.button]


def test_settings_as_text_are_taken_into_the_fields_and_what_is_wrong_stays(app: AppTest) -> None:
    text = "eeg.low=2\n--set train.eeg.epochs=7 --set 'eeg.channels=C3,C4'\neeg.lows=1\neeg.chain=odd"
    app.text_area(key="training_launch_set_box").set_value(text).run()
    assert app.text_area(key="training_launch_set_box").value == "eeg.lows=1\neeg.chain=odd"
    errors = " ".join(e.value.replace("\\", "") for e in app.error)
    assert "did you mean" in errors
    assert "one of trial, published" in errors
    assert {"eeg.low=2", "train.eeg.epochs=7", "eeg.channels=C3,C4"} == set(settings(app))


def test_the_command_line_makes_the_configuration_that_the_form_queues(app: AppTest, checkpoints: Path) -> None:
    app = fill_in(app, "voices")
    app.text_input(key="training_launch_epochs").set_value("6")
    app.text_input(key="training_launch_seeds").set_value("0,2").run()
    app.text_input(key="training_launch_where").set_value("place=lab")
    app.selectbox(key="training_launch_names.labels").set_value("written")
    app.number_input(key="training_launch_priority").set_value(3)
    app.multiselect(key="training_launch_leave_out").set_value(["silent", "clipped"]).run()
    words = shlex.split(app.code[0].value)
    assert words[0] == "eavdash"
    options = parser().parse_args(words[1:])
    assert (options.priority, options.leave_out, options.seeds) == (3, ["silent", "clipped"], "0,2")
    assert (options.subjects, options.checkpoints) == ("anna", str(checkpoints))
    frozen(app, checkpoints, "voices")
    document = find_study(checkpoints, "voices").study()
    asked = study_config(options)
    assert settings_of(recorded_config(document), asked, to_dict(asked)) == [
        f"train.{m}.fit=gradient"
        for m in MODALITIES  # what planning decides
    ]
    assert document.selection.document()["seeds"] == [0, 2]


def test_every_setting_survives_the_command_line(tmp_path: Path) -> None:
    commands = parser()
    for name in ("quick", "paper"):
        for key in (key for key in SETTINGS if key != "preset" and legal(key)):
            try:
                config = with_settings(preset(name), [f"{key}={legal(key)}"])
            except ConfigError:  # a rule between settings of that preset
                continue
            words = train_command(
                tmp_path,
                "p",
                config,
                Selection(),
                Execution(slurm=("a=b",), executor="slurm"),
                Unusable(True),
                tmp_path,
            )
            options = commands.parse_args(words[1:])
            assert study_config(options) == config, key
            assert (options.slurm, options.strict) == (["a=b"], True)


def test_the_encoders_are_offered_with_what_is_installed(app: AppTest) -> None:
    for modality in MODALITIES:
        app.session_state["training_launch_tab"] = form_state.tab_of(f"{modality}.encoder")
        app.run()
        options = app.selectbox(key=f"training_launch_{modality}.encoder").options
        for entry in offered(modality):
            for value in entry.values:
                assert sum(text.startswith(f"{value}: {entry.title}") for text in options) == 1
        missing = [value for entry in offered(modality) if entry.missing for value in entry.values]
        assert sum("(not installed)" in text for text in options) == len(missing)


def test_several_values_make_several_studies_that_are_queued_together(app: AppTest, checkpoints: Path) -> None:
    app = fill_in(app, "voices")
    app.multiselect(key="training_launch_swept").set_value(["train.audio.learning_rate"]).run()
    assert any("two or more values" in e.value for e in app.error)
    app.text_input(key="training_launch_values_train.audio.learning_rate").set_value("1e-3, 1e-2").run()
    assert "2 studies, 8 runs" in page_text(app)
    assert not app.error
    options = parser().parse_args(shlex.split(app.code[0].value)[1:])
    assert (options.study, options.sweep) == ("voices", ["train.audio.learning_rate=1e-3, 1e-2"])
    address = dict(app.query_params)
    app.button(key="training_launch_queue").click().run()
    assert not app.exception
    assert app.title[0].value == "Studies"  # the monitor shows one of them only
    assert "8 runs of the studies" in app.toast[0].value
    for rate in ("1e-3", "1e-2"):
        assert f"voices-learning_rate-{rate}" in app.dataframe[0].value["Study"].tolist()
        document = find_study(checkpoints, f"voices-learning_rate-{rate}").study()
        assert document.config["train"]["audio"]["learning_rate"] == float(rate)
    again = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    for name, value in address.items():
        again.query_params[name] = value
    again.switch_page(PAGES["launch"]).run()
    assert again.multiselect(key="training_launch_swept").value == ["train.audio.learning_rate"]
    assert "2 studies, 8 runs" in page_text(again)
    assert [box.proto.expanded for box in again.expander if box.label.startswith("Several values")] == [True]
    assert list(again.dataframe[0].value["exist already"]) == [4, 4]


def test_the_plans_of_the_largest_sweep_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(write, "plan", lambda root, name, *given, **more: made.append(name))
    names = [f"voices-{number}" for number in range(MOST)]
    for name in names * 2:
        cached_runs.plan("voices", name, StudyConfig(), Selection(), tmp_path, Unusable())
    assert made == names
    cached_runs.refresh()
    cached_runs.plan("voices", names[0], StudyConfig(), Selection(), tmp_path, Unusable())
    assert len(made) == MOST + 1


def test_what_of_an_address_is_not_in_the_form_is_said_until_the_form_is_changed(app: AppTest) -> None:
    app.query_params["preset"] = "quick"
    app.query_params["set"] = ["eeg.high=40", "nope=<b>", "fusion.kind=sum", "stages=smell", "eeg.low"]
    app.query_params["sweep"] = ["none=1,2", "seed=1,2"]
    app.run()
    (said,) = [w.value for w in app.warning if w.value.startswith("Not taken over from the address")]
    assert "nope" in said
    assert "<b>" not in said
    assert "fusion.kind" in said
    assert "smell" in said
    assert said.endswith(" 3 more.")
    assert settings(app) == ["eeg.high=40"]
    app.text_input(key="training_launch_seeds").set_value("1").run()
    app.run()
    assert not any("Not taken over" in w.value for w in app.warning)
