"""Plans on disk: found again, and never loaded when stale, foreign, changed or damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines.plan_builds
from engines.engine import EngineError
from engines.machine_files import plans_folder
from engines.manifest import resolve
from engines.plan_builds import build_plan, obtain_plan
from engines.plans import Plan, PlanPolicy, find_plans
from engines.registry import announce_builds, open_engine
from engines.tensorrt import TensorRtEngine
from engines.tensorrt_builder import BuildOptions
from tests.conftest import Remarks
from tests.engines.conftest import WEIGHTS, FakeGpu, linear_model


def problem_of(remarks: Remarks) -> str:
    """The remark that says why a plan was not taken, or empty."""
    return next((line for line in remarks if line.endswith(": building it anew")), "")


def test_built_once_then_found(fake_gpu: FakeGpu, remarks: Remarks, tmp_path: Path) -> None:
    first = build_plan(linear_model(), "linear")
    assert not first.reused
    assert first.path.parent == plans_folder() == tmp_path / "cache" / "motionmesh" / "engines"
    assert first.path.name.startswith("linear-fp32-")
    assert [line.split(":")[0] for line in remarks] == [
        "building linear in fp32 for TensorRT 10.3.0 on Pretended GPU (SM 8.7, 8 multiprocessors, 8 GB)",
        "built linear in fp32",
    ]
    remarks.clear()
    again = build_plan(linear_model(), "linear")
    assert again.reused
    assert again.read() == first.read()
    assert not remarks
    assert len(fake_gpu.tensorrt.built) == 1
    assert sorted(path.suffix for path in plans_folder().iterdir()) == [".cache", ".json", ".plan"]
    manifest = json.loads(first.path.with_suffix(".json").read_text())
    assert manifest["target"] == {
        "tensorrt": "10.3.0",
        "gpu": "Pretended GPU",
        "sm": "8.7",
        "multiprocessors": 8,
        "memory_gb": 8,
    }
    assert manifest["options"] == {
        "precision": "fp32",
        "workspace_mb": None,
        "dla": None,
        "batch": [1, 1, 1],
        "tf32": True,
    }
    assert manifest["bytes"] == len(first.read())


def test_whatever_the_plan_depends_on_makes_another_one(fake_gpu: FakeGpu) -> None:
    def build(data: bytes = linear_model(), **options: Any) -> Path:
        plan = build_plan(data, "linear", BuildOptions(**options))
        assert not plan.reused
        return plan.path

    paths = [build(), build(workspace_mb=64), build(precision="fp16"), build(batch=(1, 1, 4)), build(linear_model(3))]
    paths.append(build(tf32=False))
    for other in (
        replace(fake_gpu.gpu, name="Other GPU"),
        replace(fake_gpu.gpu, multiprocessors=4),
        replace(fake_gpu.gpu, memory_gb=4),
    ):
        fake_gpu.gpu = other
        paths.append(build())
    assert len(set(paths)) == len(paths)
    assert len(fake_gpu.tensorrt.built) == len(paths)


def tamper_plan(plan: Plan) -> None:
    plan.path.write_bytes(plan.path.read_bytes()[:-1] + b"!")


def tamper_both(plan: Plan) -> None:
    """What somebody would do who wants his code to run: change the plan, and the hash in the manifest with it."""
    tamper_plan(plan)
    change(plan, plan_sha256=hashlib.sha256(plan.path.read_bytes()).hexdigest())


def change(plan: Plan, **values: object) -> None:
    manifest = plan.path.with_suffix(".json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **values}))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (tamper_plan, "is damaged (sha256 differs)"),
        (tamper_both, "was not built by this machine (--trust-engine loads it all the same)"),
        (lambda plan: plan.path.with_suffix(".json").unlink(), "is missing"),
        (lambda plan: plan.path.with_suffix(".json").write_text("{"), "is damaged"),
        (lambda plan: plan.path.with_suffix(".json").write_text("[]"), "is damaged"),
        (lambda plan: change(plan, options={"precision": "fp99", "batch": [1, 1, 1]}), "unknown precision"),
        (lambda plan: change(plan, format=0), "is of another version of this program"),
        (lambda plan: change(plan, signature=""), "was not built by this machine"),
        (lambda plan: change(plan, target={"tensorrt": "9", "gpu": "x", "sm": "1.0"}), "was not built by this machine"),
        (lambda plan: plan.path.write_bytes(b""), "is damaged"),
    ],
)
def test_a_spoilt_plan_is_built_anew_with_one_line(
    fake_gpu: FakeGpu, remarks: Remarks, spoil: Any, problem: str
) -> None:
    good = build_plan(linear_model(), "linear")
    contents = good.read()
    spoil(good)
    remarks.clear()
    plan = build_plan(linear_model(), "linear")
    assert not plan.reused
    assert problem in problem_of(remarks)
    assert len(remarks) == 3
    assert all("\n" not in line for line in remarks)
    assert plan.read() == contents
    assert build_plan(linear_model(), "linear").reused


def test_another_version_takes_the_place_of_the_old_plan(fake_gpu: FakeGpu, remarks: Remarks) -> None:
    old = build_plan(linear_model(), "linear")
    fake_gpu.install("10.7.0")
    remarks.clear()
    new = build_plan(linear_model(), "linear")
    assert problem_of(remarks) == (
        f"{old.path.name} was built for TensorRT 10.3.0 on Pretended GPU (SM 8.7, 8 multiprocessors, 8 GB), "
        "this is TensorRT 10.7.0 on Pretended GPU (SM 8.7, 8 multiprocessors, 8 GB): building it anew"
    )
    assert new.path == old.path


def test_plan_from_another_machine_wants_trust(
    fake_gpu: FakeGpu, remarks: Remarks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    foreign = build_plan(linear_model(), "linear", folder=tmp_path / "theirs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    shutil.copytree(tmp_path / "theirs", tmp_path / "ours")
    monkeypatch.setenv("MOTIONMESH_ENGINES", str(tmp_path / "ours"))
    remarks.clear()
    assert build_plan(linear_model(), "linear", trust=True).reused
    assert not remarks
    assert not build_plan(linear_model(), "linear").reused
    assert "was not built by this machine" in problem_of(remarks)
    foreign.path.write_bytes(b"other code")  # whoever is trusted: what the manifest does not describe is not loaded
    with pytest.raises(EngineError, match="is damaged"):
        foreign.read(trust=True)


def test_int8_engines_come_from_the_export(fake_gpu: FakeGpu) -> None:
    source = linear_model(2)
    with pytest.raises(EngineError, match=r"there is no int8 plan of linear .* python -m export.engines --precision"):
        obtain_plan(source, "linear", PlanPolicy("int8"))
    built = build_plan(source.replace(b"linear", b"scaled"), "linear", BuildOptions("int8"), source=source)
    plan, contents = obtain_plan(source, "linear", PlanPolicy("int8"))
    assert (plan.path, contents) == (built.path, built.read())
    fake_gpu.install("10.7.0")  # its plans are stale now
    with pytest.raises(EngineError, match=r"was built for TensorRT 10.3.0 .*; there is no int8 plan of linear"):
        obtain_plan(source, "linear", PlanPolicy("int8"))


def test_float16_is_made_here_where_the_numbers_hold(fake_gpu: FakeGpu, remarks: Remarks) -> None:
    source = linear_model(2)
    assert obtain_plan(source, "linear", PlanPolicy("auto"))[0].precision == "fp32"
    plan, contents = obtain_plan(source, "other", PlanPolicy("fp16"))
    assert plan.precision == "fp16"
    assert plan.source_sha256 == hashlib.sha256(source).hexdigest() != plan.onnx_sha256
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    with TensorRtEngine(contents) as engine:
        np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS, atol=2e-3)
    shipped = resolve("movenet-lightning").read()
    first, _ = obtain_plan(shipped, "movenet-lightning", PlanPolicy("auto"), holds_fp16=True)
    assert (first.precision, first.reused) == ("fp16", False)
    again, _ = obtain_plan(shipped, "movenet-lightning", PlanPolicy("auto"), holds_fp16=True)
    assert (again.path, again.reused) == (first.path, True)
    fake_gpu.install("10.7.0")
    remarks.clear()
    assert obtain_plan(shipped, "movenet-lightning", PlanPolicy("auto"), holds_fp16=True)[0].path == first.path
    assert remarks.warnings[-1].startswith(f"{first.path.name} was built for TensorRT 10.3.0")
    assert obtain_plan(source, "linear", PlanPolicy(tf32=False), holds_fp16=True)[0].precision == "fp32"


def test_without_the_onnx_package_it_is_float32(
    fake_gpu: FakeGpu, remarks: Remarks, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name == "onnx" or name.startswith("engines.precision")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(engines.plan_builds, "serialise", lambda *_, **__: (b"a plan", b""))
    plan, _ = obtain_plan(linear_model(), "linear", PlanPolicy(), holds_fp16=True)
    assert plan.precision == "fp32"
    (warning,) = remarks.warnings
    assert warning.endswith("pip install onnx: linear runs in float32")
    with pytest.raises(EngineError, match="pip install onnx"):
        obtain_plan(linear_model(), "linear", PlanPolicy("fp16"))


def test_a_first_run_says_what_is_built_and_how_long_it_takes(
    fake_gpu: FakeGpu, remarks: Remarks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, data in (("one", linear_model()), ("two", linear_model(3))):
        (tmp_path / f"{name}.onnx").write_bytes(data)
    models = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    announce_builds(models, "auto", PlanPolicy())
    assert remarks == ["TensorRT engines to build, once for this machine: one, two"]
    remarks.clear()
    clock = iter(range(0, 10_000, 30))
    monkeypatch.setattr(engines.plan_builds.time, "monotonic", lambda: float(next(clock)))
    obtain_plan(models[0], "one", PlanPolicy())
    assert remarks[0].endswith("once, seconds on a desktop card, some minutes on a small board")
    assert remarks[1] == "building one: Building, step 0 of 3, 30 s so far"
    remarks.clear()
    announce_builds(models, "tensorrt", PlanPolicy())
    assert remarks == ["TensorRT engines to build, once for this machine: two; one ready"]
    seconds = next(find_plans(models[0].read_bytes(), "fp32")).seconds
    obtain_plan(models[1], "two", PlanPolicy())
    assert remarks[1].endswith(f"once, up to {seconds / 60:.0f} min, if it is like the others")
    remarks.clear()
    announce_builds(models, "tensorrt", PlanPolicy())
    announce_builds(models, "onnxruntime", PlanPolicy())
    announce_builds(models, "tensorrt", PlanPolicy("int8"))  # only export.engines builds those
    assert not remarks


def test_what_was_built_with_other_options_is_used(fake_gpu: FakeGpu) -> None:
    source = linear_model("n")
    many = build_plan(source, "linear", BuildOptions(batch=(2, 4, 8)))
    roomy = build_plan(source, "linear", BuildOptions(workspace_mb=512))
    for _ in range(2):
        assert obtain_plan(source, "linear", PlanPolicy())[0].path == roomy.path
    roomy.path.unlink()
    alone = obtain_plan(source, "linear", PlanPolicy())[0]
    assert alone.path != many.path, "a plan for two or more cannot run one"
    assert not alone.reused


def test_the_secret_stays_with_its_owner(fake_gpu: FakeGpu, tmp_path: Path) -> None:
    build_plan(linear_model(), "linear")
    key = tmp_path / "cache" / "motionmesh" / "machine.key"
    assert len(key.read_bytes()) == 32
    assert key.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written(fake_gpu: FakeGpu, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="set MOTIONMESH_ENGINES to a folder that can be written"):
        build_plan(linear_model(), "linear", folder=tmp_path / "file")


def test_open_engine_builds_what_is_missing_and_says_so(fake_gpu: FakeGpu, remarks: Remarks, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(linear_model())
    x = np.ones((2, 4), np.float32)
    for runtime in ("tensorrt", "auto"):
        with open_engine(path, runtime, plans=PlanPolicy()) as engine:
            assert (engine.runtime, engine.device) == ("tensorrt", "Pretended GPU (SM 8.7), fp32")
            np.testing.assert_allclose(engine.infer({"x": x})["y"], x @ WEIGHTS)
    assert [line.split()[0] for line in remarks] == ["building", "built"]


def test_open_engine_builds_anew_what_tensorrt_does_not_load(
    fake_gpu: FakeGpu, remarks: Remarks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(linear_model())
    build_plan(path, "mine")
    remarks.clear()
    load, refused = fake_gpu.tensorrt.Runtime, []

    class Once:
        """A runtime that refuses the first plan, as one does after its libraries were changed under it."""

        def __init__(self, logger: object) -> None:
            self._runtime = load(logger)

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> object:
            if not refused:
                refused.append(serialized_engine)
                return None
            return self._runtime.deserialize_cuda_engine(serialized_engine)

    monkeypatch.setattr(fake_gpu.tensorrt, "Runtime", Once)
    with open_engine(path, "tensorrt", plans=PlanPolicy()) as engine:
        assert engine.infer({"x": np.ones((2, 4), np.float32)})["y"].any()
    assert problem_of(remarks).startswith("TensorRT does not load mine.onnx")
    assert len(fake_gpu.tensorrt.built) == 2


def test_auto_goes_on_with_the_cpu(fake_gpu: FakeGpu, remarks: Remarks, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(linear_model())
    fake_gpu.cuda.limit = 0
    with open_engine(path, "auto", plans=PlanPolicy()) as engine:
        assert engine.runtime != "tensorrt"
    assert remarks[-1].startswith("CUDA cannot allocate")
    assert remarks[-1].endswith("mine runs on the CPU")
    with pytest.raises(EngineError, match="out of memory"):
        open_engine(path, "tensorrt")


def test_a_plan_for_fewer_rows_is_built_anew_unless_only_export_builds_it(fake_gpu: FakeGpu, tmp_path: Path) -> None:
    """What takes calibration or a DLA core is taken as it is; then people run one after the other."""
    source, many = linear_model("n"), PlanPolicy(rows=6)
    alone = obtain_plan(source, "linear", PlanPolicy())[0]
    six = obtain_plan(source, "linear", many)[0]
    assert (alone.options.batch, six.options.batch) == ((1, 1, 1), (1, 1, 6))
    assert obtain_plan(source, "linear", many)[0].path == six.path
    alone.path.unlink()
    assert obtain_plan(source, "linear", PlanPolicy())[0].path == six.path, "one row is among one to six"
    with open_engine(source, "tensorrt", plans=many) as engine:
        assert engine.max_rows == 6
    build_plan(source, "linear", BuildOptions("int8"))
    calibrated, _ = obtain_plan(source, "linear", PlanPolicy("int8", rows=6))
    assert calibrated.options.batch == (1, 1, 1)


def test_a_graph_of_one_row_is_built_for_more(fake_gpu: FakeGpu) -> None:
    """Where its operators are known; else as it is, and its engine takes one row."""
    known, unknown = ("movenet-lightning", 4), ("movenet-multipose", 1)
    for model, rows in (known, unknown):
        with open_engine(model, "tensorrt", plans=PlanPolicy("fp32", rows=4)) as engine:
            assert engine.max_rows == rows
        (plan,) = find_plans(resolve(model).read(), "fp32")
        assert (plan.onnx_sha256 == plan.source_sha256) is (rows == 1)


def test_a_dla_core_takes_one_number_of_rows() -> None:
    with pytest.raises(EngineError, match=r"^a DLA core takes one number of rows, not 1 to 6$"):
        BuildOptions("fp16", dla=0, batch=(1, 1, 6))
    assert BuildOptions("fp16", dla=0, batch=(2, 2, 2)).batch == (2, 2, 2)
