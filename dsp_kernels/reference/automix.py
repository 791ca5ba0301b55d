"""Twin of ``automix.c``: gains of a fixed set of groups, in float64, channel by channel.

Levels and gains that are smoothed are log2 of power, as in the kernel. Joining and leaving a group is not part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TICK_FRAMES = 16
SLOW_TICKS = 16
EPS_POWER = 1e-8
FLOOR_START_LOG2 = np.log2(1e-6)
DB_PER_LOG2 = 10 * np.log10(2.0)
OFF, SPEECH, MUSIC, GATED = range(4)
AUTO, MANUAL, MUTE = range(3)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A channel's place, as ``eh_automix_params`` and the fader say it; group 1 to 8."""

    group: int = 1
    weight_db: float = 0.0
    state: int = AUTO
    is_override: int = 0
    fader_lin: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Share:
    """A group's settings, as ``eh_share_params``."""

    mode: int = SPEECH
    tap: int = 0
    detector_ms: float = 10.0
    depth_db: float = 15.0
    threshold_db: float = 6.0
    ambience_channel: int = 0
    nom_limit: float = 1.0
    is_last_hold_on: int = 1
    max_open: int = 4
    hold_ms: float = 400.0
    attack_ms: float = 4.0
    release_ms: float = 150.0


def band_power(x: Array, rate_hz: float) -> Array:
    """Return the mean square of each tick in the speech band, shape ``(n_ticks, n_lanes)``.

    A boxcar of 4 frames at 48 kHz, kept once per 4, then a Chamberlin high-pass at 150 Hz.
    """
    boxcar = 4 if rate_hz < 68400 else 8 if rate_hz < 136800 else 16
    f = 2 * np.sin(np.pi * 150.0 * boxcar / rate_hz)
    n_ticks = len(x) // TICK_FRAMES
    means = x[: n_ticks * TICK_FRAMES].reshape(-1, boxcar, x.shape[1]).mean(axis=1)
    low, band = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    high = np.empty_like(means)
    for n, mean in enumerate(means):
        low += f * band
        high[n] = mean - low - np.sqrt(2.0) * band
        band += f * high[n]
    return (high**2).reshape(n_ticks, -1, x.shape[1]).mean(axis=1)


def follow(now: Array, target: Array, rise: Array | float, fall: Array | float) -> Array:
    """Return one step of a one-pole that rises and falls at two speeds."""
    return now + np.where(target > now, rise, fall) * (target - now)


class _Ramp:
    """A value per channel that moves to its target in a straight line."""

    def __init__(self, values: Array) -> None:
        self.now, self.target, self.step = values.copy(), values.copy(), np.zeros_like(values)

    def set(self, target: Array, ticks: Array) -> None:
        moved = target != self.target
        self.step = np.where(moved, (target - self.now) / ticks, self.step)
        self.target = target.copy()

    def advance(self) -> None:
        following = self.now + self.step
        self.now = np.where((self.target - following) * self.step <= 0, self.target, following)


class Automix:
    """Gain sharing over channels in groups.

    Parameters
    ----------
    rate_hz
        Sample rate.
    lane_channel
        Channel of each lane, -1 for none.
    channels, groups
        Settings; group ``g`` of a channel is ``groups[g - 1]``.
    """

    def __init__(self, rate_hz: float, lane_channel: list[int], channels: list[Channel], groups: list[Share]) -> None:
        self.rate_hz, self.tick_hz = rate_hz, rate_hz / TICK_FRAMES
        self.lane_channel = np.array(lane_channel)
        self.channels, self.groups = channels, groups
        n = len(channels)
        self.ramps = {name: _Ramp(values) for name, values in self._targets().items()}
        self.power, self.own_weight = np.zeros(n), self._own_weight()
        self.smooth = np.array([self._start(c) for c in range(n)])
        self.floor, self.mean = np.full(n, FLOOR_START_LOG2), np.full(n, FLOOR_START_LOG2)
        self.deviation, self.variance = np.zeros(n), np.full(n, 4.0)
        self.covariance = np.zeros((n, n))
        self.sounding, self.is_open, self.is_bleed = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, bool)
        self.level, self.sounding_ticks = np.zeros(n), np.zeros(n)
        self.open_ticks, self.hold_ticks = np.zeros(n), np.zeros(n)
        self.last = [-1] * len(groups)
        self.fast_release = [1.0] * len(groups)
        self.nom = np.zeros(len(groups))
        self.fade, self.fade_from = np.zeros(len(groups)), np.ones(n)
        self.gain_auto, self.tick = np.ones(n), 0
        self.gain = self._gains()

    def _of(self, group: int) -> NDArray[np.intp]:
        return np.array([c for c, channel in enumerate(self.channels) if channel.group == group + 1], np.intp)

    def _coeff(self, tau_ms: float, per_ticks: int = 1) -> float:
        return float(1 - np.exp(-per_ticks / (tau_ms * 1e-3 * self.tick_hz)))

    def _own_weight(self) -> Array:
        return np.array([10 ** ((c.weight_db + 12 * c.is_override) / 10) for c in self.channels])

    def _targets(self) -> dict[str, Array]:
        own = self._own_weight()
        fader = np.array([1.0 if self.groups[c.group - 1].tap else c.fader_lin for c in self.channels])
        auto = np.array([float(c.state == AUTO) for c in self.channels])
        up = np.array([float(c.fader_lin > 0) for c in self.channels])
        manual = np.array([float(c.state == MANUAL) for c in self.channels])
        return {"weight": own * fader**2, "share": auto * up, "auto": auto, "manual": manual}

    def _start(self, c: int) -> float:
        share = self.groups[self.channels[c].group - 1]
        if share.mode == SPEECH:
            return float(np.log2(self.ramps["weight"].now[c] * self.power[c] + EPS_POWER))
        return -share.depth_db / DB_PER_LOG2

    def set_channel(self, c: int, channel: Channel) -> None:
        """Change state, weight, override or fader; the fader stays above 0."""
        before = self.channels[c]
        weight_ms = (
            500 if before.is_override != channel.is_override else 50 if before.weight_db != channel.weight_db else 20
        )
        self.channels[c] = channel
        self.own_weight = self._own_weight()
        for name, target in self._targets().items():
            ramp_ms = weight_ms if name == "weight" else 500
            self.ramps[name].set(target, np.full(len(target), ramp_ms * 1e-3 * self.tick_hz))

    def set_mode(self, group: int, share: Share) -> None:
        """Change a group's mode."""
        members = self._of(group)
        self.groups[group] = share
        self.fade[group] = 1.0
        self.fade_from[members] = self.gain_auto[members]
        self.fast_release[group], self.last[group] = 0.0, -1
        for c in members:
            self.smooth[c] = self._start(c)

    def process(self, x: Array, changes: Mapping[int, Callable[[], None]] | None = None) -> tuple[Array, Array]:
        """Return the output, shape of ``x``, and the gains of each tick, ``(n_ticks, n_channels)``.

        ``changes[n]`` is called before tick ``n`` and may call ``set_channel`` and ``set_mode``.
        """
        power = band_power(np.asarray(x, np.float64), self.rate_hz)
        lanes = [np.flatnonzero(self.lane_channel == c) for c in range(len(self.channels))]
        gains = np.empty((len(power), len(self.channels)))
        frame_gain = np.ones((len(power) * TICK_FRAMES, x.shape[1]))
        rise = np.arange(1, TICK_FRAMES + 1)[:, None] / TICK_FRAMES
        start = self.gain.copy()
        for n, of_lane in enumerate(power):
            if changes and n in changes:
                changes[n]()
            heard = np.array([of_lane[of_channel].mean() for of_channel in lanes])
            ramp = start + (self.gain - start) * rise
            for c, of_channel in enumerate(lanes):
                frame_gain[n * TICK_FRAMES : (n + 1) * TICK_FRAMES, of_channel] = ramp[:, c : c + 1]
            start = self.gain
            gains[n] = self.gain = self.step(heard)
        return x[: len(frame_gain)] * frame_gain, gains

    def step(self, heard: Array) -> Array:
        """Return the gains after one tick that heard these powers."""
        for g, share in enumerate(self.groups):
            c = self._of(g)
            rise, fall = self._coeff(0.4 * share.detector_ms), self._coeff(share.detector_ms)
            self.power[c] = follow(self.power[c], heard[c], rise, fall)
        for ramp in self.ramps.values():
            ramp.advance()
        gain = self._gains()
        self.tick += 1
        if self.tick % SLOW_TICKS == 0:
            for g in range(len(self.groups)):
                self._slow(g)
        return gain

    def _gains(self) -> Array:
        for g, share in enumerate(self.groups):
            c = self._of(g)
            if share.mode == OFF:
                self.gain_auto[c] = 1.0
            elif len(c):
                (self._speech, self._music, self._gated)[share.mode - 1](g, share, c)
            self.fade[g] = max(self.fade[g] - 1 / (0.5 * self.tick_hz), 0.0)
            self.gain_auto[c] += self.fade[g] * (self.fade_from[c] - self.gain_auto[c])
        return self.ramps["auto"].now * self.gain_auto + self.ramps["manual"].now

    def _speech(self, g: int, share: Share, c: NDArray[np.intp]) -> None:
        """g_i^2 = s_i E_i / sum s_j E_j with E = w P + eps smoothed in dB."""
        s = self.ramps["share"].now[c]
        attack, release = self._coeff(share.attack_ms), self._coeff(share.release_ms)
        level = self.ramps["weight"].now[c] * self.power[c] + EPS_POWER
        distance = np.abs(np.log2(level) - self.smooth[c]) * 750.0 / self.tick_hz
        rise = np.minimum(attack + distance, 1.0)
        fall = np.minimum(release + self.fast_release[g] * (attack + distance - release), 1.0)
        self.smooth[c] = follow(self.smooth[c], np.log2(level), rise, fall)
        held = s * 2 ** self.smooth[c]
        total = max(held.sum(), 1e-20)
        self.gain_auto[c] = np.sqrt(held / total)
        self.fast_release[g] = float(np.clip(((s * level).sum() / total - 0.25) / 0.25, 0, 1))
        self.nom[g] = 1.0

    def _music(self, g: int, share: Share, c: NDArray[np.intp]) -> None:
        """Expand 2:1 below the threshold, down to the depth."""
        threshold = share.threshold_db / DB_PER_LOG2
        if share.ambience_channel:
            self.level[c] = self.ramps["weight"].now[c] * self.power[c] + EPS_POWER
            base: Array = np.full(len(c), np.log2(self.power[share.ambience_channel - 1] + EPS_POWER))
        else:
            self.level[c] = self.own_weight[c] * self.power[c] + EPS_POWER
            base = self.floor[c]
        above = np.log2(self.level[c]) - base - threshold
        self.sounding[c] = (above >= 0) & (self.ramps["share"].now[c] > 0)
        target = np.clip(above, -share.depth_db / DB_PER_LOG2, 0.0)
        if share.is_last_hold_on and self.last[g] >= 0 and not self.sounding[c].any():
            target[c == self.last[g]] = 0.0
        self._open_gains(g, share, c, target)

    def _gated(self, g: int, share: Share, c: NDArray[np.intp]) -> None:
        s = self.ramps["share"].now
        threshold = share.threshold_db / DB_PER_LOG2
        own = np.log2(self.own_weight[c] * self.power[c] + EPS_POWER)
        self.sounding[c] = (own > self.floor[c] + threshold) & (s[c] > 0)
        self.level[c] = np.where(s[c] > 0, self.ramps["weight"].now[c] * self.power[c], 0.0)
        self.sounding_ticks[c] = np.where(self.sounding[c], self.sounding_ticks[c] + 1, 0)
        loudest = c[np.argmax(self.level[c])]
        hold = share.hold_ms * 1e-3 * self.tick_hz
        for i in c:
            bleeds = self.is_bleed[i] and i != loudest
            self.hold_ticks[i] = hold if self.sounding[i] and not bleeds else max(self.hold_ticks[i] - 1, 0)
            self.is_open[i] &= bool((self.hold_ticks[i] > 0 or (self.sounding[i] and not bleeds)) and s[i] > 0)
        if self.is_open[c].sum() > share.max_open:
            self.is_open[self._quietest_open(c)] = False
        for i in c:
            is_source = self.sounding_ticks[i] >= 0.1 * self.tick_hz and not self.is_bleed[i]
            if not self.sounding[i] or self.is_open[i] or not (i == loudest or is_source):
                continue
            if self.is_open[c].sum() >= share.max_open:
                quietest = self._quietest_open(c)
                if not self.level[i] > 2 * self.level[quietest]:
                    continue
                self.is_open[quietest] = False
            self.is_open[i], self.hold_ticks[i] = True, hold
        passes = self.is_open[c].copy()
        if share.is_last_hold_on and not passes.any():
            passes |= c == self.last[g]
        self._open_gains(g, share, c, np.where(passes, 0.0, -share.depth_db / DB_PER_LOG2))

    def _quietest_open(self, c: NDArray[np.intp]) -> int:
        candidates = c[self.is_open[c]]
        return int(candidates[np.argmin(self.level[candidates])])

    def _open_gains(self, g: int, share: Share, c: NDArray[np.intp], target: Array) -> None:
        """Smooth the gains, and lower the group by 10 log10(sum of g^2 / limit)."""
        attack, release = self._coeff(share.attack_ms), self._coeff(share.release_ms)
        self.smooth[c] = follow(self.smooth[c], target, attack, release)
        squared = 2 ** self.smooth[c]
        self.nom[g] = (self.ramps["share"].now[c] * squared).sum()
        self.gain_auto[c] = np.sqrt(squared / max(1.0, self.nom[g] / share.nom_limit))

    def _slow(self, g: int) -> None:
        share, c = self.groups[g], self._of(g)
        if share.mode not in (MUSIC, GATED) or not len(c):
            return
        is_gated = share.mode == GATED
        level = np.log2(self.power[c] + EPS_POWER)
        self.deviation[c] = level - self.mean[c]
        spread = self._coeff(500.0, SLOW_TICKS)
        self.variance[c] += spread * (self.deviation[c] ** 2 - self.variance[c])
        self.mean[c] += self._coeff(1000.0, SLOW_TICKS) * self.deviation[c]
        sounding_rise = 0.0 if is_gated else self._coeff(30000.0, SLOW_TICKS)
        rise = np.where(self.sounding[c], sounding_rise, self._coeff(5000.0, SLOW_TICKS))
        if is_gated:
            rise = np.where(self.variance[c] < 0.25, self._coeff(700.0, SLOW_TICKS), rise)
        self.floor[c] = follow(self.floor[c], level, rise, self._coeff(500.0, SLOW_TICKS))
        is_open = (self.smooth[c] > -1) & (self.ramps["share"].now[c] > 0)
        enough = 0.5 * self.tick_hz / SLOW_TICKS
        self.open_ticks[c] = np.where(is_open, self.open_ticks[c] + 1, 0)
        candidates = c[(self.open_ticks[c] >= enough) & self.sounding[c]]
        if len(candidates):
            self.last[g] = int(candidates[np.argmax(self.level[candidates])])
        if not is_gated:
            return
        outer = np.ix_(c, c)
        self.covariance[outer] += spread * (np.outer(self.deviation[c], self.deviation[c]) - self.covariance[outer])
        same = self.covariance[outer] ** 2 > 0.49 * np.outer(self.variance[c], self.variance[c])
        same &= self.covariance[outer] > 0
        louder = self.level[c][None, :] > self.level[c][:, None]
        self.is_bleed[c] = (same & louder & self.sounding[c][None, :]).any(axis=1)
