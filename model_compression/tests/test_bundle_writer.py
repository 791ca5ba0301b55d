"""What `bundle` and `key` make, and refuse. Networks come out of the box's committed fixture: no TensorFlow here."""

from __future__ import annotations

import hashlib
import stat
import tomllib
from pathlib import Path

import numpy as np
import pytest

from dsp_kernels.contract.archive import pack, unpack
from dsp_kernels.contract.generated.contract import CONTRACT_ID
from model_compression.__main__ import main
from model_compression.run_layout import described
from model_compression.toml_text import toml_text

FIXTURE = Path(__file__).parents[2] / "firmware" / "tests" / "fixtures" / "tiny.bundle"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run as conversion leaves it: networks, net.toml, a card."""
    folder = tmp_path / "run"
    folder.mkdir()
    files = unpack(FIXTURE.read_bytes())
    manifest = tomllib.loads(files["model.toml"].decode())
    for net in manifest["net"]:
        (folder / net["file"]).write_bytes(files[net["file"]])
        del net["golden_error"]
    (folder / "card.md").write_bytes(files["card.md"])
    kept: dict[str, object] = {k: manifest[k] for k in ("name", "version", "evidence", "training", "net")}
    (folder / "net.toml").write_text(toml_text(kept))
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    assert main(["key", str(tmp_path / "stage")]) == 0
    return tmp_path / "stage.key"


def bundle(run: Path, key: Path) -> dict[str, bytes]:
    out = run.parent / "stage.bundle"
    assert main(["bundle", str(run), "--key", str(key), "--out", str(out)]) == 0
    return unpack(out.read_bytes())


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


def test_a_secret_key_is_readable_by_its_owner_alone_and_never_overwritten(
    key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    assert "is there already" in refusal(capsys, "key", key.with_suffix(""))
    assert key.read_bytes() == before


def test_a_bundle_holds_its_networks_their_digests_and_a_signature_that_verifies(run: Path, key: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    files = bundle(run, key)
    manifest = tomllib.loads(files["model.toml"].decode())
    assert manifest["contract_id"] == CONTRACT_ID
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(files[name]).hexdigest() == digest
    public = bytes.fromhex(key.with_suffix(".pub").read_text().splitlines()[-1])
    Ed25519PublicKey.from_public_bytes(public).verify(files["signature"][:64], files["model.toml"])
    assert files["signature"][64:] == hashlib.sha256(public).digest()[:8]


def test_a_bundle_made_twice_is_the_same_to_the_byte(run: Path, key: Path) -> None:
    assert pack(bundle(run, key)) == pack(bundle(run, key))


def test_golden_vectors_of_the_run_are_taken_as_they_are(run: Path, key: Path) -> None:
    m = np.random.default_rng(1).uniform(-1, 1, (4, 1, 56)).astype("<f4")
    (run / "golden_song_m.f32").write_bytes(m.tobytes())
    assert bundle(run, key)["golden_song_m.f32"] == m.tobytes()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda run: (run / "card.md").unlink(), "card.md: cannot be read"),
        (lambda run: (run / "net.toml").write_text("name = 3"), "has no name"),
        (lambda run: (run / "net.toml").write_text("]["), "cannot be read"),
        (lambda run: (run / "mix_int8.tflite").write_bytes(b"nothing"), "does not run the networks"),
        (lambda run: (run / "golden_song_m.f32").write_bytes(bytes(12)), "not a multiple"),
        (lambda run: (run / "card.md").write_bytes(bytes(2_000_000)), "a box takes 2 MB"),
    ],
)
def test_what_is_wrong_with_a_run_is_told_in_one_line_and_nothing_is_written(
    run: Path, key: Path, capsys: pytest.CaptureFixture[str], spoil: object, reason: str
) -> None:
    spoil(run)  # type: ignore[operator]
    out = run.parent / "x.bundle"
    assert reason in refusal(capsys, "bundle", run, "--key", key, "--out", out)
    assert not list(run.parent.glob("*x.bundle*"))


def test_a_public_key_does_not_sign(run: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = key.with_suffix(".pub")
    assert "is no secret key" in refusal(capsys, "bundle", run, "--key", public, "--out", run.parent / "x.bundle")


def test_toml_reads_back_as_it_was_written() -> None:
    table = {
        "name": 'a "quoted" \\ ü\n\x01', "n": -3, "x": 1e-9, "yes": True, "list": [1.5, "b", [1, 2]], "empty": [],
        "table": {"odd key.f32": "v", "nested": {"a": [1]}}, "rows": [{"a": 1}, {"a": 2, "b": [{"c": "d"}]}],
    }  # fmt: skip
    assert tomllib.loads(toml_text(table)) == table


def test_a_run_as_conversion_leaves_it_makes_the_same_networks(run: Path, key: Path, tmp_path: Path) -> None:
    """A table a network under ``tflite``; tensors have their own names there."""
    expected = tomllib.loads(bundle(run, key)["model.toml"].decode())
    told = tomllib.loads((run / "net.toml").read_text())
    tables: dict[str, object] = {}
    for net in told["net"]:
        tables[net["name"]] = {
            "files": {p: f"{net['name']}_{p}.tflite" for p in ("int8", "f16")},
            "is_any_channels": net["name"] == "mix", "delays_ticks": [s["delay_ticks"] for s in net["states"]],
            "output": net["outputs"][0]["name"], "heads": net["heads"],
            "inputs": {t["name"]: [max(n, 0) for n in t["shape"]] for t in net["inputs"]},
        }  # fmt: skip
    converted = tmp_path / "converted"
    (converted / "tflite").mkdir(parents=True)
    (converted / "tflite" / "net.toml").write_text(toml_text(tables))
    sigmas = "\n".join(f"{g} = 1.5" for g in ("offset_lu", "pan_abs", "tone_db", "compressor", "send_db"))
    (converted / "calibration.toml").write_text(
        f"[role]\ntemperature = 0.9\ncontext_share = 0.3\n[sigma_scale]\n{sigmas}\n"
    )
    (converted / "bundle.toml").write_text('name = "tiny"\nversion = "3"\n')
    found = described(converted)
    assert (found["evidence"]["temperature"], found["evidence"]["context_share"]) == (0.9, 0.3)
    assert found["evidence"]["sigma_scale"] == [1.5] * 5
    plain = [{k: v for k, v in net.items() if k not in ("inputs", "outputs")} for net in found["net"]]
    wanted = [{k: v for k, v in net.items() if k in plain[0]} for net in expected["net"]]
    assert sorted(plain, key=str) == sorted(wanted, key=str)
    shapes = {n["file"]: {t["name"]: t["shape"] for t in (*n["inputs"], *n["outputs"])} for n in expected["net"]}
    assert {n["file"]: {t["name"]: t["shape"] for t in (*n["inputs"], *n["outputs"])} for n in found["net"]} == shapes
