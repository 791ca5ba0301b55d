"""Backups, scenes, recordings and logs: what is fetched is what is there, what is given back is checked first."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from dsp_kernels.contract.generated.contract import CONTRACT_ID
from host_tools.device import Device
from host_tools.errors import RefusedError
from host_tools.fetching import harmless
from host_tools.tests.box_rig import FakeBox, wait_for
from host_tools.tests.terminal import Laptop

SCENE = f'contract_id = "{CONTRACT_ID}"\ntitle = "Verse"\n'


def test_a_backup_gives_another_box_what_the_first_one_knew(laptop: Laptop, paired: FakeBox, tmp_path: Path) -> None:
    for name, text in {"state/last.toml": SCENE, "scenes/Verse.toml": SCENE, "house/room.toml": "rt60_s = 0.4\n",
                       "venue/offsets.toml": "vocal_lead_db = 1.0\n"}.items():  # fmt: skip
        (paired.data / name).parent.mkdir(exist_ok=True)
        (paired.data / name).write_text(text)
    done = laptop.run("backup", "--out", "stage.evenhand-backup", "--json")
    assert done.status == 0, done
    assert json.loads(done.out)["backups"][0]["n_files"] == 5
    for path in ("scenes/Verse.toml", "house/room.toml", "venue/offsets.toml"):
        (paired.data / path).unlink()
    (paired.data / "state" / "last.toml").write_text("other")
    paired.settings.write_text("EVENHAND_BOARD=qemu_arm64\n")
    with laptop.at_terminal("restore", "stage.evenhand-backup", "--restart") as terminal:
        terminal.expect("replace scenes and state of stage")
        terminal.type("yes")
        terminal.expect("4 files restored, now in effect")
        terminal.expect("box.env of the backup differs")
        assert terminal.end() == 0
    assert (paired.data / "scenes" / "Verse.toml").read_text() == SCENE
    assert (paired.data / "venue" / "offsets.toml").read_text() == "vocal_lead_db = 1.0\n"
    assert (paired.data / "restored" / "last.toml").read_text() == SCENE
    assert (paired.data / "state" / "last.toml").read_text() == "other", "control writes this one itself"
    assert paired.n_starts == 2


def test_a_backup_that_is_damaged_or_from_a_newer_firmware_is_refused_and_nothing_changes(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    (paired.data / "scenes" / "Verse.toml").write_text(SCENE)
    laptop.run("backup", "--out", "good")
    good = (tmp_path / "good").read_bytes()
    (tmp_path / "damaged").write_bytes(good.replace(b"Verse", b"Worse"))
    (tmp_path / "newer").write_bytes(changed(good, firmware="0.9.0"))
    (tmp_path / "other").write_bytes(b"{}\n")
    (tmp_path / "crafted").write_bytes(crafted(good, {"../../etc/passwd": "x"}))
    before = {path: path.read_bytes() for path in paired.data.rglob("*") if path.is_file()}
    with Device.of(paired.pair_again()) as device:
        for name, said in {
            "damaged": "is damaged",
            "newer": "is from firmware 0.9.0, this box has 0.1.0; update the box first",
            "other": "is no backup",
            "crafted": "which no box makes",
        }.items():
            with pytest.raises(RefusedError, match=said):
                device.send("POST", "restore", body=(tmp_path / name).read_bytes())
    done = laptop.run("restore", "damaged", "--yes")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "is damaged" in done.err
    assert {path: path.read_bytes() for path in paired.data.rglob("*") if path.is_file()} == before


def test_a_backup_of_an_older_firmware_is_taken_after_an_update(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    (paired.data / "scenes" / "Verse.toml").write_text(SCENE)
    laptop.run("backup", "--out", "good")
    (tmp_path / "older").write_bytes(changed((tmp_path / "good").read_bytes(), firmware="0.0.3"))
    assert laptop.run("restore", "older", "--yes").status == 0


def changed(backup: bytes, **header: object) -> bytes:
    first, _, rest = backup.partition(b"\n")
    return json.dumps({**json.loads(first), **header}).encode() + b"\n" + rest


def crafted(backup: bytes, files: dict[str, str]) -> bytes:
    body = json.dumps({"files": files}).encode()
    return changed(backup.partition(b"\n")[0] + b"\n" + body + b"\n", sha256=hashlib.sha256(body).hexdigest())


def test_scenes_go_to_a_box_and_come_back(laptop: Laptop, paired: FakeBox, tmp_path: Path) -> None:
    (tmp_path / "Verse 1.toml").write_text(SCENE)
    assert laptop.run("scene", "put", "Verse 1.toml").status == 0
    assert "say --yes" in laptop.run("scene", "put", "Verse 1.toml").err
    assert json.loads(laptop.run("scene", "list", "--json").out)["scenes"][0]["name"] == "Verse 1"
    assert laptop.run("scene", "get", "Verse 1", "--out", "back.toml").status == 0
    assert (tmp_path / "back.toml").read_text() == SCENE
    (tmp_path / "bad.toml").write_text('contract_id = "0123"\n')
    assert "written for contract" in laptop.run("scene", "put", "bad.toml").err
    (tmp_path / "edited.toml").write_text(f"# sha256 = {'0' * 64} of what it was\n{SCENE}")
    done = laptop.run("scene", "put", "edited.toml")
    assert done.err.count("\n") == 1
    assert "edited by hand; after an edit delete that line" in done.err
    assert laptop.run("scene", "delete", "Verse 1", "--yes").status == 0
    assert "no scene 'Verse 1'" in laptop.run("scene", "get", "Verse 1").err


def test_a_recording_is_fetched_to_its_end_however_often_it_breaks_off(
    laptop: Laptop, paired: FakeBox, tmp_path: Path
) -> None:
    assert "has no recordings; it makes them where its box.env says" in laptop.run("record", "fetch").err
    take = paired.recordings / "2026-03-04_21-30-05_Friday"
    take.mkdir()
    content = bytes(i * 7 % 251 for i in range(1 << 16)) * 300
    (take / "mix.wav").write_bytes(content)
    (take / "empty.jsonl").touch()
    part = tmp_path / take.name / ".mix.wav.part"
    with laptop.at_terminal("record", "fetch") as terminal:
        wait_for(lambda: part.exists() and part.stat().st_size > 1_000_000, "nothing comes")
        terminal.interrupt()
        assert terminal.end() == 1
        assert "Traceback" not in terminal.text
    assert part.stat().st_size > 1_000_000
    done = laptop.run("record", "fetch", take.name)
    assert done.status == 0, done
    assert "mix.wav: goes on from" in done.err
    assert (tmp_path / take.name / "mix.wav").read_bytes() == content
    assert not part.exists()
    assert "no such recording" in laptop.run("record", "fetch", "Saturday").err


def test_a_range_is_what_was_asked_for(paired: FakeBox) -> None:
    take = paired.recordings / "take"
    take.mkdir()
    (take / "mix.wav").write_bytes(bytes(range(200)))
    with Device.of(paired.pair_again()) as device:
        for asked, got in {
            "bytes=10-19": range(10, 20),
            "bytes=190-": range(190, 200),
            "bytes=0-9999": range(200),
        }.items():
            with device.reading("recordings", "take", "mix.wav", headers={"range": asked}) as response:
                assert response.status == 206
                assert response.read() == bytes(got)
        for asked in ("bytes=200-", "bytes=5-4", "lines=1-2", "bytes=-5"):
            with pytest.raises(Exception, match=r"Range: bytes|the file has 200"), device.reading(
                "recordings", "take", "mix.wav", headers={"range": asked}
            ):  # fmt: skip
                pass


def test_names_of_a_box_do_no_harm_to_a_laptop() -> None:
    assert harmless("../a:b\n") == "_a_b_"
    for name in ("..", ".", " "):
        with pytest.raises(Exception, match="is no name of a file"):
            harmless(name)


def test_logs_are_as_long_as_asked_for(laptop: Laptop, paired: FakeBox, tmp_path: Path) -> None:
    assert "--lines=7" in laptop.run("logs", "--lines", "7").out
    (paired.data / "state" / "decisions.jsonl").write_text("".join(f"{n}\n" for n in range(100)))
    assert laptop.run("logs", "--source", "decisions", "--lines", "3").out == "97\n98\n99\n"
    assert laptop.run("logs", "--source", "decisions", "--out", "log").status == 0
    assert len((tmp_path / "log").read_text().splitlines()) == 100


def test_the_doctor_names_what_is_wrong_and_is_no_success_then(laptop: Laptop, paired: FakeBox) -> None:
    done = laptop.run("doctor", "--json")
    assert done.status == 1
    (told,) = json.loads(done.out)["boxes"]
    found = {f["what"]: f for f in told["findings"]}
    assert found["engine"] == {"what": "engine", "is_well": False, "text": "does not run; see `evenhand logs`"}
    assert found["network"]["is_well"]
    assert found["clock here"]["is_well"]
    assert found["disk"]["is_well"] is not None
    paired.stop()
    absent = laptop.run("doctor")
    assert absent.status == 1
    assert "Connection refused" in absent.out
    paired.start()
