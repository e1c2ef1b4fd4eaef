"""The body in an engine poses as the body on the CPU does, in full float32, and the program does without where it cannot."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import realtime.networks
from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from engines.engine import Engine, EngineError
from engines.ort import OnnxRuntimeEngine
from engines.plan_builds import build_plan
from engines.plans import PlanPolicy, find_plans
from realtime.options import Options
from realtime.session import Session
from realtime.stages.regressor.engine_body import EngineBody, open_engine_body
from tests.conftest import Remarks
from tests.engines.conftest import FakeGpu, fake_gpu

__all__ = ["fake_gpu"]

CLIP = Path(__file__).resolve().parents[4] / "assets" / "synthetic_walk.mp4"
NEAR_M = 1e-5


@pytest.fixture(scope="module")
def arrays() -> BodyArrays:
    return load_body("body_1722")


@pytest.fixture(scope="module")
def graph(arrays: BodyArrays) -> bytes:
    from body.lbs_onnx import body_to_onnx

    return body_to_onnx(arrays)


def test_it_poses_as_the_body_on_the_cpu(arrays: BodyArrays, graph: bytes) -> None:
    rng = np.random.default_rng(3)
    plain = NumpyBody(arrays)
    with OnnxRuntimeEngine(graph) as engine:
        body = EngineBody(engine)
        for people in (1, 3, 2):
            betas = rng.normal(0, 2, (people, 10)).astype(np.float32)  # some beyond the limit
            poses = rng.normal(0, 0.5, (people, 24, 3)).astype(np.float32)
            truth, found = plain.pose_all(betas, poses), body.pose_all(betas, poses)
            assert len(found) == people
            for expected, array in zip(chain(*truth), chain(*found), strict=True):
                assert array.dtype == np.float32
                np.testing.assert_allclose(array, expected, atol=NEAR_M)


def test_it_is_built_once_and_rounds_no_product(
    fake_gpu: FakeGpu, arrays: BodyArrays, graph: bytes, remarks: Remarks
) -> None:
    build_plan(graph, "body")  # with TensorFloat-32, which is not good enough
    remarks.clear()
    for _ in range(2):
        engine, body = open_engine_body(arrays, PlanPolicy("fp16"))
        with engine:
            assert engine.runtime == "tensorrt"
            (posed,) = body.pose_all(np.zeros((1, 10), np.float32), np.zeros((1, 24, 3), np.float32))
            assert posed.vertices.shape == (1722, 3)
    assert [line.split(":")[0].rsplit(" in ")[0] for line in remarks] == ["building body", "built body"]
    assert [build.tf32 for build in fake_gpu.tensorrt.built] == [True, False]
    assert [plan.options.tf32 for plan in find_plans(graph, "fp32")] == [False, True]


def test_another_body_is_another_plan(fake_gpu: FakeGpu, arrays: BodyArrays) -> None:
    taller = BodyArrays(
        **{name: getattr(arrays, name) for name in BodyArrays.__slots__}
        | {"v_template": arrays.v_template * np.float32(1.1)}
    )
    for each in (arrays, taller):
        engine, body = open_engine_body(each, PlanPolicy())
        with engine:
            ((_, joints, _),) = body.pose_all(np.zeros((1, 10), np.float32), np.zeros((1, 24, 3), np.float32))
        np.testing.assert_allclose(
            joints, NumpyBody(each).joints_only(np.zeros(3), np.zeros((23, 3)), np.zeros(3)), atol=NEAR_M
        )
    assert len(fake_gpu.tensorrt.built) == 2


def test_without_onnx_the_reason_is_one_line(arrays: BodyArrays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "body.lbs_onnx", None)
    with pytest.raises(EngineError, match=r"^the body's graph cannot be made \(.*\): pip install onnx$"):
        open_engine_body(arrays, PlanPolicy())


def test_memory_that_is_full_is_given_back(fake_gpu: FakeGpu, arrays: BodyArrays) -> None:
    fake_gpu.cuda.limit = 20_000  # betas and rotations fit, the skin does not
    before = len(fake_gpu.cuda.memory)
    with pytest.raises(EngineError, match="out of memory"):
        open_engine_body(arrays, PlanPolicy())
    assert len(fake_gpu.cuda.memory) == before


def run(engine: str, path: Path) -> tuple[np.ndarray, list[Engine]]:
    # float32 on both sides: on a GPU the default is float16, which moves joints by some tenths of a millimetre.
    options = Options(
        source=str(CLIP),
        view="none",
        engine=engine,
        save=(path,),
        frames=4,
        flow="dis",
        precision="fp32",
        quality="live",
        persons=1,  # the very same graph: the next crop is where these keypoints are, so that rounding grows
    )
    session = Session(options)
    assert session.run().meshes == 4
    with np.load(path, allow_pickle=False) as data:
        return data["joints_m"], session.networks.engines


@pytest.mark.parametrize("fails", [False, True])
def test_the_program_does_without_where_it_fails(
    fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, remarks: Remarks, fails: bool
) -> None:
    expected, engines = run("onnxruntime", tmp_path / "cpu.npz")
    assert len(engines) == 3, "on a CPU the body is no engine"
    if fails:

        def refuse(*arguments: object) -> None:
            raise EngineError("TensorRT cannot build body: no")

        monkeypatch.setattr(realtime.networks, "open_engine_body", refuse)
        monkeypatch.setattr(realtime.networks, "open_posing_regressor", refuse)
    found, engines = run("tensorrt" if fails else "auto", tmp_path / "gpu.npz")
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert len(engines) == 3, "regressor and body are one engine, or the body is none"
    assert ("TensorRT cannot build body: no: the body is posed on the CPU" in remarks) == fails
