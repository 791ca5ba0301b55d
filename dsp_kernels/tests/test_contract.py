"""The contract: what the reader refuses, what the generator writes, and that C and NumPy mean the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dsp_kernels.contract import generate, layout, schema
from dsp_kernels.contract.generated import contract as generated
from dsp_kernels.native import Library

Loader = Callable[..., schema.Contract]


@pytest.fixture
def load_edited(tmp_path: Path) -> Loader:
    """Return a loader of the contract with one piece of text in params.toml or features.toml replaced."""

    def load(old: str, new: str, file: Path = schema.PARAMS_FILE) -> schema.Contract:
        for original in (schema.PARAMS_FILE, schema.FEATURES_FILE):
            text = original.read_text()
            if original == file:
                assert old in text, f"{original.name} has no {old!r} any more; adapt this test"
                text = text.replace(old, new, 1)
            (tmp_path / original.name).write_text(text)
        return schema.load(tmp_path / schema.PARAMS_FILE.name, tmp_path / schema.FEATURES_FILE.name)

    return load


@pytest.fixture
def generated_copy(tmp_path: Path) -> Path:
    """Return a folder with what the generator writes today."""
    for name, text in generate.render(schema.load()).items():
        (tmp_path / name).write_text(text)
    return tmp_path


# ------------------------------------------------------------------------------------------------------ generator


def test_committed_files_are_what_the_generator_writes() -> None:
    stale = generate.stale_files(schema.load())
    assert not stale, f"stale or edited by hand, run `make generate`: {', '.join(stale)}"


@pytest.mark.parametrize("name", sorted(generate.render(schema.load())))
def test_an_edit_of_a_generated_file_is_noticed(name: str, generated_copy: Path) -> None:
    contract = schema.load()
    assert generate.stale_files(contract, generated_copy) == []
    with (generated_copy / name).open("a") as file:
        file.write("\n")
    assert generate.stale_files(contract, generated_copy) == [name]


def test_a_missing_and_a_foreign_file_are_noticed(generated_copy: Path) -> None:
    (generated_copy / "eh_contract.h").unlink()
    (generated_copy / "left_over.h").write_text("")
    assert generate.stale_files(schema.load(), generated_copy) == ["eh_contract.h", "left_over.h"]


def test_a_change_of_the_toml_makes_the_generated_files_stale(load_edited: Loader) -> None:
    edited = load_edited("range = [20.0, 1000.0]", "range = [20.0, 1100.0]")
    assert edited.contract_id != schema.load().contract_id
    assert {"contract.py", "eh_contract.c", "PARAMETERS.md"} <= set(generate.stale_files(edited))


def test_line_ends_of_the_checkout_do_not_change_the_contract_id(tmp_path: Path) -> None:
    for original in (schema.PARAMS_FILE, schema.FEATURES_FILE):
        (tmp_path / original.name).write_bytes(original.read_bytes().replace(b"\n", b"\r\n"))
    other = schema.load(tmp_path / schema.PARAMS_FILE.name, tmp_path / schema.FEATURES_FILE.name)
    assert other.contract_id == schema.load().contract_id


# --------------------------------------------------------------------------------------------------------- reader


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("id = 0x0102\n", "id = 0x0101\n", r"input\.is_polarity_inverted: id 0x0101 already belongs to input\.source"),
        ('name = "hpf.freq_hz"', 'name = "hpf.freq_ms"', r"hpf\.freq_ms: the name says _ms, the unit 'Hz'"),
        ('name = "hpf.freq_hz"', 'name = "hpf.freq"', r"hpf\.freq: a value in Hz says so at the end of its name"),
        ('moved_by = ["rules"]', 'moved_by = ["ghost"]', "moved_by 'ghost'; there are rules, model"),
        ('kind = "toggle"', 'kind = "switch"', "kind 'switch'; there are number, toggle, choice, integer"),
        ('name = "hpf.freq_hz"', 'name = "low_cut.freq_hz"', r"low_cut\.freq_hz: no section 'low_cut'"),
        ("default = 80.0", "default = 8.0", r"default \[8.0\] is not inside \[20.0, 1000.0\]"),
        ('scopes = ["channel"]', 'scopes = ["chanel"]', "section input: unknown scope 'chanel'"),
    ],
)
def test_a_contradiction_in_params_is_refused_by_name(load_edited: Loader, old: str, new: str, complaint: str) -> None:
    with pytest.raises(schema.ContractError, match=complaint) as refusal:
        load_edited(old, new)
    assert str(refusal.value).startswith("params.toml: ")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('name = "rms_dbfs"\nunit = "dBFS"', 'name = "rms"\nunit = "dBFS"', "a value in dBFS says so"),
        ('name = "flatness"', 'name = "flux"', "stands there twice"),
    ],
)
def test_a_contradiction_in_features_is_refused_by_name(
    load_edited: Loader, old: str, new: str, complaint: str
) -> None:
    with pytest.raises(schema.ContractError, match=complaint) as refusal:
        load_edited(old, new, schema.FEATURES_FILE)
    assert str(refusal.value).startswith("features.toml: ")


def test_every_osc_address_belongs_to_one_parameter() -> None:
    addresses = [p.osc for p in generated.PARAMS]
    assert len(set(addresses)) == len(addresses)


# ----------------------------------------------------------------------------------------------------- C and NumPy


def test_compiled_code_and_python_carry_one_contract_id(library: Library) -> None:
    compiled = library.ffi.string(library.lib.eh_contract_id()).decode()
    assert compiled == generated.CONTRACT_ID == schema.load().contract_id


@pytest.mark.parametrize(
    ("struct", "dtype"),
    [
        ("eh_params", layout.PARAMS_DTYPE),
        ("eh_channel_features", layout.FEATURES_DTYPE),
        ("eh_mix_features", layout.MIX_FEATURES_DTYPE),
        ("eh_channel_meters", layout.CHANNEL_METERS_DTYPE),
        ("eh_bus_meters", layout.BUS_METERS_DTYPE),
    ],
)
def test_records_have_the_same_fields_at_the_same_offsets(library: Library, struct: str, dtype: np.dtype) -> None:
    ffi = library.ffi
    assert ffi.sizeof(struct) == dtype.itemsize
    in_c = {name: (field.offset, ffi.sizeof(field.type)) for name, field in ffi.typeof(struct).fields}
    assert dtype.fields is not None
    assert in_c == {name: (offset, kind.itemsize) for name, (kind, offset, *_) in dtype.fields.items()}


@pytest.mark.parametrize("scope", [s.name for s in generated.SCOPES])
def test_every_parameter_of_a_scope_lies_where_c_looks_for_it(library: Library, scope: str) -> None:
    ffi, dtype = library.ffi, layout.SCOPE_DTYPE[scope]
    struct = f"eh_{scope}_scope"
    assert ffi.sizeof(struct) == dtype.itemsize
    fields = dtype.fields
    assert fields is not None
    for name in fields:
        path = [int(word) - 1 if word.isdigit() else word for word in name.split(".")]
        assert ffi.offsetof(struct, *path) == fields[name][1], f"{scope}: {name}"


def test_defaults_are_the_same_in_c_and_in_python_and_pass_the_clamp(library: Library) -> None:
    ffi, lib = library.ffi, library.lib
    params = ffi.new("eh_params *")
    lib.eh_params_set_defaults(params)
    assert lib.eh_params_clamp(params) == 0
    assert bytes(ffi.buffer(params)) == layout.default_params().tobytes()


def test_the_clamp_brings_nan_too_much_too_little_and_fractions_into_range(library: Library) -> None:
    ffi, lib = library.ffi, library.lib
    params = ffi.new("eh_params *")
    lib.eh_params_set_defaults(params)
    strip = params.channel[31]
    strip.hpf.freq_hz = float("nan")
    strip.gate.threshold_dbfs = 99.0
    strip.input.trim_db = float("-inf")
    strip.hpf.is_on = 0.7
    assert lib.eh_params_clamp(params) == 4
    assert [strip.hpf.freq_hz, strip.gate.threshold_dbfs, strip.input.trim_db, strip.hpf.is_on] == [
        80.0,
        0.0,
        -40.0,
        1.0,
    ]
    assert lib.eh_params_clamp(params) == 0
