"""Weights from the hub: pinned, verified, complete or absent. The hub is a small local server."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from failing import fails
from safetensors.torch import save

from eavdash.cli.main import main
from eavdash.errors import DataError, IntegrityError, UsageError
from eavdash.models.architecture import architecture
from eavdash.models.fetching import fetch
from eavdash.models.vit import FrameViT
from eavdash.models.weights import load_pretrained

MODEL, REVISION = "lab/faces", "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serve ``files`` of MODEL at REVISION as the hub does, or answer every request with the error ``status``."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.status = 0
        self.cut = False  # the connection ends before the weights do
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def log_message(self, *_: object) -> None:
                pass

            def _answer(self, body: bool) -> None:
                prefix = f"/{MODEL}/resolve/{REVISION}/"
                name = self.path.removeprefix(prefix)
                if hub.status or not self.path.startswith(prefix) or name not in hub.files:
                    self.send_response(hub.status or 404)
                    known = self.path.startswith(prefix)
                    if not hub.status:
                        self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                content = hub.files[name]
                self.send_response(200)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", REVISION)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    self.wfile.write(content[: len(content) // 2] if hub.cut else content)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.chdir(tmp_path)
    made = Hub()
    made.files = {
        "config.json": json.dumps({"num_attention_heads": 2, "layer_norm_eps": 1e-12}).encode(),
        "model.safetensors": save(random_vit()),
    }
    made.thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


def random_vit() -> dict[str, torch.Tensor]:
    """A ViT of width 8 under Hugging Face's names."""
    random = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, 8),
        "embeddings.position_embeddings": (1, 5, 8),
        "embeddings.patch_embeddings.projection.weight": (8, 3, 8, 8),
        "embeddings.patch_embeddings.projection.bias": (8,),
        "layernorm.weight": (8,),
        "layernorm.bias": (8,),
    }
    layer = "encoder.layer.0."
    for name in ("attention.attention.query", "attention.attention.key", "attention.attention.value"):
        shapes |= {f"{layer}{name}.weight": (8, 8), f"{layer}{name}.bias": (8,)}
    shapes |= {f"{layer}attention.output.dense.weight": (8, 8), f"{layer}attention.output.dense.bias": (8,)}
    shapes |= {f"{layer}intermediate.dense.weight": (16, 8), f"{layer}intermediate.dense.bias": (16,)}
    shapes |= {f"{layer}output.dense.weight": (8, 16), f"{layer}output.dense.bias": (8,)}
    for name in ("layernorm_before", "layernorm_after"):
        shapes |= {f"{layer}{name}.weight": (8,), f"{layer}{name}.bias": (8,)}
    return {f"vit.{n}": torch.randn(s, generator=random) for n, s in shapes.items()}


def checksum(hub: Hub, name: str = "model.safetensors") -> str:
    return hashlib.sha256(hub.files[name]).hexdigest()


def test_fetched_weights_load_and_are_verified_each_time(hub: Hub, tmp_path: Path) -> None:
    fetched = fetch(MODEL, REVISION, checksum(hub), tmp_path / "w", endpoint=hub.url)
    assert fetched.folder == tmp_path / "w"
    assert sorted(p.name for p in fetched.folder.iterdir()) == ["SHA256SUMS", "config.json", "model.safetensors"]
    assert fetched.sha256 == checksum(hub)
    assert [p.name for p in tmp_path.iterdir()] == ["w"]  # nothing else is left
    model = FrameViT(3, **architecture(fetched.folder, "vision"))
    load_pretrained(model, fetched.folder)
    assert torch.equal(model.vit.norm.weight, random_vit()["vit.layernorm.weight"])
    weights = fetched.folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # one bit of one number: it would load without any error
    weights.write_bytes(content)
    with fails(IntegrityError, where=str(weights), expected=(checksum(hub)[:12], "SHA256SUMS")):
        load_pretrained(model, fetched.folder)


def test_another_checksum_keeps_nothing(hub: Hub, tmp_path: Path) -> None:
    with fails(IntegrityError, where=(MODEL, "model.safetensors"), expected="0" * 64, found=checksum(hub)):
        fetch(MODEL, REVISION, "0" * 64, tmp_path / "w", endpoint=hub.url)
    assert list(tmp_path.iterdir()) == []


def test_a_bin_file_is_downloaded_if_there_is_no_safetensors(hub: Hub, tmp_path: Path) -> None:
    torch.save(random_vit(), tmp_path / "made.bin")
    del hub.files["model.safetensors"]
    hub.files["pytorch_model.bin"] = (tmp_path / "made.bin").read_bytes()
    fetched = fetch(MODEL, REVISION, None, tmp_path / "w", endpoint=hub.url)
    assert fetched.file == "pytorch_model.bin"
    load_pretrained(FrameViT(3, **architecture(fetched.folder, "vision")), fetched.folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(hub: Hub, tmp_path: Path, missing: str) -> None:
    del hub.files[missing]
    tried = "config.json" if missing == "config.json" else "pytorch_model.bin"
    with fails(DataError, where=(MODEL, REVISION[:12]), expected=tried, found="none"):
        fetch(MODEL, REVISION, None, tmp_path / "w", endpoint=hub.url)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_model_or_revision(hub: Hub, tmp_path: Path) -> None:
    with fails(DataError, where="lab/other", found="404", remedy="HF_TOKEN"):
        fetch("lab/other", REVISION, None, tmp_path / "w", endpoint=hub.url)
    with fails(DataError, where="f" * 12, found="404", remedy="HF_TOKEN"):
        fetch(MODEL, "f" * 40, None, tmp_path / "w", endpoint=hub.url)
    assert list(tmp_path.iterdir()) == []


def test_a_model_with_restricted_access(hub: Hub, tmp_path: Path) -> None:
    hub.status = 403
    with fails(DataError, where=MODEL, found="403", remedy="HF_TOKEN"):
        fetch(MODEL, REVISION, None, tmp_path / "w", endpoint=hub.url)
    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_ends_early_keeps_nothing(hub: Hub, tmp_path: Path) -> None:
    hub.cut = True
    with fails(DataError, where=(MODEL, REVISION[:12]), remedy="vision.weights"):
        fetch(MODEL, REVISION, None, tmp_path / "w", endpoint=hub.url)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_network_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _seconds: None)  # between its attempts
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with fails(DataError, where=(MODEL, REVISION[:12]), remedy=("network", "vision.weights")):
        fetch(MODEL, REVISION, None, tmp_path / "w", endpoint=f"http://127.0.0.1:{port}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "revision", "sha", "where", "expected", "found"),
    [
        ("faces", REVISION, None, "model", "OWNER/NAME", "'faces'"),
        ("../faces/x", REVISION, None, "model", "OWNER/NAME", "'../faces/x'"),
        (MODEL, "main", None, "--revision", "40", "'main'"),
        (MODEL, REVISION[:12], None, "--revision", "40", REVISION[:12]),
        (MODEL, REVISION, "abc", "--sha256", "64", "'abc'"),
    ],
)
def test_unpinned_weights_are_refused(
    tmp_path: Path, model: str, revision: str, sha: str | None, where: str, expected: str, found: str
) -> None:
    with fails(UsageError, where=where, expected=expected, found=found):
        fetch(model, revision, sha, tmp_path / "w", endpoint="http://127.0.0.1:9")


def test_an_existing_folder_is_not_changed(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "mine").touch()
    with fails(UsageError, where=str(tmp_path / "w"), remedy="--out"):
        fetch(MODEL, REVISION, None, tmp_path / "w", endpoint=hub.url)
    assert [p.name for p in (tmp_path / "w").iterdir()] == ["mine"]


def test_the_command_prints_the_checksum(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    assert main(["fetch-weights", MODEL, "--revision", REVISION, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["folder"] == str(tmp_path / "weights" / "lab--faces")
    assert printed["sha256"] == checksum(hub)
    assert main(["fetch-weights", MODEL, "--revision", REVISION, "--sha256", "0" * 64, "--out", "again"]) == 1
    assert not (tmp_path / "again").exists()
    assert main(["fetch-weights", MODEL, "--revision", "main"]) == 2
