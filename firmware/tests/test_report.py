"""The report: one file, no request, every word escaped, figures that say what was collected."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import PARAMS
from firmware.observation import ChannelSetup
from firmware.report import Collector, figures, wording, write_page
from firmware.report.collect import N_FFT
from firmware.report.families import FAMILIES, family
from firmware.report.masking import masked_fraction
from firmware.report.spectra import third_octaves_db
from firmware.report.svg import drawing

from . import report_samples

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"' $x^2$ 日本"
PARAM = {p.name: p for p in PARAMS if p.scope == "channel"}
CHANNELS = [
    ChannelSetup(name="kick"),
    ChannelSetup(name=HOSTILE, role="vocal_lead"),
    ChannelSetup(name="keys", is_stereo=True),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    decisions = report_samples.decisions(CHANNELS, 8.0, 30)
    decisions[3] |= {"scope": "main", "index": 0, "channel": "main", "cause": HOSTILE}
    write_page(
        path,
        collected=report_samples.collected(CHANNELS, 8.0),
        record=report_samples.record(CHANNELS, 8.0),
        decisions=decisions,
        target_lufs=-16.0,
        title=HOSTILE,
        notes=[HOSTILE],
    )
    return path.read_text(encoding="utf-8")


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(page)
    return parser.found


def test_hostile_names_stay_text(page: str) -> None:
    assert [tag for tag, _ in elements(page)].count("script") == 1
    assert "img" not in {tag for tag, _ in elements(page)}
    assert not any(name.startswith("on") for _, attributes in elements(page) for name in attributes)
    assert page.count("alert(1)") >= 5  # title, heading, note, table and figures do show it


def test_the_page_asks_for_nothing_from_anywhere(page: str) -> None:
    for tag, attributes in elements(page):
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), f"<{tag} {name}={attributes[name]}>"
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_notes_stand_in_one_list_and_gain_says_what_it_adds_up(page: str) -> None:
    assert page.count('class="note"') == 1
    assert '<th class="n">Trim + fader' in page


def test_ids_are_unique_and_every_reference_is_met(page: str) -> None:
    ids = [attributes["id"] for _, attributes in elements(page) if attributes.get("id")]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page))
    assert {a or b for a, b in wanted} <= set(ids)


def test_figures_are_xml_and_take_their_colours_from_the_page(page: str) -> None:
    figures = re.findall(r"<svg viewBox.*?</svg>", page, flags=re.S)
    assert len(figures) == 1 + 5 + len(CHANNELS)  # the brand, the wide ones, a spectrum a channel
    for figure in figures:
        ElementTree.fromstring(figure)
        assert not re.search(r"#(?!000000)[0-9a-f]{6}\b", figure), "a colour that the dark page would not change"
    used = set(re.findall(r"var\(--([a-z]+)\)", page))
    assert used <= set(re.findall(r"--([a-z]+):", page))


def test_each_decision_has_a_dot_with_its_reason_and_a_row(page: str) -> None:
    dots = re.findall(r'<g class="dot" data-family="(\w+)" data-id="(\d+)"><title>([^<]+)</title>', page)
    assert sorted(int(number) for _, number, _ in dots) == list(range(30))
    for kind, number, reason in dots:
        row = re.search(rf'<tr id="d{number}" data-family="(\w+)">(.*?)</tr>', page, flags=re.S)
        assert row is not None
        assert row.group(1) == kind
        assert unescape(reason).split(": ", 1)[1] in unescape(row.group(2))


def test_the_same_render_draws_the_same_page(tmp_path: Path) -> None:
    pages = []
    for name in ("a", "b"):
        collected = report_samples.collected(CHANNELS[:1], 2.0)
        record = report_samples.record(CHANNELS[:1], 2.0)
        write_page(
            tmp_path / name, collected=collected, record=record, decisions=[], target_lufs=-16.0, title="x", notes=[]
        )
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    assert b"nothing called for a change" in pages[0]


@pytest.mark.parametrize("duration_s", [0.005, 0.02, 0.5])
def test_the_shortest_session_has_a_report(tmp_path: Path, duration_s: float) -> None:
    write_page(
        tmp_path / "r.html",
        collected=report_samples.collected(CHANNELS, duration_s),
        record=report_samples.record(CHANNELS, duration_s),
        decisions=[],
        target_lufs=-16.0,
        title="x",
        notes=[],
    )
    assert (tmp_path / "r.html").stat().st_size > 10_000


def test_a_long_session_takes_no_more_points_than_a_screen_shows() -> None:
    collector = Collector(CHANNELS, 6 * 3600 * 48000, 48000, 0.02)
    assert len(collector.momentary_lufs) <= 1600
    assert len(collector.wave) <= 1602


def test_the_waveform_holds_every_peak() -> None:
    collector = Collector(CHANNELS[:1], 48000 * 100, 48000, 0.02)
    mixed = np.zeros((48000, 2), np.float32)
    for second in range(100):
        mixed[:] = 0.0
        mixed[480 * second, second % 2] = 0.01 * (second + 1)
        collector.hear(np.zeros((48000, 1), np.float32), np.zeros((48000, 2), np.float32), mixed)
    peaks = collector.wave[:, 1][collector.wave[:, 1] > 0]
    np.testing.assert_allclose(peaks, 0.01 * np.arange(1, 101), rtol=1e-6)
    peak_s = np.flatnonzero(collector.wave[:, 1]) * 100 / len(collector.wave)
    np.testing.assert_allclose(peak_s, np.arange(100) * 1.01, atol=0.2)


def test_thousands_of_breaks_are_a_few_marks_and_a_silence_is_as_long_as_it_was() -> None:
    collector = report_samples.collected(CHANNELS[:1], 8.0)
    plain = _n_marks(collector)
    collector.breaks_s = [(8.0 * n / 5000, 8.0 * n / 5000) for n in range(5000)]
    assert _n_marks(collector) == plain + 2, "all of them touch: one mark in each of the two figures"
    collector.breaks_s = [(1.0, 2.0), (3.0, 3.0), (5.0, 5.001)]
    assert _n_marks(collector) == plain + 2 * 3


def _n_marks(collector: Collector) -> int:
    with drawing():
        return figures.overview(collector, -16.0, -16.0).count("opacity: 0.3")


def test_a_tone_stands_in_its_third_of_an_octave_with_its_power() -> None:
    tone = np.sin(2 * np.pi * 1000.0 * np.arange(N_FFT) / 48000) * np.hanning(N_FFT)
    power = (np.abs(np.fft.rfft(tone)) ** 2).astype(np.float64)
    freq_hz, level_db = third_octaves_db(power, 48000)
    assert abs(np.log2(freq_hz[level_db.argmax()] / 1000.0)) < 1 / 6
    assert level_db.max() == pytest.approx(10 * np.log10(power.sum()), abs=0.01)
    assert level_db[freq_hz < 500].max() < level_db.max() - 60


def test_masking_falls_when_the_masker_is_turned_down() -> None:
    bark_dbfs = np.full((2, 24), -90.0, np.float32)
    bark_dbfs[0, 10], bark_dbfs[1, 10:13] = -30.0, -20.0
    loud, soft = np.ones((2, 24), np.float32), np.ones((2, 24), np.float32)
    soft[1] = 0.05
    assert masked_fraction(bark_dbfs, loud)[0] > 0.99
    assert masked_fraction(bark_dbfs, soft)[0] < 0.01
    assert (masked_fraction(bark_dbfs[:1], loud[:1]) == 0.0).all(), "a channel alone is masked by nobody"


def test_every_family_of_parameters_has_a_colour_in_the_page(page: str) -> None:
    assert {family(p) for p in ("fader.level_db", "eq.1.q", "gate.is_on", "share.mode", "pan.width", "x")} == set(
        FAMILIES
    )
    for key in FAMILIES:
        assert page.count(f"--{key}: #") == 2, f"{key} needs a light and a dark colour"


@pytest.mark.parametrize(("told", "expected"), [
    (wording.compressor(None), "–"),
    (wording.compressor({"threshold_dbfs": -20.0, "ratio": 3.0, "attack_ms": 10.0, "release_ms": 1000.0}),
     "−20 dBFS, 3 : 1, 10 ms, 1000 ms"),
    (wording.compressor({"threshold_dbfs": -31.4, "ratio": 3.5, "is_automatic": 1.0, "makeup_db": 2.0,
                         "mix_percent": 60.0}), "−31 dBFS, 3.5 : 1, automatic, make-up +2.0 dB, mix 60 %"),
    (wording.gate({"threshold_dbfs": -50.0, "range_db": 12.0}), "−50 dBFS, −12.0 dB"),
    (wording.bands([{"type": "high_pass", "freq_hz": 80.0}, {"type": "bell", "freq_hz": 2500.0, "gain_db": -3.0}]),
     ["high pass 80 Hz", "bell 2.5 kHz −3.0 dB"]),
    (wording.sends({"reverb_db": -18.0, "delay_db": -90.0}), "reverb −18.0 dB"),
    (wording.sends({}), "–"),
    (wording.setting("eq.1.type", 1.0, PARAM["eq.1.type"]), "low shelf"),
    (wording.setting("hpf.is_on", 1.0, PARAM["hpf.is_on"]), "on"),
    (wording.setting("pan.position", -0.3, PARAM["pan.position"]), "L 30"),
    (wording.setting("compressor.release_ms", 1000.0, PARAM["compressor.release_ms"]), "1000 ms"),
    (wording.setting("fader.level_db", -90.0, PARAM["fader.level_db"]), "off"),
    (wording.setting("fader.level_db", -0.01, PARAM["fader.level_db"]), "0.0 dB"),
    (wording.evidence({"peak_dbfs": -13.96, "active_s": 0.62, "n": 3, "victim": 2.0}),
     "peak −14 dBFS, active 0.62 s, n 3"),
])  # fmt: skip
def test_values_read_as_on_a_desk(told: object, expected: object) -> None:
    plain = told.replace("\N{NO-BREAK SPACE}", " ") if isinstance(told, str) else told
    assert plain == expected
