"""The program as a user runs it: on a clip, and on all that can be wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import av
import numpy as np
import pytest

from body.model import load_body
from engines.cuda.packages import CUDA_ENVIRONMENT
from engines.machine_files import ENGINES_ENVIRONMENT as PLANS_ENVIRONMENT
from formats.motion import save_motion
from realtime.options import Options
from realtime.outputs.video import VideoRecorder
from realtime.sources import open_source
from realtime.sources.camera_list import describe_cameras
from tests.formats.motions import example

ROOT = Path(__file__).resolve().parent.parent
CLIP = ROOT / "assets" / "synthetic_walk.mp4"


def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_camera.py"), "--view", "none", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, cwd=ROOT)


def test_a_walk_becomes_a_video_a_motion_and_a_report(tmp_path: Path) -> None:
    video, motion, report = tmp_path / "out.mp4", tmp_path / "out.npz", tmp_path / "out.json"
    done = run("--source", CLIP, "--frames", "40", "--record", video, "--save", motion, "--report", report)
    assert done.returncode == 0, done.stderr
    data = np.load(motion, allow_pickle=False)
    assert data["frame"].tolist() == list(range(40))
    np.testing.assert_allclose(data["time_s"], np.arange(40) / 30, atol=1e-3)
    assert (data["person"] == 0).all()
    shapes = {name: data[name].shape[1:] for name in ("joints_m", "joints_px", "keypoints_px", "body_pose", "betas")}
    assert shapes == {
        "joints_m": (24, 3),
        "joints_px": (24, 2),
        "keypoints_px": (17, 2),
        "body_pose": (23, 3),
        "betas": (10,),
    }
    # Upright, facing the camera, at about the distance that it was rendered at.
    joints = data["joints_m"][10:]
    assert (joints[:, 15, 1] < joints[:, 0, 1] - 0.4).all(), "the head is above the pelvis"
    assert (joints[:, 7, 1] > joints[:, 0, 1] + 0.6).all(), "the ankles are below it"
    assert (joints[:, 16, 0] > joints[:, 17, 0]).all(), "the left shoulder is on the frame's right"
    assert abs(np.median(joints[:, 0, 2]) - 3.6) < 0.7
    np.testing.assert_allclose(data["transl"], data["joints_m"][:, 0], atol=1e-3)
    numbers = json.loads(report.read_text())
    assert (numbers["frames_in"], numbers["frames_dropped"], numbers["meshes"]) == (40, 0, 40)
    assert {"capture", "keypoints", "flow", "regressor", "record", "save"} <= numbers["stages"].keys()
    assert numbers["latency_ms"]["p50"] <= numbers["latency_ms"]["p99"]
    with av.open(str(video)) as recorded:
        assert sum(1 for _ in recorded.decode(video=0)) == 40


def test_replay_and_compare_are_commands_of_their_own(tmp_path: Path) -> None:
    motion, video, plot = tmp_path / "out.npz", tmp_path / "out.mp4", tmp_path / "plot.png"
    save_motion(motion, example(load_body(), {0: np.arange(5)}).arrays())

    def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(ROOT / "run_camera.py"), *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=100, cwd=ROOT)

    done = command("replay", motion, "--record", video, "--look", "clay")
    assert done.returncode == 0, done.stderr
    with av.open(str(video)) as recorded:
        assert sum(1 for _ in recorded.decode(video=0)) == 5
    done = command("compare", motion, motion, "--plot", plot)
    assert (done.returncode, done.stderr) == (0, "")
    assert "PA-MPJPE" in done.stdout
    assert plot.stat().st_size > 1000
    for wrong, why in (
        (["--view", "none"], "--record"),
        (["--record", tmp_path / "out.avi"], "ends in .mp4"),
        (["--record", video, "--layout", "side"], "--source"),
    ):
        done = command("replay", motion, *wrong)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert why in done.stderr


def test_motion_files_of_different_formats_are_compared(tmp_path: Path) -> None:
    names, plot = [tmp_path / name for name in ("a.npz", "a.jsonl", "a.bvh")], tmp_path / "plot.png"
    saves = [word for name in names for word in ("--save", str(name))]
    assert run("--source", CLIP, "--frames", "8", "--quality", "live", *saves).returncode == 0
    for other in names[1:]:
        words = [sys.executable, str(ROOT / "run_camera.py"), "compare", str(names[0]), str(other), "--plot", str(plot)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=100, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert "0 = 0" in done.stdout
        assert plot.stat().st_size > 1000
        plot.unlink()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_replay_that_is_ended_leaves_a_whole_recording(tmp_path: Path, name: str) -> None:
    motion, video = tmp_path / "out.npz", tmp_path / "out.mp4"
    save_motion(motion, example(load_body("body_1722"), {0: np.arange(1500)}).arrays())
    words = [sys.executable, str(ROOT / "run_camera.py"), "replay", str(motion), "--record", str(video)]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and (not video.exists() or video.stat().st_size < 2000):
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        _, printed = process.communicate(timeout=100)
    assert (process.returncode, "Traceback" in printed) == (130, False)
    with av.open(str(video)) as recorded:
        assert 0 < sum(1 for _ in recorded.decode(video=0)) < 1500


def test_the_mesh_lies_on_the_person(tmp_path: Path) -> None:
    motion = tmp_path / "out.npz"
    assert run("--source", CLIP, "--save", motion).returncode == 0
    data = np.load(motion, allow_pickle=False)
    coco = [5, 6, 7, 8, 9, 10, 13, 14, 15, 16]  # shoulders to wrists, knees, ankles: joints that both name alike
    smpl = [16, 17, 18, 19, 20, 21, 4, 5, 7, 8]
    seen = data["keypoint_confidence"][:, coco] > 0.4
    distance = np.linalg.norm(data["joints_px"][:, smpl] - data["keypoints_px"][:, coco], axis=-1)
    height = np.ptp(data["keypoints_px"][..., 1], axis=1)
    assert (distance / height[:, None])[seen].mean() < 0.05


def test_two_people_are_told_apart(tmp_path: Path) -> None:
    clip, motion = tmp_path / "two.mp4", tmp_path / "two.npz"
    with open_source(str(CLIP)) as source, VideoRecorder(clip) as out:
        image = source.new_buffer()
        for _ in range(30):
            timestamp = source.read_into(image)
            assert timestamp is not None
            out.write(np.hstack([image, image[:, ::-1]]), timestamp.time_s)  # the same person and a mirrored one
    done = run("--source", clip, "--persons", "2", "--look-ahead", "3", "--save", motion)
    assert done.returncode == 0, done.stderr
    assert "waiting for 3 later frames" in " ".join(done.stderr.split())
    data = np.load(motion, allow_pickle=False)
    places = {int(name): data["joints_px"][data["person"] == name][:, 0, 0] for name in np.unique(data["person"])}
    assert places.keys() == {0, 1}
    assert all(len(place) >= 28 for place in places.values())
    assert sorted(bool((place > 640).all()) for place in places.values()) == [False, True]
    assert sorted(bool((place < 640).all()) for place in places.values()) == [False, True]


def test_what_the_source_notices_is_said_though_the_run_fails() -> None:
    done = run("--source", CLIP, "--resolution", "320x240", "--focal", "5")
    assert done.returncode == 2
    assert "keeps its size" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--source", "nowhere.mp4"), "nowhere.mp4"),
        (("--source", "README.md"), "README.md"),
        (("--source", "97"), "camera 97"),
        (("--source", "97", "--resolution", "1280"), "--resolution 1280: write width and height"),
        (("--source", CLIP, "--height", "1080"), "--height 1080: give 50 to 250"),
        (("--source", CLIP, "--record", "no/such/folder/x.mp4"), "x.mp4"),
        (("--source", CLIP, "--report", "no/such/folder/x.json"), "x.json"),
        (("--source", CLIP, "--save", "no/such/folder/x.npz"), "x.npz"),
        (("--source", CLIP, "--engine", "tensorrt"), "TensorRT"),
        (("--source", CLIP, "--regressor", "nobody"), "nobody"),
        (("--source", CLIP, "--regressor", "README.md"), ".onnx"),
        (("--source", CLIP, "--regressor", "movenet-lightning"), "--regressor"),
        (("--source", CLIP, "--body", "README.md"), "README.md"),
        (("--source", CLIP, "--fov", "400"), "--fov"),
        (("--source", CLIP, "--focal", "inf"), "--focal"),
        (("--source", CLIP, "--persons", "7"), "--persons"),
        (("--source", CLIP, "--sourc", "x"), "--sourc"),
        (("--source", CLIP, "--record", "x.avi"), ".mp4"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    lines = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert says in lines[0]


def test_help_names_every_option_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, run_camera\n"
        "try: run_camera.main()\n"
        "finally: print(sorted({'numpy', 'cv2', 'numba', 'av', 'onnxruntime'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-c", code, "--help"]
    page = subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, text=True).stdout
    assert page.splitlines()[-1] == "[]"
    assert all("--" + field.name.replace("_", "-") in page for field in fields(Options))
    groups = ("Source", "View", "Output", "Models", "Camera", "TensorRT")
    assert sorted(groups, key=lambda group: page.index(f"─ {group} ─")) == list(groups)
    assert page.count(" motionmesh ") >= 2
    assert f"${CUDA_ENVIRONMENT}" in page
    assert f"${PLANS_ENVIRONMENT}" in page


def test_version_and_cameras() -> None:
    done = run("--version")
    assert done.stdout.startswith("motionmesh ")
    assert run("--list-cameras").stdout.strip() == describe_cameras()


def test_being_ended_leaves_a_whole_recording(tmp_path: Path) -> None:
    video, motion, report = tmp_path / "out.mp4", tmp_path / "out.npz", tmp_path / "out.json"
    command = [sys.executable, str(ROOT / "run_camera.py"), "--source", str(CLIP), "--live", "--view", "none"]
    command += ["--record", str(video), "--save", str(motion), "--report", str(report)]
    process = subprocess.Popen(command, cwd=ROOT)
    deadline = time.monotonic() + 60
    while (
        (not video.exists() or video.stat().st_size < 2000) and time.monotonic() < deadline and process.poll() is None
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    code = process.wait(30)
    assert code in (130, 0, -signal.SIGTERM)  # the others: it was through already, or just closing Python down
    with av.open(str(video)) as recorded:
        assert sum(1 for _ in recorded.decode(video=0)) > 0
    assert len(np.load(motion, allow_pickle=False)["frame"]) > 0
    assert json.loads(report.read_text())["frames_in"] > 0


def test_a_device_needs_neither_torch_nor_the_training_rooms() -> None:
    code = (
        "import sys, run_camera, realtime.window.controller, tools.bench\n"
        "bad = {'torch', 'smplx', 'training', 'export', 'open3d'} & {name.split('.')[0] for name in sys.modules}\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_engines_know_nothing_of_the_other_rooms() -> None:
    code = (
        "import sys, engines.registry, engines.ort, engines.openvino_cpu\n"
        "bad = {'torch', 'realtime', 'body', 'training', 'export'} & {name.split('.')[0] for name in sys.modules}\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
