"""The rule which files may be read: resolved paths, below the data folders, never the system's."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from failing import fails

from eavdash.errors import OutsideError, RecordingError, TableError, UsageError
from eavdash.store import readable
from eavdash.store.quoting import reason_of
from eavdash.store.readable import check_readable, open_readable
from eavdash.store.secret import user_secret

SECRET = "API_TOKEN=hunter2secret\nHOME=/home/somebody\n"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only data folder, with a recording; beside it a secret file."""
    folder = tmp_path.resolve() / "data"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"sound")
    (folder.parent / "secret.txt").write_text(SECRET)
    (folder.parent / "secret.txt").chmod(0o600)
    monkeypatch.setenv(readable.VARIABLE, json.dumps([str(folder)]))
    return folder


def test_a_file_below_a_data_folder_is_opened(data: Path) -> None:
    with open_readable(data / "a.wav") as file:
        assert file.read() == b"sound"
    (data / "inside.wav").symlink_to(data / "a.wav")
    assert check_readable(data / "inside.wav") == str(data / "a.wav")


def test_what_resolves_to_another_place_is_refused(data: Path) -> None:
    secret = data.parent / "secret.txt"
    (data / "link.wav").symlink_to(secret)
    (data / "folder").symlink_to(data.parent)
    (data / "again.wav").symlink_to(data / "link.wav")
    for path in (
        secret,
        data / "link.wav",
        data / "again.wav",
        data / "folder" / "secret.txt",
        data / ".." / "secret.txt",
        f"{data}-beside/x.wav",
        f"/{secret}",
    ):
        with fails(OutsideError, where=str(path), expected=str(data), found="outside"):
            open_readable(path)
    assert isinstance(OutsideError(""), TableError)
    assert isinstance(OutsideError(""), RecordingError)


def test_a_refusal_does_not_tell_what_exists(data: Path) -> None:
    texts = []
    for name in ("secret.txt", "absent.txt"):
        with pytest.raises(OutsideError) as caught:
            check_readable(data.parent / name)
        texts.append(str(caught.value).replace(name, ""))
        assert caught.value.folder == str(data.parent)
    assert texts[0] == texts[1]


def test_hidden_files_are_refused_except_those_of_git_annex(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (data / ".git", data / "annex" / "sub" / ".git", data / ".git" / "modules" / "a" / "b"):
        annexed = folder / "annex" / "objects" / "Xx" / "SHA256E-s5--0.wav" / "SHA256E-s5--0.wav"
        assert check_readable(annexed) == str(annexed)
    for path in (
        *(data / ".git" / "config", data / ".ssh" / "id", data / "sub" / ".env", data / "annex" / ".git" / "config"),
        *(data / "annex" / "objects" / ".git" / "config", data / ".git" / "annex" / "creds" / "s3"),
        *(data / ".git" / "modules" / "annex" / "objects" / "x", data / ".git" / "annex" / "objects" / ".env"),
    ):
        with fails(OutsideError, found="hidden"):
            check_readable(path)
    monkeypatch.setenv(readable.VARIABLE, json.dumps([str(data / ".ssh")]))
    assert check_readable(data / ".ssh" / "id"), "a hidden folder may be a data folder itself"


@pytest.mark.parametrize("state", ["relative", "", "/elsewhere"])
def test_secrets_are_never_read_whatever_names_their_folder(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", state if state != "/elsewhere" else str(tmp_path / "elsewhere"))
    user_secret("cookie")
    monkeypatch.setenv("XDG_STATE_HOME", "")
    user_secret("cookie")
    monkeypatch.setenv("XDG_STATE_HOME", state if state != "/elsewhere" else str(tmp_path / "elsewhere"))
    readable.set_data_folders(["/"])
    made = list(tmp_path.rglob("cookie"))
    assert len(made) == (2 if state == "/elsewhere" else 1)
    for path in made:
        with fails(OutsideError, found="secrets"):
            check_readable(path)


@pytest.mark.parametrize("restricted", [True, False])
def test_files_of_the_system_are_never_read(data: Path, restricted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(data / "state"))
    readable.set_data_folders(["/"] if restricted else None)
    (data / "env.csv").symlink_to("/proc/self/environ")
    for path in (
        *("/proc/self/environ", "//proc/self/environ", "/proc/../proc/1/maps", "/sys/kernel", "/dev/zero", "/dev/fd/0"),
        *(data / "env.csv", data / "state" / "eavdash" / "token"),
    ):
        with fails(OutsideError, found="system"):
            check_readable(path)
    assert check_readable("/dev/shm/recordings/a.wav")


def test_pipes_and_folders_are_refused_without_blocking(data: Path) -> None:
    os.mkfifo(data / "pipe.wav")
    for path in (data / "pipe.wav", data):
        with pytest.raises(OSError, match="a pipe or a device"):
            open_readable(path)


def test_a_link_made_after_the_check_is_not_followed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "sub").mkdir()
    (data / "sub" / "secret.txt").write_text("mine")
    checked = readable.check_readable

    def swap(path: str | Path) -> str:
        real = checked(path)
        if Path(real).parent.is_dir() and not Path(real).parent.is_symlink():
            Path(real).parent.rename(data / "old")
            Path(real).parent.symlink_to(data.parent)
        return real

    monkeypatch.setattr(readable, "check_readable", swap)
    with fails(OutsideError, where="secret.txt", found="outside"):
        open_readable(data / "sub" / "secret.txt")


def test_files_that_a_library_opens_are_checked(data: Path) -> None:
    secret = data.parent / "secret.txt"
    with readable.checked_opens():
        assert (data / "a.wav").read_bytes() == b"sound"
        with fails(OutsideError, where="secret.txt"):
            secret.read_text()
        with fails(OutsideError, where="secret.txt"):
            os.open(secret, os.O_RDONLY)
        (data / "written.txt").write_text("written")
        assert Path(os.__file__).read_bytes()
    assert secret.read_text() == SECRET


def test_folders_are_added_and_lent(data: Path) -> None:
    other = data.parent / "other"
    with readable.lent(other):
        assert check_readable(other / "a.wav")
    with readable.lent(None):
        assert check_readable(other / "a.wav")
        with pytest.raises(OutsideError):
            check_readable("/proc/self/environ")
    with pytest.raises(OutsideError):
        check_readable(other / "a.wav")
    readable.add_data_folders([other, data / "below", data / ".datasets"])
    assert readable.data_folders() == (str(data), str(data / ".datasets"), str(other))
    assert check_readable(other / "a.wav")
    readable.set_data_folders(None)
    readable.add_data_folders([other])
    assert readable.data_folders() is None


def test_many_files_are_checked_by_their_folders(data: Path) -> None:
    (data / "link.wav").symlink_to(data.parent / "secret.txt")
    (data / "inside.wav").symlink_to(data / "a.wav")
    files = {"a.wav": True, "link.wav": False, "inside.wav": True, ".env": False, "..": False, "../secret.txt": False}
    known: dict[str, bool] = {}
    for name, answer in files.items():
        assert readable.is_readable(f"{data}/{name}", known) is answer, name
    assert known == {str(data): True, f"{data}/..": False}


def test_many_folders_never_become_those_above(data: Path) -> None:
    many = [f"{data.parent}/lab/s{n}/rec" for n in range(10_000)]
    readable.add_data_folders(many)
    assert len(os.environ[readable.VARIABLE]) <= 100_000
    kept = readable.data_folders()
    assert kept is not None
    assert {str(data), many[0]} < set(kept) < {str(data), *many}
    assert readable.outermost(["/a/b", "/a/b-c", "/a/b/d", "/a/b/.d"]) == ["/a/b", "/a/b/.d", "/a/b-c"]


def test_a_folder_that_a_link_replaced_is_not_followed_when_another_is_added(data: Path) -> None:
    data.rename(data.parent / "old")
    data.symlink_to("/etc")
    readable.add_data_folders([data.parent / "old"])
    assert not readable.is_readable("/etc/passwd")


@pytest.mark.parametrize(
    ("mine", "others", "both"),
    [
        (["/a", "/b"], ["/"], ["/a", "/b"]),
        (["/a"], ["/a/b", "/c"], ["/a/b"]),
        (["/a"], ["/a/.b"], []),
        (["/a"], [], []),
        (["/a"], None, ["/a"]),
        (None, ["/a"], ["/a"]),
        (None, None, None),
    ],
)
def test_a_restriction_never_widens(
    data: Path, mine: list[str] | None, others: list[str] | None, both: list[str] | None
) -> None:
    readable.set_data_folders(mine)
    readable.restrict_data_folders(others)
    assert readable.data_folders() == (None if both is None else tuple(both))


@pytest.mark.parametrize("text", ["/data", '["data"]', "[1]", "{}"])
def test_a_list_that_cannot_be_read_allows_nothing(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(readable.VARIABLE, text)
    with fails(UsageError, where=readable.VARIABLE, found=text):
        check_readable("/data/a.wav")


def test_a_message_that_quotes_the_file_is_withheld(tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    file.write_text(SECRET)
    for error in (
        ValueError("could not convert string to float: 'hunter2secret'"),
        ValueError("invalid literal for int() with base 10: b'API_TOKEN'"),
        RuntimeError(f"{file}: unknown header start \\x00HOME"),
        KeyError("SOMEBODY"),
    ):
        assert reason_of(error, file) == type(error).__name__
    kept = reason_of(ValueError(f"{file} ends after 12 samples."), file)
    assert kept == f"ValueError: {file} ends after 12 samples"
    file.write_bytes(SECRET.encode("utf-16"))
    assert reason_of(ValueError("bad: hunter2secret"), file) == "ValueError"
    with pytest.raises(FileNotFoundError) as caught:
        file.with_name("gone").open()
    assert reason_of(caught.value, file.with_name("gone")) == os.strerror(errno.ENOENT)
