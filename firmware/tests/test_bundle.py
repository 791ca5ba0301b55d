"""A bundle is taken whole, signed and for this firmware, or refused in one line."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from dsp_kernels.contract.archive import pack, unpack
from firmware.errors import EvenhandError
from firmware.inference import bundle as bundle_module
from firmware.inference.bundle import MANIFEST, MAX_BYTES, SIGNATURE, bucket_of, parse_bundle, read_bundle
from firmware.inference.keys import read_key, trusted_keys
from firmware.tests.tiny_bundle import (
    PUBLIC,
    changed,
    digested,
    signed,
    tiny_bundle,
    tiny_data,
    tiny_files,
    tiny_key,
    write_tiny,
)

OTHER_SECRET = bytes(range(32))
N_MUTANTS = 1000


def refusal(data: bytes) -> str:
    with pytest.raises(ValueError, match=r"\S") as refused:
        parse_bundle(data, [tiny_key()])
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_signed_bundle_is_taken_with_all_that_a_brain_needs(tmp_path: Path) -> None:
    bundle = read_bundle(write_tiny(tmp_path), trusted_keys([PUBLIC]))
    assert bundle.title == "tiny 1"
    assert bundle.precisions == ("int8", "f16")
    assert bundle.net("mix", "int8", 12).file == "mix_int8.tflite"
    assert bundle.golden(bundle.net("mix", "int8"), "x").shape == (4, 8, 104)


def test_no_box_trusts_the_key_of_the_tests() -> None:
    assert tiny_key().id not in {key.id for key in trusted_keys()}


def test_any_unzip_reads_a_bundle() -> None:
    with zipfile.ZipFile(BytesIO(tiny_data())) as file:
        assert file.testzip() is None
        assert file.read("card.md") == tiny_files()["card.md"]


# ---------------------------------------------------------------------------------------------------------- mutants


def _truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    changed_data = bytearray(data)
    for at in rng.integers(0, len(data), rng.integers(1, 9)):
        changed_data[at] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed_data)


def _header_flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Aim at what is parsed: headers of the container, its directory, model.toml."""
    at = int(rng.choice([rng.integers(0, 9000), len(data) - 1 - rng.integers(0, 2000)]))
    return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(0, 8)))]) + data[at + 1 :]


def _swapped(data: bytes, rng: np.random.Generator) -> bytes:
    files = unpack(data)
    one, other = rng.choice([n for n in files if n not in (MANIFEST, SIGNATURE)], 2, replace=False)
    return pack({**files, str(one): files[str(other)], str(other): files[str(one)]})


def _lost_or_added(data: bytes, rng: np.random.Generator) -> bytes:
    files = unpack(data)
    if rng.integers(2):
        del files[str(rng.choice(list(files)))]
    else:
        files[f"more_{rng.integers(99)}.tflite"] = rng.bytes(64)
    return pack(files)


def _foreign_contract(data: bytes, rng: np.random.Generator) -> bytes:
    return pack(signed(changed(unpack(data), {r'contract_id = "\w+"': f'contract_id = "{rng.bytes(6).hex()}"'})))


def _unsigned(data: bytes, rng: np.random.Generator) -> bytes:
    return pack({**unpack(data), SIGNATURE: rng.bytes(int(rng.choice([0, 8, 64, 72, 80])))})


def _other_key(data: bytes, rng: np.random.Generator) -> bytes:
    files = signed(unpack(data), OTHER_SECRET)
    if rng.integers(2):  # under the trusted key's name
        files[SIGNATURE] = files[SIGNATURE][:64] + tiny_key().id
    return pack(files)


def _bomb(data: bytes, rng: np.random.Generator) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in unpack(data).items():
            file.writestr(name, content + bytes(int(rng.integers(0, 30_000_000)) if name == "card.md" else 0))
    return out.getvalue()


def _path_trick(data: bytes, rng: np.random.Generator) -> bytes:
    name = str(rng.choice(["../../etc/passwd", "/etc/passwd", "a/b.tflite", "C:\\x", "role\0.tflite", "", ".hidden"]))
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for known, content in unpack(data).items():
            file.writestr(known, content)
        file.writestr(name or " ", b"x")
    return out.getvalue()


def _padded(data: bytes, rng: np.random.Generator) -> bytes:
    junk = rng.bytes(int(rng.integers(1, 400)))
    return junk + data if rng.integers(2) else data + junk


def _noise(_data: bytes, rng: np.random.Generator) -> bytes:
    return bytes(rng.choice([b"", b"PK\3\4", b"PK\5\6"])) + rng.bytes(int(rng.integers(0, 500)))


MUTATIONS: list[Callable[[bytes, np.random.Generator], bytes]] = [
    _truncated, _flipped, _header_flipped, _swapped, _lost_or_added, _foreign_contract, _unsigned, _other_key,
    _path_trick, _padded, _noise,
]  # fmt: skip


def test_a_thousand_mutants_are_refused_and_none_crashes() -> None:
    data = tiny_data()
    rng = np.random.default_rng(4)
    for n in range(N_MUTANTS - 10):
        mutant = MUTATIONS[n % len(MUTATIONS)](data, rng)
        if mutant != data:
            refusal(mutant)
    for _ in range(10):
        refusal(_bomb(data, rng))


# ------------------------------------------------------------------------- signed by the right key, and wrong anyhow


@pytest.mark.parametrize(
    ("replacements", "reason"),
    [
        ({r"format = 1\n": "format = 2\n"}, "format"),
        ({r"tick_ms = 20": "tick_ms = 10"}, "ticks of 10 ms"),
        ({r'contract_id = "\w+"': 'contract_id = "abc"'}, "contract abc"),
        ({r'name = "tiny"': 'name = ""'}, "no name"),
        ({r"temperature = 0.7": "temperature = 0.0"}, "temperature"),
        ({r"temperature = 0.7": "temperature = nan"}, "temperature"),
        ({r"temperature = 0.7": "sigma_scale = [1.0]\ntemperature = 0.7"}, "sigma_scale"),
        ({r"shape = \[-1, 104\]": "shape = [-1, 103]"}, "belong"),
        ({r"shape = \[-1, 104\]": "shape = [-1, 104, -1]"}, "shape"),
        ({r"shape = \[1, 64, 72\]": "shape = [1, 64000000, 72000000]"}, "too large"),
        ({r"delay_ticks = 3": "delay_ticks = 3000"}, "delay"),
        ({r'input = "tap_1"': 'input = "tap_9"'}, "tap_9"),
        ({r"scale = 15.0": "scale = inf"}, "offset_lu"),
        ({r"scale = 15.0": "scale = -1.0"}, "offset_lu"),
        ({r'name = "offset_lu"': 'name = "gain_db"'}, "heads"),
        ({r"golden_error = [\d.]+": "golden_error = 9.0"}, "golden_error"),
        ({r'precision = "int8"': 'precision = "int4"'}, "int4"),
        ({r'file = "mix_int8.tflite"': 'file = "role_int8.tflite"'}, "lacks"),
        ({r"n_channels = 0": "n_channels = 7"}, "n_channels"),
        ({r'name = "song"\n': 'name = "role"\n'}, "."),
    ],
)
def test_what_is_signed_but_wrong_is_refused_with_its_reason(replacements: dict[str, str], reason: str) -> None:
    said = refusal(pack(signed(changed(tiny_files(), replacements))))
    assert reason == "." or reason in said


def test_golden_vectors_of_another_length_are_refused() -> None:
    files = {**tiny_files(), "golden_song_m.f32": bytes(56 * 4)}
    assert "golden" in refusal(pack(signed(digested(files))))


def test_deeply_nested_toml_is_refused() -> None:
    files = {**tiny_files(), MANIFEST: b"a = " + b"[" * 5000 + b"]" * 5000}
    refusal(pack(signed(files)))


def test_a_large_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "large.bundle"
    with path.open("wb") as file:
        file.truncate(50_000_000_000)
    with pytest.raises(EvenhandError, match=f"{MAX_BYTES / 1e6:g} MB"):
        read_bundle(path, [tiny_key()])


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "none.bundle", tmp_path):
        with pytest.raises(EvenhandError, match=str(path)):
            read_bundle(path, [tiny_key()])


def test_a_key_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pub"
    for text in ("", "# only a comment\n", "zz" * 32, "00" * 31):
        path.write_text(text)
        with pytest.raises(EvenhandError, match="holds no public key"):
            read_key(path)


def test_33_channels_are_refused() -> None:
    assert [bucket_of(n) for n in (1, 8, 9, 32)] == [8, 8, 16, 32]
    with pytest.raises(EvenhandError, match="33 channels"):
        bucket_of(33)


def test_a_network_for_one_bucket_is_chosen_by_the_number_of_channels() -> None:
    from dataclasses import replace

    bundle = tiny_bundle()
    nets = [n for n in bundle.nets if n.name != "mix"]
    mixes = [replace(bundle.net("mix", "int8"), n_channels=n) for n in (8, 32)]
    fixed = replace(bundle, nets=(*nets, *mixes))
    assert [fixed.net("mix", "int8", n).n_channels for n in (3, 9, 32)] == [8, 32, 32]
    assert replace(bundle, nets=(*nets, mixes[0])).precisions == ()


def test_the_shipped_bundle_if_there_is_one_is_taken() -> None:
    if bundle_module.SHIPPED.exists():
        assert read_bundle(bundle_module.SHIPPED, trusted_keys()).precisions
