"""bfloat16 is taken where the CPU has it and the keypoints stay in place, and not otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import realtime.networks as networks
import realtime.stages.keypoints.parity as parity
from common.arrays import AnyArray
from engines import cpu_features
from engines.engine import Arrays, Engine, TensorSpec
from engines.openvino_cpu import OpenVinoEngine
from realtime.options import Options
from tests.conftest import Remarks
from tests.engines.conftest import linear_model

FLAGS = "processor : 0\nflags\t\t: fpu avx2 {} avx512f\nprocessor : 1\n"


class Shifted(Engine):
    """Seventeen keypoints in a row, ``shift`` px of a crop of 256 px to the right, ``lost`` of them 40 px."""

    def __init__(self, shift: float = 0.0, lost: int = 0) -> None:
        self.runtime, self.device = "openvino", "test"
        self.inputs = (TensorSpec("image", (1, 256, 256, 3), np.dtype(np.uint8)),)
        self.outputs = (TensorSpec("points", (1, 1, 17, 3), np.dtype(np.float32)),)
        rows = np.stack([np.full(17, 0.5), np.linspace(0.2, 0.8, 17) + shift / 256, np.full(17, 0.9)], 1)
        rows[:lost, 0] += 40 / 256
        self._answer = rows.astype(np.float32).reshape(1, 1, 17, 3)

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        self.check_feeds(feeds)
        return {"points": self._answer}

    def close(self) -> None: ...


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A CPU with AMX, whatever runs this, and an empty cache folder; returns what stands for /proc/cpuinfo."""
    file = tmp_path / "cpuinfo"
    file.write_text(FLAGS.format("amx_bf16"))
    monkeypatch.setattr(cpu_features, "_CPUINFO", file)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cpu_features.cpu_flags.cache_clear()
    return file


@pytest.fixture(autouse=True)
def _fresh() -> object:
    yield
    cpu_features.cpu_flags.cache_clear()


@pytest.mark.parametrize(
    ("flag", "has"), [("amx_bf16", True), ("avx512_bf16", True), ("amx_tile", False), ("avx512_vnni", False)]
)
def test_units_are_known_by_the_flags_of_the_system(cpu: Path, flag: str, has: bool) -> None:
    cpu.write_text(FLAGS.format(flag))
    assert cpu_features.multiplies_bf16() is has
    cpu.unlink()
    cpu_features.cpu_flags.cache_clear()
    assert not cpu_features.multiplies_bf16(), "a system that does not say has none"


def test_crops_show_people() -> None:
    crops = parity.parity_crops()
    assert len(crops) == 12
    assert {crop.shape for crop in crops} == {(256, 256, 3)}
    gap = parity.keypoint_gap(Shifted(), Shifted(0.3))
    assert gap == pytest.approx((0.3, 0.3), abs=1e-3)


@pytest.mark.parametrize(
    ("shift", "lost", "fits"), [(0.0, 0, True), (0.45, 0, True), (0.55, 0, False), (0.2, 2, False), (np.nan, 0, False)]
)
def test_a_trial_decides_once(
    cpu: Path, monkeypatch: pytest.MonkeyPatch, remarks: Remarks, shift: float, lost: int, fits: bool
) -> None:
    asked: list[bool] = []

    def opener(model: str, runtime: str, bf16: bool = False) -> Engine:
        asked.append(bf16)
        return Shifted(shift, lost) if bf16 else Shifted()

    monkeypatch.setattr(parity, "open_engine", opener)
    assert parity.fits_bf16("movenet-lightning") is fits
    assert asked == [False, True]
    assert any(f"movenet-lightning {'runs' if fits else 'does not run'} in bfloat16" in line for line in remarks)
    assert parity.fits_bf16("movenet-lightning") is fits
    assert len(asked) == 2, "it is kept"
    parity.fits_bf16("movenet-thunder")
    assert len(asked) == 4, "for each network"
    (file,) = cpu.parent.glob("cache/motionmesh/*.json")
    assert len(json.loads(file.read_text())) == 2
    file.write_text("[1")
    assert parity.fits_bf16("movenet-lightning") is fits
    assert len(asked) == 6, "a damaged file is made anew"


def test_without_units_nothing_is_tried(cpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu.write_text(FLAGS.format("avx512_vnni"))
    monkeypatch.setattr(parity, "open_engine", lambda *_, **__: pytest.fail("no trial"))
    assert not parity.fits_bf16("movenet-lightning")


@pytest.mark.parametrize("runtime", ["auto", "openvino"])
def test_only_the_keypoint_network_and_only_if_wanted(cpu: Path, monkeypatch: pytest.MonkeyPatch, runtime: str) -> None:
    monkeypatch.setattr(networks, "fits_bf16", lambda model: True)
    taken = {
        model
        for model in ("movenet-lightning", "movenet-thunder", "movenet-multipose", "motion", "raft-small")
        if networks._takes_bf16(model, Options(engine=runtime))  # type: ignore[arg-type]
    }
    assert taken == {"movenet-lightning", "movenet-thunder"}
    for options in (
        Options(precision="fp32"),
        Options(precision="fp16"),
        Options(engine="onnxruntime"),
        Options(engine="tensorrt"),
    ):
        assert not networks._takes_bf16("movenet-lightning", options)


def test_the_hint_reaches_openvino_and_the_numbers() -> None:
    linear = linear_model()
    x = np.full((2, 4), 1 + 2.0**-12, np.float32)  # what bfloat16 cannot hold
    with OpenVinoEngine(linear) as exact, OpenVinoEngine(linear, bf16=True) as rounded:
        assert rounded.device == f"{exact.device}, bf16"
        expected, found = exact.infer({"x": x})["y"], rounded.infer({"x": x})["y"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2**-7)
    if cpu_features.multiplies_bf16():
        assert (found != expected).any()


@pytest.mark.skipif(
    not cpu_features.multiplies_bf16(), reason="this CPU has no units for bfloat16: tried with doubles only"
)
def test_the_shipped_network_keeps_its_keypoints_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert parity.fits_bf16("movenet-lightning")
