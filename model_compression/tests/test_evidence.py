"""Evidence: what is believed of a channel and of the song, given what the networks said so far."""

from __future__ import annotations

import numpy as np

from model_compression.nets.evidence import RoleEvidence, SongEvidence, context_shares, role_sum, sound_of
from model_compression.nets.layout import (
    HEARD,
    IS_ACTIVE,
    LEVEL_NOW,
    LEVEL_NOW_SCALE_DB,
    N_MODEL_INPUT,
    N_OUTPUT,
    N_ROLES,
    TICK_S,
)

CH, HALF, NONE = np.array([0]), np.array([0.5]), np.array([0.0])


def said(role: int, logit: float = 3.0, voice: float = 6.0) -> np.ndarray:
    out = np.zeros((1, N_OUTPUT["role"]))
    out[0, role], out[0, N_ROLES] = logit, voice
    return out


def test_a_channel_never_heard_may_be_anything() -> None:
    np.testing.assert_allclose(RoleEvidence(2).role_prob(), 1.0 / N_ROLES)


def test_silence_changes_nothing() -> None:
    evidence = RoleEvidence(1)
    evidence.add(CH, said(3), HALF, HALF)
    before = evidence.role_prob()
    evidence.add(CH, said(7), NONE, NONE)
    np.testing.assert_array_equal(evidence.role_prob(), before)


def test_belief_grows_with_what_is_heard_and_turns_after_a_change_of_player() -> None:
    evidence = RoleEvidence(1)
    grown = []
    for _ in range(40):
        evidence.add(CH, said(3), HALF, HALF)
        grown.append(evidence.role_prob()[0, 3])
    assert np.all(np.diff(grown) > 0)
    for _ in range(60):
        evidence.add(CH, said(7), HALF, HALF)
    assert evidence.role_prob()[0].argmax() == 7


def test_old_evidence_fades_to_one_in_e_after_twenty_seconds_of_sound() -> None:
    evidence = RoleEvidence(1)
    evidence.add(CH, said(3, voice=50.0), 2.0 * HALF, 2.0 * HALF)
    before = evidence.active_s[0]
    flat = np.zeros((1, N_OUTPUT["role"]))
    flat[0, N_ROLES] = 50.0
    kept = evidence.evidence[0, 3] - evidence.evidence[0, 4]
    for _ in range(20):
        evidence.add(CH, flat, 2.0 * HALF, 2.0 * HALF)
    left = evidence.evidence[0, 3] - evidence.evidence[0, 4]
    np.testing.assert_allclose(left / kept, np.exp(-1.0), rtol=1e-9)
    assert evidence.active_s[0] > before


def test_what_is_loud_counts_more_and_a_knock_no_more_than_ten_times_as_much() -> None:
    x = np.full((1, 5, N_MODEL_INPUT), 0.0)
    x[..., LEVEL_NOW] = np.array([0.0, -10.0, 10.0, 30.0, 0.0]) / LEVEL_NOW_SCALE_DB
    x[..., IS_ACTIVE] = [1.0, 1.0, 1.0, 1.0, -1.0]
    np.testing.assert_allclose(sound_of(x)[0], TICK_S * np.array([1.0, 0.1, 10.0, 10.0, 0.0]))
    evidence = RoleEvidence(1)
    evidence.add(CH, said(3), HALF, 10.0 * HALF)
    for _ in range(5):  # what bleeds in while the own source is soft
        evidence.add(CH, said(7), HALF, 0.1 * HALF)
    assert evidence.role_prob()[0].argmax() == 3


def test_how_loud_a_channel_is_as_a_whole_changes_nothing() -> None:
    loud, soft = RoleEvidence(1), RoleEvidence(1)
    for role in (3, 7, 3):
        loud.add(CH, said(role), HALF, 2.0 * HALF)
        soft.add(CH, said(role), HALF, 0.02 * HALF)
    np.testing.assert_allclose(loud.role_prob(), soft.role_prob())


def test_the_mix_networks_share_in_roles_grows_with_those_who_were_heard() -> None:
    x = np.full((4, 5, N_MODEL_INPUT), -1.0)
    for n_heard, tick in enumerate(x):
        tick[:n_heard, HEARD] = 0.3
    np.testing.assert_allclose(context_shares(0.6, x), [0.0, 0.0, 0.3, 0.4])


def test_the_temperature_sharpens_without_changing_the_order() -> None:
    soft, sharp = RoleEvidence(1, temperature=1.0), RoleEvidence(1, temperature=0.25)
    for evidence in (soft, sharp):
        evidence.add(CH, said(3), 2.0 * HALF, 2.0 * HALF)
    assert sharp.role_prob().max() > soft.role_prob().max()
    assert sharp.role_prob().argmax() == soft.role_prob().argmax() == 3


def test_song_beliefs_start_alike_and_stay_probabilities() -> None:
    evidence, z = SongEvidence(), np.zeros(N_OUTPUT["song"])
    z[9] = 8.0  # the first genre
    for _ in range(1500):
        song = evidence.add(z)
    np.testing.assert_allclose([song[:8].sum(), song[8:14].sum(), song[14:17].sum()], 1.0)
    assert song[0] > 0.9
    assert not song[17:].any()


def test_role_sum_counts_heard_channels_only() -> None:
    x = np.full((2, N_MODEL_INPUT), -1.0, np.float32)
    prob = np.eye(N_ROLES)[:2]
    np.testing.assert_allclose(role_sum(prob, x), 1.0 / N_ROLES)
    x[1, HEARD] = 0.5
    np.testing.assert_allclose(role_sum(prob, x), prob[1])
