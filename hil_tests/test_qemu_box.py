"""An emulated box from its image: it starts, is updated, refuses what it must, and outlives bad updates and power cuts.

``EVENHAND_IMAGE`` names a folder that ``evenhand image build --board qemu_arm64 --development`` made, and
``EVENHAND_KEYS`` the keys of its keyring; whole releases are kept where ``EVENHAND_RELEASES`` says. Tests share a box
where the one before left it well; minutes each. With ``-s`` they say what they see: how long a start took, why a
bundle was refused, when the power was cut.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import chain, combinations, pairwise
from pathlib import Path

import pytest

from host_tools.bundle_file import BundleFile, read_bundle
from host_tools.errors import RefusedError
from host_tools.keys import KeyFolder
from host_tools.sending import send_bundle

from .bench import MORE_BYTES, NAME, SETTINGS_FILE, START_S, Bench
from .drivers.boot_rom import RomError
from .laptop import Job
from .partitions import extents
from .releases import Releases, damaged

pytestmark = pytest.mark.soak

N_POWER_CUTS = int(os.environ.get("EVENHAND_POWER_CUTS", "20"))
SECTOR_BYTES = 512
CABLE_BYTES, MIN_CABLE_BYTES = 6 << 20, 1 << 20  # of 120 MB: Python on an emulated core carries little
PATIENCE_S = 3600.0  # of a busy machine
PATIENTLY = ("--yes", "--patience", f"{PATIENCE_S:.0f}")
PARTITION = {"a": 2, "b": 3}
CUT_SEED = int(os.environ.get("EVENHAND_CUT_SEED", "20261126"))  # other seeds, other moments
# The parts of an update, each with what the laptop says when it begins, in their order.
PARTS = {
    "upload": f"{NAME}: send: ",
    "install": f"{NAME}: signature, board, version and content",
    "first start": f"{NAME}: restarts",
}
TOOLS = ("qemu-system-aarch64", "mcopy", "fdtput", "rauc", "mksquashfs", "unsquashfs")
APP = "opt/evenhand/firmware"
HEALTH = "etc/systemd/system/evenhand-health.service"
MODEL = f"{APP}/inference/pretrained/evenhand.bundle"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    image, keys = (os.environ.get(name) for name in ("EVENHAND_IMAGE", "EVENHAND_KEYS"))
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not image or not keys or missing:
        pytest.skip(f"needs EVENHAND_IMAGE and EVENHAND_KEYS; and of tools {missing or 'nothing more'}")
    kept = os.environ.get("EVENHAND_RELEASES")
    return Releases(Path(image), Path(keys), Path(kept) if kept else tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
def bench(releases: Releases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(releases, tmp_path_factory.mktemp("bench")) as bench:
        yield bench


def test_box_starts_mixes_and_finds_itself_good(bench: Bench) -> None:
    told = bench.fresh()
    box = bench.box
    assert [start.partition for start in box.starts] == [2]
    assert told["version"] == bench.releases.version
    assert told["engine"]["state"] == "running"
    assert told["sound"]["why_not_now"] is None
    for item in ("engine", "control", "model"):
        assert re.search(rf"good +{item}:", box.said), box.said[-400:]
    assert re.search(r"periods: \d+ served", box.said)  # how many, a busy machine decides
    size_kib = int(box.run("df --output=size /data | tail -1", PATIENCE_S))
    assert size_kib * 1024 > MORE_BYTES  # it has grown
    assert box.run("touch /usr/x 2>&1; mount | grep -c ' on / type overlay'", PATIENCE_S).strip() == "1"
    bench.note("systemd: " + box.run("systemd-analyze | head -1", PATIENCE_S).strip())
    checkup = bench.laptop.run(box, "doctor")
    assert "engine" in checkup.said, checkup.said


def test_recorder_that_the_owner_switches_on_records_onto_the_data_partition(bench: Bench) -> None:
    bench.ready()
    recorded = "find /data/evenhand/recordings -name inputs.wav -size +100k"
    assert bench.box.run(f"systemctl start evenhand-recorder; sleep 3; {recorded}", START_S).strip() == ""
    switch_on = f"cp {SETTINGS_FILE} /run/settings; echo EVENHAND_RECORDER=on >>{SETTINGS_FILE}"
    said = bench.box.run(f"{switch_on}; systemctl start evenhand.target; sleep 5; {recorded}", START_S)
    bench.box.run(f"systemctl stop evenhand-recorder; cat /run/settings >{SETTINGS_FILE}", START_S)
    assert said.strip().endswith("inputs.wav"), said


# ------------------------------------------------------------------------------------------------------ refusals


def by_a_stranger(releases: Releases, work: Path) -> Path:
    KeyFolder(folder=work / "strangers").make("stranger", 90)
    return releases.empty("0.9.1", keys=work / "strangers")


def with_a_byte_of_its_content_changed(releases: Releases, _: Path) -> Path:
    return damaged(releases.empty("0.9.2"), "content", at=20_000)


def with_a_byte_of_its_signature_changed(releases: Releases, _: Path) -> Path:
    return damaged(releases.empty("0.9.3"), "signature", at=-40)


def cut_short(releases: Releases, _: Path) -> Path:
    whole = releases.empty("0.9.4")
    return damaged(whole, "short", n_bytes=whole.stat().st_size // 2)


def for_another_board(releases: Releases, _: Path) -> Path:
    return releases.empty("0.9.5", compatible="evenhand-raspberry_pi_4")


def older_than_what_runs(releases: Releases, _: Path) -> Path:
    return releases.empty("0.0.9")


REFUSED: dict[Callable[[Releases, Path], Path], tuple[str, str]] = {  # what laptop and box say to it
    by_a_stranger: ("(?i)self-signed|signature", "(?i)self-signed|signature"),
    with_a_byte_of_its_content_changed: ("not what was signed", "not what was signed"),
    with_a_byte_of_its_signature_changed: ("(?i)signature|CMS", "(?i)signature|CMS"),
    cut_short: ("no firmware bundle, or not all of one", "(?i)signature|bundle"),
    for_another_board: (
        "is for raspberry_pi_4, testbox is qemu_arm64; nothing was sent",
        "the bundle is for evenhand-r",
    ),
    older_than_what_runs: ("older than the", "older than the"),
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_bundle_that_is_not_right_is_refused_with_its_reason_and_nothing_changes(
    bench: Bench, make: Callable[[Releases, Path], Path], tmp_path: Path
) -> None:
    before = bench.ready()
    system, keepsakes = bench.system(), bench.keepsakes()
    bundle = make(bench.releases, tmp_path)
    said_here, said_there = REFUSED[make]
    bench.hush()

    typed = bench.laptop.run(bench.box, "update", bundle, *PATIENTLY)
    assert typed.status == 1
    assert re.search(said_here, typed.said), typed.said
    taken = _as_it_is(bundle)
    with bench.laptop.device() as device:  # whatever a laptop knows
        send_bundle(device, taken, taken.sha256(), lambda *_: None)
        with pytest.raises(RefusedError, match=said_there) as refused:
            device.post("verify")
    bench.note(f"laptop: {typed.said.strip().splitlines()[-1]}; box: {refused.value}")

    after = bench.laptop.status(bench.box)
    assert after["update"]["slots"] == before["update"]["slots"]
    assert after["update"]["is_trial"] is False
    assert bench.system() == system
    assert bench.keepsakes() == keepsakes


def _as_it_is(bundle: Path) -> BundleFile:
    return BundleFile(
        path=bundle, size_bytes=bundle.stat().st_size, version="?", compatible="?", notes="", images=()
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- bad releases


def without_first_root(releases: Releases) -> Path:
    return releases.rootless("0.8.1", first_root=b"no archive\n" * 500)  # the kernel panics


def without_root(releases: Releases) -> Path:
    return releases.rootless("0.8.2")


def with_a_dead_engine(releases: Releases) -> Path:
    dead: dict[str, bytes | None] = {
        f"{APP}/engine_process.py": b"raise SystemExit(1)\n",
        f"{APP}/__pycache__/engine_process.cpython-311.pyc": None,
        HEALTH: releases.file_of_root(HEALTH).replace(b"health --commit", b"health --commit --start 30"),  # of 180 s
    }
    assert b"--start 30" in (dead[HEALTH] or b"")
    return releases.whole("0.8.3", dead, is_slim=True)


def with_a_dead_agent(releases: Releases) -> Path:
    """Nobody could ever update such a box again."""
    dead: dict[str, bytes | None] = {
        f"{APP}/update/agent.py": b"raise SystemExit(1)\n",
        f"{APP}/update/__pycache__/agent.cpython-311.pyc": None,
        HEALTH: releases.file_of_root(HEALTH).replace(b"health --commit", b"health --commit --start 30"),
    }
    return releases.whole("0.8.5", dead, is_slim=True)


def with_a_broken_model(releases: Releases) -> Path:
    model = bytearray(releases.file_of_root(MODEL))
    model[len(model) // 2] ^= 0x10
    return releases.whole("0.8.4", {MODEL: bytes(model)}, is_slim=True)


@pytest.mark.parametrize(
    "make",
    [without_first_root, without_root, with_a_dead_engine, with_a_dead_agent, with_a_broken_model],
    ids=lambda make: make.__name__,
)
def test_release_that_is_not_well_is_left_without_a_hand_and_settings_are_intact(
    bench: Bench, make: Callable[[Releases], Path]
) -> None:
    before = bench.ready()
    box, keepsakes = bench.box, bench.keepsakes()
    old = bench.committed()
    n_starts = len(box.starts)
    bench.hush()
    outcome = bench.laptop.run(box, "update", make(bench.releases), *PATIENTLY)
    assert outcome.status == 1, outcome.said
    assert "by itself" in outcome.said, outcome.said
    assert box.go_on(lambda: len(box.starts) >= n_starts + 2, PATIENCE_S), box.last_words
    tried, back = box.starts[n_starts:]
    assert (tried.partition, tried.is_tryboot) == ({2: 3, 3: 2}[old], True)
    assert (back.partition, back.is_tryboot) == (old, False)
    after = bench.settled()
    assert after["version"] == before["version"]
    assert after["engine"]["state"] == "running"
    assert bench.committed() == old
    assert bench.keepsakes() == keepsakes


# --------------------------------------------------------------------------------------------------- good releases


class NetworkGoneError(Exception):
    """Enough was sent."""


def test_update_goes_on_over_a_cable_when_the_network_is_gone_and_is_committed(bench: Bench) -> None:
    before = bench.ready(bench.releases.version)
    box, keepsakes = bench.box, bench.keepsakes()
    old, n_starts = bench.committed(), len(bench.box.starts)
    release = read_bundle(bench.releases.whole(f"{bench.releases.version}.post1", is_slim=True))
    bench.hush()

    def on_step(sent_bytes: float, _: str) -> None:
        if sent_bytes >= release.size_bytes - CABLE_BYTES:
            raise NetworkGoneError

    with bench.laptop.device() as device, pytest.raises(NetworkGoneError):
        send_bundle(device, release, release.sha256(), on_step)
    carried_bytes, cable = bench.cable.n_bytes["laptop"], bench.cable.ends["laptop"]
    outcome = bench.laptop.run(box, "update", release.path, *PATIENTLY, "--serial", cable)
    assert outcome.status == 0, outcome.said
    assert "went on from" in outcome.said
    assert bench.cable.n_bytes["laptop"] - carried_bytes > MIN_CABLE_BYTES
    assert [(start.partition, start.is_tryboot) for start in box.starts[n_starts:]] == [({2: 3, 3: 2}[old], True)]
    assert bench.await_health() == f"slot {'ba'[old - 2]} is committed"
    after = bench.laptop.status(box, "--serial", cable)
    assert (before["version"], after["version"]) == (bench.releases.version, release.version)
    assert bench.committed() != old
    assert bench.keepsakes() == keepsakes


def test_update_is_tried_committed_keeps_the_settings_and_can_be_taken_back(bench: Bench) -> None:
    before = bench.ready()
    box, keepsakes = bench.box, bench.keepsakes()
    old, n_starts = bench.committed(), len(bench.box.starts)
    new = {2: 3, 3: 2}[old]
    release = read_bundle(bench.releases.whole(f"{bench.releases.version}.post2"))
    select = select_sectors(box.disk)
    bench.hush()
    outcome = bench.laptop.run(box, "update", release.path, *PATIENTLY)
    assert outcome.status == 0, outcome.said
    assert bench.await_health() == f"slot {'ab'[new - 2]} is committed"
    assert [(start.partition, start.is_tryboot) for start in box.starts[n_starts:]] == [(new, True)]
    after = bench.settled()
    assert after["version"] == release.version
    assert bench.committed() == new
    assert bench.keepsakes() == keepsakes
    box.run("sync", PATIENCE_S)
    assert_every_torn_write_boots(bench, select, select_sectors(box.disk))

    assert not box.power_on().is_tryboot
    assert bench.settled()["version"] == release.version
    outcome = bench.laptop.run(box, "rollback", *PATIENTLY)
    assert outcome.status == 0, outcome.said
    assert bench.settled()["version"] == before["version"]
    assert bench.keepsakes() == keepsakes


def select_sectors(disk: Path) -> list[bytes]:
    """Return the sectors of the partition that the boot loader reads first."""
    select = extents(disk)[1]
    with disk.open("rb") as file:
        file.seek(select.start_bytes)
        content = file.read(select.size_bytes)
    return [content[i : i + SECTOR_BYTES] for i in range(0, len(content), SECTOR_BYTES)]


def assert_every_torn_write_boots(bench: Bench, before: list[bytes], after: list[bytes]) -> None:
    """Whatever sectors of the commit reached the card, the boot loader takes the old slot or the new one."""
    changed = [n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert 1 <= len(changed) <= 8
    bench.box.cut_power()
    at = extents(bench.box.disk)[1].start_bytes
    found = set()
    every = chain.from_iterable(combinations(changed, n) for n in range(len(changed) + 1))
    for subset in every:  # the last has all of them
        with bench.box.disk.open("r+b") as file:
            for n in changed:
                file.seek(at + n * SECTOR_BYTES)
                file.write(after[n] if n in subset else before[n])
        try:
            found.add(bench.committed())
        except RomError as error:
            pytest.fail(f"sectors {subset} of {changed} alone do not boot: {error}")
    assert found == {2, 3}


# ------------------------------------------------------------------------------------------------------ power cuts


def test_power_cut_at_any_moment_of_an_update_leaves_a_box_that_starts_and_takes_it_up_again(bench: Bench) -> None:
    bench.ready()
    box, laptop, keepsakes = bench.box, bench.laptop, bench.keepsakes()
    release = bench.releases.whole(f"{bench.releases.version}.post3", is_slim=True)
    words = ("update", release, *PATIENTLY, "--again")
    bench.hush()
    job = laptop.begin(*words)
    began_s = [_begin_of_part(bench, job, part) for part in PARTS]
    assert box.go_on(lambda: job.is_over, PATIENCE_S), job.said
    assert job.stop().status == 0, job.said
    lasts_s = dict(zip(PARTS, (b - a for a, b in pairwise([*began_s, time.monotonic()])), strict=True))
    bench.note(f"seed {CUT_SEED}; uncut: {', '.join(f'{part} {s:.0f} s' for part, s in lasts_s.items())}")

    rng = random.Random(CUT_SEED)
    for n in range(N_POWER_CUTS):
        part = list(PARTS)[n % len(PARTS)]
        after_s = rng.uniform(0.0, lasts_s[part])
        bench.hush()
        if part == "upload":  # from its first byte on
            with laptop.device() as device:
                device.send("DELETE", "upload")
        job = laptop.begin(*words)
        _begin_of_part(bench, job, part)
        box.go_on(lambda job=job: job.is_over, after_s)  # type: ignore[misc]
        box.cut_power()
        is_over = "over" if job.is_over else "not over"
        where = f"cut {n + 1}, {after_s:.1f} s into the {part}: {last_line(job.stop().said)}; {is_over}"
        committed = bench.committed()
        assert box.power_on().partition == committed, where
        told = bench.settled()
        bench.note(f"{where}; slot {'ab'[committed - 2]} came up, {bench.await_health()}")
        booted = next(slot for slot in told["update"]["slots"] if slot["is_booted"])
        assert (PARTITION[booted["bootname"]], booted["is_good"]) == (committed, True), where
        assert told["engine"]["state"] == "running", where
        assert bench.keepsakes() == keepsakes, where
    bench.hush()
    outcome = laptop.run(box, *words)
    assert outcome.status == 0, outcome.said


def _begin_of_part(bench: Bench, job: Job, part: str) -> float:
    """Let the box go on until a part of the update begins, and return when."""
    reached = re.compile(PARTS[part])
    bench.box.go_on(lambda: job.is_over or reached.search(job.said) is not None, PATIENCE_S)
    assert reached.search(job.said), job.said
    return time.monotonic()


def last_line(said: str) -> str:
    """Return the last thing that a command said, a progress bar's last state too."""
    return (said.replace("\r", "\n").strip() or "nothing").splitlines()[-1].strip()[:120]
