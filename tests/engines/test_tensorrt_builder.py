"""Building plans on doubles of three generations of TensorRT: precisions, profiles, limits and refusals."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines import tensorrt_packages
from engines.engine import EngineError, RuntimeMissingError
from engines.tensorrt import TensorRtEngine
from engines.tensorrt_builder import BuildOptions, serialise
from tests.engines.conftest import WEIGHTS, FakeGpu, linear_model

VERSIONS = ["8.6.1", "10.3.0", "11.4.0.106"]


def fp16_model() -> bytes:
    """`linear_model` with its product in float16 and its sum of ones in float32."""
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["half", "w"], ["product"]),
        helper.make_node("Cast", ["product"], ["full"], to=TensorProto.FLOAT),
        helper.make_node("Neg", ["full"], ["y"]),
    ]
    return model(nodes, [numpy_helper.from_array(WEIGHTS.astype(np.float16), "w")])


def quantised_model() -> bytes:
    scale, zero = numpy_helper.from_array(np.float32(0.05), "s"), numpy_helper.from_array(np.int8(0), "z")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    return model(nodes, [scale, zero, numpy_helper.from_array(WEIGHTS, "w")])


Shape = tuple[int | str, ...]


def model(
    nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], shape: Shape = (2, 4), result: Shape = (2, 3)
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("version", VERSIONS)
def test_builds_and_runs_on_every_generation(fake_gpu: FakeGpu, version: str) -> None:
    fake_gpu.install(version)
    options = BuildOptions(workspace_mb=64, batch=(1, 3, 8))
    plan, timings = serialise(linear_model("n"), options)
    build = fake_gpu.tensorrt.built[0]
    assert build.strongly_typed == (version != "8.6.1")
    assert build.limits == {"WORKSPACE": 64 << 20}
    assert build.profile == {"x": ((1, 4), (3, 4), (8, 4))}
    assert (build.flags, build.dla) == (set(), None)
    assert timings == f"timings of {version}".encode()
    x = np.arange(32, dtype=np.float32).reshape(8, 4)
    with TensorRtEngine(plan) as engine:
        np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS)


@pytest.mark.parametrize("version", VERSIONS)
def test_precision_is_the_graphs(fake_gpu: FakeGpu, version: str) -> None:
    fake_gpu.install(version)
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    for data, sign in ((fp16_model(), -1), (quantised_model(), 1)):
        with TensorRtEngine(serialise(data, BuildOptions())[0]) as engine:
            np.testing.assert_allclose(engine.infer({"x": x})["y"], sign * (x @ WEIGHTS), atol=0.05)
    half, quantised = fake_gpu.tensorrt.built
    if version == "8.6.1":
        assert half.flags == {"FP16", "PREFER_PRECISION_CONSTRAINTS"}
        assert half.pinned == 1, "the float32 layer that is no cast keeps its precision"
        assert quantised.flags == {"INT8"}
    else:
        assert half.flags == quantised.flags == set()
        assert half.pinned == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tf32", [True, False])
def test_float32_may_be_asked_for_in_full(fake_gpu: FakeGpu, version: str, tf32: bool) -> None:
    fake_gpu.install(version)
    serialise(linear_model(), BuildOptions(tf32=tf32))
    assert fake_gpu.tensorrt.built[0].tf32 == tf32


@pytest.mark.parametrize("version", VERSIONS)
def test_refused_operator_is_named(fake_gpu: FakeGpu, version: str) -> None:
    fake_gpu.install(version)
    data = model([helper.make_node("Det", ["x"], ["y"], name="volume")], [], (3, 3), ())
    with pytest.raises(EngineError) as caught:
        serialise(data, BuildOptions(), label="odd.onnx")
    text = str(caught.value)
    assert text.startswith("TensorRT cannot read odd.onnx: node 0")
    assert "no importer registered for op: Det" in text
    assert "volume" in text
    assert "\n" not in text


@pytest.mark.parametrize(("version", "typed"), [("8.6.1", False), ("10.3.0", False), ("11.4.0.106", True)])
def test_dla_takes_what_it_can(fake_gpu: FakeGpu, version: str, typed: bool) -> None:
    fake_gpu.install(version, dla_cores=2)
    serialise(fp16_model(), BuildOptions("fp16", dla=1))
    build = fake_gpu.tensorrt.built[0]
    assert (build.dla, build.strongly_typed) == (1, typed)
    assert "GPU_FALLBACK" in build.flags
    with pytest.raises(EngineError, match="there is no DLA core 2: this machine has 2"):
        serialise(fp16_model(), BuildOptions("fp16", dla=2))
    fake_gpu.install(version)
    with pytest.raises(
        EngineError, match=rf"no DLA core 0 here: .* not with that of JetPack 7.2; this is TensorRT {version}"
    ):
        serialise(fp16_model(), BuildOptions("fp16", dla=0))


def test_scratch_memory_is_capped_where_the_gpu_shares_the_cpus(fake_gpu: FakeGpu) -> None:
    serialise(linear_model(), BuildOptions())
    fake_gpu.gpu = replace(fake_gpu.gpu, integrated=True)
    serialise(linear_model(), BuildOptions())
    serialise(linear_model(), BuildOptions(workspace_mb=512))
    limits = [build.limits.get("WORKSPACE") for build in fake_gpu.tensorrt.built]
    assert limits == [None, 2 << 30, 512 << 20]  # a quarter of its 8 GB


def test_a_tensorrt_for_a_newer_cuda_than_the_drivers_is_one_line(
    fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(*names: str) -> None:
        found = [SimpleNamespace(metadata={"Name": name}) for name in ("numpy", *names)]
        monkeypatch.setattr(tensorrt_packages.metadata, "distributions", lambda: found)
        tensorrt_packages.cuda_of_package.cache_clear()

    try:
        installed("tensorrt", "tensorrt_cu13_libs", "tensorrt_cu13_bindings")
        with pytest.raises(RuntimeMissingError) as caught:
            serialise(linear_model(), BuildOptions())
        assert str(caught.value) == (
            "the installed TensorRT is for CUDA 13, the NVIDIA driver supports CUDA 12.6 at most: "
            "update the driver, or pip uninstall tensorrt tensorrt-cu13-bindings tensorrt-cu13-libs "
            "and pip install tensorrt-cu12"
        )
        for names in (
            ("tensorrt_cu12_libs",),
            ("tensorrt-cu13-libs", "tensorrt-cu12-libs"),
            ("tensorrt-rtx-cu13-libs",),
            (),
        ):
            installed(*names)
            assert serialise(linear_model(), BuildOptions())[0]
    finally:
        tensorrt_packages.cuda_of_package.cache_clear()


def test_free_inner_dimension_is_refused_by_name(fake_gpu: FakeGpu) -> None:
    data = model([helper.make_node("Neg", ["x"], ["y"])], [], ("n", "m"), ("n", "m"))
    with pytest.raises(EngineError, match=r"odd: tensor 'x' \[-1, -1\] is free in more than its first dimension"):
        serialise(data, BuildOptions(), label="odd")


def test_timing_cache_is_used_and_a_foreign_one_is_not(fake_gpu: FakeGpu) -> None:
    for given in (b"", b"timings of 10.3.0", b"timings of 9.9", b"\x00"):
        assert serialise(linear_model(), BuildOptions(), timing_cache=given)[1] == b"timings of 10.3.0"


def test_progress_is_told_and_can_stop_the_build(fake_gpu: FakeGpu) -> None:
    told: list[tuple[str, int, int]] = []
    serialise(linear_model(), BuildOptions(), progress=lambda *now: told.append(now))
    assert told == [("Building", done, 3) for done in (0, 1, 2, 3, 3)]

    def interrupt(phase: str, done: int, steps: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serialise(linear_model(), BuildOptions(), progress=interrupt)
    fake_gpu.install("8.6.1")
    serialise(linear_model(), BuildOptions(), progress=interrupt)  # never called there


@pytest.mark.parametrize("version", VERSIONS)
def test_a_signal_during_a_build_is_handled_after_it(fake_gpu: FakeGpu, version: str) -> None:
    """TensorRT swallows what is raised while it logs; Ctrl-C must not be lost for that."""
    fake_gpu.install(version)
    fake_gpu.tensorrt.while_building = lambda: signal.raise_signal(signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        serialise(linear_model(), BuildOptions())
    assert signal.getsignal(signal.SIGINT) is before
    # From TensorRT 10 on the progress monitor ends the build at its next step; 8.6 finishes it first.
    assert len(fake_gpu.tensorrt.built) == (1 if version == "8.6.1" else 0)
    fake_gpu.tensorrt.while_building = lambda: None
    assert serialise(linear_model(), BuildOptions())[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"precision": "fp8"}, "unknown precision 'fp8': choose one of fp32, fp16, int8"),
        ({"workspace_mb": 0}, "a workspace of 0 MB is too small"),
        ({"precision": "fp16", "dla": -1}, "there is no DLA core -1"),
        ({"dla": 0}, "a DLA core computes in fp16 or int8 only"),
        ({"batch": (2, 1, 4)}, r"batch \(2, 1, 4\) must rise"),
        ({"batch": (0, 1, 4)}, r"batch \(0, 1, 4\) must rise"),
        ({"batch": (1, 4)}, r"batch \(1, 4\) must rise"),
    ],
)
def test_options_that_cannot_be(values: dict[str, object], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        BuildOptions(**values)  # type: ignore[arg-type]


def test_too_old_and_missing(fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu.install("8.5.2")
    with pytest.raises(RuntimeMissingError, match=r"TensorRT 8.5.2 is too old: 8.6 or newer is needed"):
        serialise(linear_model(), BuildOptions())
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(RuntimeMissingError, match=r"TensorRT does not start \(.*\): pip install tensorrt"):
        serialise(linear_model(), BuildOptions())
