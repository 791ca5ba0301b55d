"""Networks: two faces of the same weights, and a mix that neither order nor padding can move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import GENRES, KEYS, ROLES, SCENE_KINDS, SECTIONS
from model_compression.nets.delays import DelayLines, roll
from model_compression.nets.layout import HEADS, MEL_NOW, N_MIX_INPUT, N_MODEL_INPUT, N_OUTPUT, N_ROLES, N_SONG_INPUT
from model_compression.training.recipe import load_recipe

FLOAT32_SLACK = 2e-5  # sums in another order


@pytest.fixture(scope="module")
def nets() -> dict[str, Any]:
    """Return the students of the shipped recipe, fresh, with norms that have seen something."""
    from model_compression.training.students import build

    rng = np.random.default_rng(5)
    made = {}
    for net in ("role", "song", "mix"):
        made[net] = build(net, load_recipe("small").stages[f"{net}.student"].size, rng)
        for variable in made[net].variables:
            if not variable.trainable:
                variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype(np.float32))
    return made


def mix_scene(n_ticks: int, n_channels: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "x": rng.uniform(-1, 1, (n_ticks, n_channels, N_MODEL_INPUT)).astype(np.float32),
        "role_prob": rng.dirichlet(np.ones(N_ROLES), (n_ticks, n_channels)).astype(np.float32),
        "song": rng.uniform(0, 1, (n_ticks, N_SONG_INPUT)).astype(np.float32),
    }


def mix_sequence(net: Any, scene: dict[str, Any], mask: Any) -> Any:
    import tensorflow as tf

    return net(*(tf.constant(scene[k][None]) for k in ("x", "role_prob", "song")), tf.constant(mask[None]))[0].numpy()


def test_outputs_have_the_columns_of_the_design() -> None:
    assert N_OUTPUT == {"role": 22, "mix": 44, "song": 3 + 6 + 8 + 3 + 24}
    assert (len(ROLES), len(GENRES), len(SECTIONS), len(SCENE_KINDS), len(KEYS)) == (21, 8, 6, 3, 24)
    for heads in HEADS.values():
        assert [h.first for h in heads.values()] == np.cumsum([0, *(h.count for h in heads.values())])[:-1].tolist()


@pytest.mark.parametrize(
    ("net", "n_parameters", "n_mac"),
    [("role", 160_000, 4_500_000), ("mix", 130_000, 5_000_000), ("song", 70_000, 100_000)],
)
def test_students_stay_within_their_budget(nets: dict[str, Any], net: str, n_parameters: int, n_mac: int) -> None:
    from model_compression.training.weights import n_parameters as counted

    assert counted(nets[net]) <= n_parameters
    assert nets[net].n_mac(32) <= n_mac


@pytest.mark.parametrize("judge", [12, 0])
def test_mix_step_says_what_the_sequence_says(judge: int) -> None:
    from model_compression.conversion.stream import float_tick, mix_inputs
    from model_compression.training.students import build

    size = {"width": 16, "hidden": 24, "blocks": 2, "head": 20, "judge": judge}
    net, scene = build("mix", size, np.random.default_rng(6)), mix_scene(40, 3)
    sequence = np.clip(mix_sequence(net, scene, np.ones(3, np.float32)), -1.0, 1.0)
    lines = DelayLines(net.delays_ticks(), 4, net.size.width)
    inputs = mix_inputs(scene["x"], scene["role_prob"], scene["song"], 4)
    steps = np.stack([out["y"][:3] for _, out in roll(float_tick(net), lines, inputs)])
    np.testing.assert_allclose(steps, sequence, atol=FLOAT32_SLACK)


@pytest.mark.parametrize("size", [{"blocks": 0}, {"judge": 16, "judge_blocks": 0}])
def test_a_mix_network_without_blocks_is_refused_before_it_is_trained(size: dict[str, int]) -> None:
    from model_compression.errors import ModelError
    from model_compression.training.students import build

    with pytest.raises(ModelError, match="size of mix: blocks and judge_blocks must be at least 1"):
        build("mix", size, np.random.default_rng(0))


def test_the_judge_hears_no_spectrum_but_what_the_listener_makes_of_it() -> None:
    import tensorflow as tf

    from model_compression.nets.layout import BEHAVIOUR, MIX_HEADS
    from model_compression.training.students import build

    size = {"width": 16, "hidden": 24, "blocks": 1, "head": 20, "judge": 12, "judge_blocks": 1}
    net, scene = build("mix", size, np.random.default_rng(6)), mix_scene(20, 3)
    judged = [MIX_HEADS[name].columns for name in ("offset_lu", "pan_abs", "send_db", "ln_sigma", "importance")]
    heard = [MIX_HEADS[name].columns for name in ("tone_db", "compressor_threshold_db", "activity", "bleed", "role")]
    x = tf.Variable(scene["x"][None])
    for columns, may_hear in ((judged, False), (heard, True)):
        with tf.GradientTape() as tape:
            y = net(x, *(tf.constant(scene[k][None]) for k in ("role_prob", "song")), tf.ones((1, 3)))
            said = tf.add_n([tf.reduce_sum(tf.abs(y[..., part])) for part in columns])
        reaches = np.abs(tape.gradient(said, x).numpy()).max(axis=(0, 1, 2)) > 0
        assert reaches[list(BEHAVIOUR)].all()
        assert reaches[np.setdiff1d(np.arange(N_MODEL_INPUT), BEHAVIOUR)].any() == may_hear


def test_song_step_says_what_the_sequence_says(nets: dict[str, Any]) -> None:
    import tensorflow as tf

    from model_compression.conversion.stream import float_tick

    net, rng = nets["song"], np.random.default_rng(2)
    m = rng.uniform(-1, 1, (160, N_MIX_INPUT)).astype(np.float32)
    sums = rng.dirichlet(np.ones(N_ROLES), 160).astype(np.float32)
    sequence = net(tf.constant(m[None]), tf.constant(sums[None]))[0].numpy()
    lines = DelayLines(net.delays_ticks(), 1, net.size.width)
    inputs = ({"m": m[t][None], "role_sum": sums[t][None]} for t in range(160))
    steps = np.stack([out["z"][0] for _, out in roll(float_tick(net), lines, inputs)])
    np.testing.assert_allclose(steps, sequence, atol=2e-4)  # logits of some tens, seven residual sums


def test_role_step_says_what_the_batch_says(nets: dict[str, Any]) -> None:
    import tensorflow as tf

    from model_compression.conversion.stream import float_tick

    patches = np.random.default_rng(3).uniform(-1, 1, (3, 64, 72)).astype(np.float32)
    tick = float_tick(nets["role"])
    steps = np.concatenate([tick({"patch": p[None]})["role_logits"] for p in patches])
    np.testing.assert_allclose(steps, nets["role"](tf.constant(patches)).numpy(), atol=2e-4)


FIRST = 32 * 20 * 9 * 4  # of a picture of 4, 6 and 8 wide: outputs times what each takes
DENSE = FIRST + 16 * 10 * 9 * 4 * 6 + 8 * 5 * 9 * 6 * 8
DEPTHWISE = FIRST + 16 * 10 * (9 * 4 + 4 * 6 + 9 * 6 + 6 * 6) + 8 * 5 * (9 * 6 + 6 * 8)
TRACK = 16 * 4 * 32 * 4 + 4 * 4 * 4 * 4


@pytest.mark.parametrize(
    ("size", "n_mac", "hears_all"),
    [
        ({"track": (), "is_dense": True}, DENSE + 5 * 8 * 8, False),
        ({"track": (4, 4)}, DEPTHWISE + TRACK + (5 * 8 + 4 * 4 + 32) * 8, True),
    ],
    ids=["dense, the spectrum alone", "depthwise, with what sums it up"],
)
def test_a_role_network_counts_its_arithmetic_and_hears_what_its_size_says(
    size: dict[str, Any], n_mac: int, hears_all: bool
) -> None:
    import tensorflow as tf

    from model_compression.training.students import build

    net = build("role", {"picture": (4, 6, 8), "hidden": 8, **size}, np.random.default_rng(6))
    assert net.n_mac() == n_mac + 8 * N_OUTPUT["role"]
    patches = np.random.default_rng(7).uniform(-1, 1, (2, 64, 72)).astype(np.float32)
    changed = patches.copy()
    changed[..., MEL_NOW.stop :] *= -1.0
    assert bool(np.abs(net(tf.constant(patches)) - net(tf.constant(changed))).max() > 0) == hears_all


def test_a_norm_of_pictures_and_its_gradient_are_those_of_the_derived_one() -> None:
    import tensorflow as tf

    from model_compression.nets.layers import NORM_EPSILON, MaskedNorm

    rng = np.random.default_rng(4)
    y = tf.constant(rng.normal(0.4, 1.7, (3, 5, 4, 6)).astype(np.float32))
    slopes = tf.constant(rng.normal(size=(3, 5, 4, 6)).astype(np.float32))
    norm = MaskedNorm(6)
    norm.gamma.assign(rng.uniform(0.5, 2.0, 6).astype(np.float32))
    norm.beta.assign(rng.normal(size=6).astype(np.float32))

    def derived(y: Any, gamma: Any, beta: Any) -> Any:
        mean, variance = tf.nn.moments(y, [0, 1, 2])
        return (y - mean) * (tf.math.rsqrt(variance + NORM_EPSILON) * gamma) + beta

    def both(function: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(y)
            out = function()
            total = tf.reduce_sum(out * slopes)
        return out, tape.gradient(total, [y, norm.gamma, norm.beta])

    out, gradients = both(lambda: norm(y, training=True))
    expected, expected_gradients = both(lambda: derived(y, norm.gamma, norm.beta))
    np.testing.assert_allclose(out, expected, atol=1e-5)
    for mine, theirs in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-4)


def test_mix_follows_the_channels_when_they_change_places(nets: dict[str, Any]) -> None:
    scene, order = mix_scene(20, 6), np.array([3, 0, 5, 1, 4, 2])
    moved = {k: v[:, order] if k != "song" else v for k, v in scene.items()}
    mask = np.ones(6, np.float32)
    expected = mix_sequence(nets["mix"], scene, mask)[:, order]
    np.testing.assert_allclose(mix_sequence(nets["mix"], moved, mask), expected, atol=FLOAT32_SLACK)


def test_masked_channels_do_not_move_the_others_whatever_they_hold(nets: dict[str, Any]) -> None:
    scene = mix_scene(20, 6)
    alone = {k: v[:, :2] if k != "song" else v for k, v in scene.items()}
    mask = np.array([1, 1, 0, 0, 0, 0], np.float32)
    expected = mix_sequence(nets["mix"], alone, np.ones(2, np.float32))
    np.testing.assert_allclose(mix_sequence(nets["mix"], scene, mask)[:, :2], expected, atol=FLOAT32_SLACK)


def test_one_channel_twice_is_heard_as_one_channel(nets: dict[str, Any]) -> None:
    """Sums are divided by the true count, so the pool of two equals is the pool of one."""
    scene = mix_scene(20, 1)
    twice = {k: np.repeat(v, 2, axis=1) if k != "song" else v for k, v in scene.items()}
    one = mix_sequence(nets["mix"], scene, np.ones(1, np.float32))
    two = mix_sequence(nets["mix"], twice, np.ones(2, np.float32))
    np.testing.assert_allclose(two, np.repeat(one, 2, axis=1), atol=FLOAT32_SLACK)


def test_merged_adapters_leave_the_answer_as_it_was(nets: dict[str, Any]) -> None:
    from model_compression.training.students import build

    rng = np.random.default_rng(8)
    net = build("mix", {"width": 16, "hidden": 24, "blocks": 1, "head": 16}, rng)
    scene, mask = mix_scene(20, 3), np.ones(3, np.float32)
    before = mix_sequence(net, scene, mask)
    added = [v for unit in net.units() for v in unit.add_adapters(rng)]
    np.testing.assert_array_equal(mix_sequence(net, scene, mask), before)
    for variable in added:
        variable.assign(rng.normal(0.0, 0.1, variable.shape).astype(np.float32))
    adapted = mix_sequence(net, scene, mask)
    assert np.abs(adapted - before).max() > 0.01
    for unit in net.units():
        unit.merge_adapters()
    np.testing.assert_allclose(mix_sequence(net, scene, mask), adapted, atol=FLOAT32_SLACK)
