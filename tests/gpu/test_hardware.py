"""On a real GPU with TensorRT: ``pytest -m gpu``. The first run builds plans, which takes minutes on a small device."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from body.lbs import NumpyBody
from body.model import load_body
from engines.cuda.packages import PACKAGES, open_cuda
from engines.cuda.port import Cuda
from engines.engine import Arrays, Engine, RuntimeMissingError
from engines.manifest import resolve
from engines.plan_builds import obtain_plan
from engines.plans import PlanPolicy
from engines.registry import open_engine, why_no_tensorrt
from engines.tensorrt import TensorRtEngine
from export.networks import load_networks, record_samples
from realtime.options import Options
from realtime.session import Session
from realtime.stages.regressor.engine_body import open_engine_body
from tests.engines.feeds import HEAVY, SHIPPED

if reason := why_no_tensorrt():
    pytest.skip(f"needs an NVIDIA GPU: {reason}; pytest -m gpu runs these tests there", allow_module_level=True)

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]

CLIP = Path(__file__).resolve().parents[2] / "assets" / "synthetic_walk.mp4"
TOLERANCE = 2e-3  # of the largest number, for products that are not rounded: a GPU sums in another order


@pytest.fixture(params=PACKAGES)
def cuda(request: pytest.FixtureRequest) -> Cuda:
    try:
        return open_cuda(request.param)
    except RuntimeMissingError as error:
        pytest.skip(str(error))


def load(model: str, cuda: Cuda, graphs: bool = True) -> Engine:
    file = resolve(model)
    plan, contents = obtain_plan(file.read(), file.name, PlanPolicy("fp32", tf32=False))
    return TensorRtEngine(contents, label=model, precision=plan.precision, graphs=graphs, cuda=cuda)


def real_feeds(model: str) -> list[Arrays]:
    """What the program feeds to a network over some frames of the rendered clip: noise is answered by no network well."""
    return record_samples(load_networks([model]), CLIP, 12)[model]


@pytest.mark.parametrize("model", SHIPPED)
def test_numbers_are_those_of_onnx_runtime(cuda: Cuda, model: str) -> None:
    with open_engine(model, "onnxruntime") as reference, load(model, cuda) as engine:
        assert (engine.inputs, engine.outputs) == (reference.inputs, reference.outputs)
        for feeds in real_feeds(model)[
            :6
        ]:  # the second is recorded as a graph where there are graphs, the rest replay it
            expected, found = reference.infer(feeds), engine.infer(feeds)
            for name, array in expected.items():
                scale = max(float(np.abs(array).max()), 1.0)
                np.testing.assert_allclose(found[name], array, atol=TOLERANCE * scale, err_msg=name)


def test_graphs_give_the_numbers_of_plain_runs(cuda: Cuda) -> None:
    with load("movenet-lightning", cuda) as replayed, load("movenet-lightning", cuda, graphs=False) as plain:
        for feeds in real_feeds("movenet-lightning")[:4]:
            expected = plain.infer(feeds)
            for name, array in replayed.infer(feeds).items():
                np.testing.assert_allclose(array, expected[name], atol=1e-5)
        assert replayed.replays, "the network was recorded"


def test_the_body_is_posed_in_full_float32() -> None:
    arrays = load_body()
    cpu = NumpyBody(arrays)
    engine, gpu = open_engine_body(arrays, PlanPolicy())
    with engine:
        rng = np.random.default_rng(0)
        for _ in range(8):
            betas, poses = rng.normal(0, 1, (1, 10)), rng.normal(0, 0.5, (1, 24, 3))
            (expected,), (found,) = (
                each.pose_all(betas.astype(np.float32), poses.astype(np.float32)) for each in (cpu, gpu)
            )
            for array, wanted in zip(found, expected, strict=True):
                np.testing.assert_allclose(array, wanted, atol=1e-4)  # m; rounded products are off by some millimetres


@pytest.mark.parametrize("model", [model for model in SHIPPED if model != HEAVY])  # which is what float16 is for
def test_a_run_is_faster_than_a_camera(cuda: Cuda, model: str) -> None:
    with load(model, cuda) as engine:
        (feeds, *_) = real_feeds(model)
        for _ in range(20):
            engine.infer(feeds)
        times = []
        for _ in range(200):
            began = time.perf_counter()
            engine.infer(feeds)
            times.append((time.perf_counter() - began) * 1e3)
        p50, p95 = np.percentile(times, [50, 95])
        print(f"{model}: {engine.device}, {cuda.name}: p50 {p50:.2f} ms, p95 {p95:.2f} ms")
        assert p50 < 1000 / 30


def test_same_bodies_as_with_onnx_runtime(tmp_path: Path) -> None:
    joints = {}
    for engine in ("onnxruntime", "tensorrt"):
        path = tmp_path / f"{engine}.npz"
        options = Options(source=str(CLIP), view="none", save=(path,), frames=60, flow="dis", precision="fp32")
        Session(replace(options, engine=engine)).run()  # type: ignore[arg-type]
        with np.load(path, allow_pickle=False) as data:
            joints[engine] = data["joints_m"]
    error = np.linalg.norm(joints["tensorrt"] - joints["onnxruntime"], axis=-1)
    print(f"MPJPE against ONNX Runtime: {error.mean() * 1e3:.2f} mm")
    assert error.mean() < 0.001  # the same flow and the same precision on both sides
