"""The regressor in float16: bodies within a millimetre of float32 over a stream, and nothing overflows."""

from __future__ import annotations

import numpy as np
import pytest

from engines.engine import Arrays
from engines.ort import OnnxRuntimeEngine
from export.checks.precision_report import stream_joints, stream_row
from export.conversion.precision import convert
from export.networks import CLIP, load_networks, record_samples

FRAMES = 24


@pytest.fixture(scope="module")
def frames() -> list[Arrays]:
    """What the regressor sees of somebody who walks."""
    return record_samples(load_networks(["motion"]), CLIP, FRAMES)["motion"]


@pytest.fixture(scope="module")
def twin() -> bytes:
    """Rounds as the graph for a GPU does."""
    (network,) = load_networks(["motion"]).values()
    return convert(network, "fp16", ()).twin


def test_bodies_are_within_a_millimetre_over_a_stream(frames: list[Arrays], twin: bytes) -> None:
    (network,) = load_networks(["motion"]).values()
    with OnnxRuntimeEngine(network.data, label="fp32") as one, OnnxRuntimeEngine(twin, label="fp16") as two:
        full, rounded = stream_joints(one, frames), stream_joints(two, frames)
    gap = np.linalg.norm(full - rounded, axis=-1)
    relative = np.linalg.norm((full - full[:, :1]) - (rounded - rounded[:, :1]), axis=-1)
    assert 0 < relative.mean() < 1e-3
    assert gap.mean() < 2e-3, "with the pelvis' distance of some metres"
    assert len(full) >= FRAMES // 2
    assert stream_row("motion", network.data, twin, frames).startswith(
        f"| motion | {len(full)} | {1e3 * relative.mean():.2f} / "
    )


@pytest.mark.parametrize("size", [1e3, 1e5])
def test_large_inputs_do_not_overflow(frames: list[Arrays], twin: bytes, size: float) -> None:
    """Points far outside of a large image, a tiny or a huge focal length, a long pause, a flow of whole crops."""
    rng = np.random.default_rng(0)
    with OnnxRuntimeEngine(twin, label="fp16") as engine:
        state = frames[-1]["state"]
        for focal in (0.05 * size, 10 * size):
            feeds = {
                **frames[-1],
                "points": rng.uniform(-size, size, frames[-1]["points"].shape).astype(np.float32),
                "camera": np.array([[focal, focal, size / 2, size / 2]], np.float32),
                "dt": np.array([2.0], np.float32),
                "flow": rng.uniform(-4, 4, frames[-1]["flow"].shape).astype(np.float32),
                "box": np.array([[size / 2, size / 2, size]], np.float32),
                "state": state,
            }
            for _ in range(8):
                out = engine.infer(feeds)
                assert all(np.isfinite(array).all() for array in out.values())
                feeds = {**feeds, "state": out["next_state"]}
        rotations = out["rotations"][0]
        np.testing.assert_allclose(rotations @ np.swapaxes(rotations, 1, 2), np.tile(np.eye(3), (24, 1, 1)), atol=1e-2)
