"""Other programs get the motion while it is estimated: UDP, WebSocket and VMC on the loopback interface."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pythonosc.osc_bundle import OscBundle
from scipy.spatial.transform import Rotation
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from body.joints import JOINT_NAMES
from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from common.arrays import DoubleArray
from common.camera import Camera
from common.errors import UserError
from formats.endings import ReferenceFrame
from formats.json_lines import from_jsonl
from formats.vmc import BONES
from realtime.outputs.live import Sender, check_send, open_sender
from realtime.records import BodyEstimate, Frame, Keypoints, Result, WorldFrame

CAMERA = Camera(500.0, 500.0, 319.5, 239.5)
DOCS = Path(__file__).resolve().parents[3] / "docs" / "live-output.md"


@pytest.fixture(scope="module")
def arrays() -> BodyArrays:
    return load_body("body_1722")


def result(arrays: BodyArrays, sequence: int, *people: int, time_s: float | None = None) -> Result:
    """Everybody stands upright, faces the camera, and bends limbs by an own random pose."""
    bodies = []
    poser = NumpyBody(arrays)
    for person in people:
        rng = np.random.default_rng(100 * sequence + person)
        pose = rng.normal(0, 0.3, (23, 3)).astype(np.float32)
        orient = np.array([np.pi, 0, 0], np.float32)
        place = np.array([0.5 * person + 0.01 * sequence, 0.2, 3], np.float32)
        vertices, joints = poser.pose(orient, pose, place)
        keypoints = Keypoints(sequence, person, np.full((17, 2), 50, np.float32), np.full(17, 0.8, np.float32))
        betas = np.zeros(10, np.float32)
        coco = poser.coco(vertices)
        bodies.append(BodyEstimate(sequence, person, orient, pose, betas, place, joints, coco, vertices, keypoints))
    frame = Frame(
        sequence, time.monotonic_ns(), sequence / 30 if time_s is None else time_s, np.zeros((2, 2, 3), np.uint8)
    )
    return Result(frame, CAMERA, tuple(bodies), time.monotonic_ns())


def open_to(scheme: str, port: int, arrays: BodyArrays, query: str = "", frame: ReferenceFrame | None = None) -> Sender:
    return open_sender(f"{scheme}://127.0.0.1:{port}{query}", CAMERA, 30.0, "camera 0", arrays, frame)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        yield receiver


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_udp_sends_the_header_and_each_frame(arrays: BodyArrays, listener: socket.socket, tmp_path: Path) -> None:
    sent = [result(arrays, 0, 4), result(arrays, 1), result(arrays, 2, 4, 7)]
    with open_to("udp", listener.getsockname()[1], arrays) as sender:
        for one in sent:
            sender.send(one)
        lines = [listener.recv(65535).decode() for _ in range(4)]
    header = json.loads(lines[0])
    assert (header["type"], header["version"], header["schema"]) == ("header", 1, "motionmesh")
    assert header["joints"] == list(JOINT_NAMES)
    first = json.loads(lines[1])
    assert (first["type"], first["frame"], len(first["people"])) == ("frame", 0, 1)
    assert 0 <= first["latency_ms"] < 60_000
    (tmp_path / "stream.jsonl").write_text("\n".join(lines))  # a recorded stream is a file
    motion = from_jsonl(tmp_path / "stream.jsonl")
    assert motion.person.tolist() == [4, -1, 4, 7]
    np.testing.assert_allclose(motion.joints_m[3], sent[2].people[1].joints, atol=1e-5)
    np.testing.assert_allclose(motion.body_pose[0], sent[0].people[0].body_pose, atol=1e-6)


def tilted(one: Result, shot: int = 0) -> Result:
    """The same seen by a camera 1.4 m over the floor that looks down by 20 degrees."""
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = Rotation.from_euler("x", 160, degrees=True).as_matrix()
    matrix[1, 3] = 1.4
    return replace(one, world=WorldFrame(matrix, 0.02, np.inf, shot))


@pytest.mark.parametrize("frame", [None, "world", "camera"])
def test_json_has_the_worlds_frame_beside_the_cameras(
    arrays: BodyArrays, listener: socket.socket, tmp_path: Path, frame: ReferenceFrame | None
) -> None:
    one = tilted(result(arrays, 0, 4, 7))
    with open_to("udp", listener.getsockname()[1], arrays, frame=frame) as sender:
        sender.send(one)
        sender.send(result(arrays, 1, 4))  # the world is not known
        lines = [listener.recv(65535).decode() for _ in range(3)]
    (tmp_path / "stream.jsonl").write_text("\n".join(lines))
    motion = from_jsonl(tmp_path / "stream.jsonl")
    np.testing.assert_allclose(motion.joints_m[1], one.people[1].joints, atol=1e-5)
    assert motion.has_world == (frame != "camera")
    if motion.world_joints_m is not None:
        assert one.world is not None
        turn, shift = one.world.world_from_camera[:3, :3], one.world.world_from_camera[:3, 3]
        np.testing.assert_allclose(motion.world_joints_m[1], one.people[1].joints @ turn.T + shift, atol=2e-5)
        assert np.isnan(motion.world_joints_m[2]).all()
        assert motion.up_sigma_deg is not None
        assert motion.up_sigma_deg[0] == pytest.approx(np.degrees(0.02), abs=1e-3)


def test_a_joint_without_a_pixel_is_null(arrays: BodyArrays, listener: socket.socket) -> None:
    one = result(arrays, 0, 1)
    one.people[0].joints[3, 2] = -1.0  # behind the camera
    with open_to("udp", listener.getsockname()[1], arrays) as sender:
        sender.send(one)
        listener.recv(65535)
        text = listener.recv(65535).decode()
    assert "NaN" not in text
    assert json.loads(text)["people"][0]["joints_px"][3] == [None, None]


def test_nobody_listens(arrays: BodyArrays) -> None:
    """Datagrams to a closed port are nobody's problem; after closing nothing is sent."""
    sender = open_to("udp", free_port(), arrays)
    for index in range(5):
        sender.send(result(arrays, index, 1))
    sender.close()
    sender.close()
    sender.send(result(arrays, 6, 1))


def received(client: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(client.recv(timeout=5))
    return message


def test_several_clients_get_every_frame(arrays: BodyArrays) -> None:
    port = free_port()
    with open_to("ws", port, arrays) as sender:
        with connect(f"ws://127.0.0.1:{port}") as one, connect(f"ws://127.0.0.1:{port}") as two:
            assert received(one)["type"] == received(two)["type"] == "header"
            for sequence in range(5):
                sender.send(result(arrays, sequence, 1))
                assert received(one)["frame"] == received(two)["frame"] == sequence
        with connect(f"ws://127.0.0.1:{port}") as late:  # comes again
            assert received(late)["type"] == "header"
            time.sleep(0.05)
            sender.send(result(arrays, 9, 1))
            assert received(late)["frame"] == 9


def test_a_slow_client_misses_frames_and_holds_nobody_up(arrays: BodyArrays) -> None:
    port = free_port()
    with (
        open_to("ws", port, arrays) as sender,
        connect(f"ws://127.0.0.1:{port}", max_queue=1) as slow,
        connect(f"ws://127.0.0.1:{port}") as quick,
    ):
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        received(slow), received(quick)
        message = result(arrays, 0, *range(6))
        sent, began = 100, time.monotonic()
        for _ in range(sent):  # 2 MB, which nobody buffers
            sender.send(message)
            quick.recv(timeout=5)
        assert time.monotonic() - began < 10
        sender.send(result(arrays, 1000, 1))
        assert received(quick)["frame"] == 1000
        read = 0
        while received(slow)["frame"] != 1000:  # it gets the newest in the end, and not all of those before
            read += 1
        assert read < sent - 10


def test_pages_of_other_sites_may_not_watch(arrays: BodyArrays) -> None:
    port = free_port()
    with open_to("ws", port, arrays):
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}", origin="https://example.org")  # type: ignore[arg-type]
        with connect(f"ws://127.0.0.1:{port}", origin="http://localhost:3000") as client:  # type: ignore[arg-type]
            assert received(client)["type"] == "header"


def test_a_taken_port_is_told(arrays: BodyArrays) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot listen there"):
            open_to("ws", taken.getsockname()[1], arrays)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "udp://",
        "udp://localhost",
        "tcp://localhost:9",
        "ws://:80",
        "vmc://h:1?man=2",
        "udp://h:99999",
        "ws://h:1/a",
    ],
)
def test_wrong_addresses(url: str) -> None:
    with pytest.raises(UserError, match="vmc://HOST:PORT"):
        check_send(url)
    check_send("vmc://localhost:39539?person=2")


def heard(listener: socket.socket) -> dict[str, Any]:
    """The next frame's VMC messages: by address, bones by name."""
    found: dict[str, Any] = {}
    while "/VMC/Ext/OK" not in found or (found["/VMC/Ext/OK"][3] and len(found) < 3 + len(BONES)):
        datagram = listener.recv(65535)
        assert len(datagram) < 1472  # fits an Ethernet frame
        for message in OscBundle(datagram):
            bone = message.address == "/VMC/Ext/Bone/Pos"
            found[message.params[0] if bone else message.address] = message.params[1:] if bone else message.params
    return found


def unity_joints(messages: dict[str, Any]) -> dict[str, DoubleArray]:
    """Where Unity puts each bone: local transforms down the humanoid's tree, left-handed, y up."""
    parents = {"Spine": "Hips", "Chest": "Spine", "UpperChest": "Chest", "Neck": "UpperChest", "Head": "Neck"}
    for side in ("Left", "Right"):
        chain = ["Hips", *(f"{side}{part}" for part in ("UpperLeg", "LowerLeg", "Foot", "Toes"))]
        arm = ["UpperChest", *(f"{side}{part}" for part in ("Shoulder", "UpperArm", "LowerArm", "Hand"))]
        parents |= dict(zip(chain[1:], chain, strict=False)) | dict(zip(arm[1:], arm, strict=False))
    places: dict[str, DoubleArray] = {}
    turns: dict[str, DoubleArray] = {}

    def place(bone: str) -> None:
        if bone in places:
            return
        position, turn = np.array(messages[bone][:3]), quaternion_matrix(np.array(messages[bone][3:]))
        if bone == "Hips":
            places[bone], turns[bone] = position, turn
            return
        place(parents[bone])
        places[bone] = places[parents[bone]] + turns[parents[bone]] @ position
        turns[bone] = turns[parents[bone]] @ turn

    for bone in messages:
        if not bone.startswith("/"):
            place(bone)
    return places


def quaternion_matrix(q: DoubleArray) -> DoubleArray:
    """Unity's matrix of a quaternion x, y, z, w: the same algebra whatever the hand of the axes."""
    return np.asarray(Rotation.from_quat(q).as_matrix())


def test_vmc_is_the_person_mirrored_into_unitys_axes(arrays: BodyArrays, listener: socket.socket) -> None:
    one = result(arrays, 3, 0)
    with open_to("vmc", listener.getsockname()[1], arrays) as sender:
        sender.send(one)
        messages = heard(listener)
    assert messages["/VMC/Ext/OK"] == [1, 3, 0, 1]
    assert messages["/VMC/Ext/T"][0] == pytest.approx(0.1)
    assert messages["/VMC/Ext/Root/Pos"] == ["root", 0, 0, 0, 0, 0, 0, 1]
    assert len(BONES) == 22
    places = unity_joints(messages)
    joints = one.people[0].joints.astype(np.float64) * [1, -1, -1] * [-1, 1, 1]  # y up, then left-handed
    shift = places["Hips"] - joints[0]
    for bone, joint in BONES.items():
        np.testing.assert_allclose(places[bone], joints[joint] + shift, atol=1e-4, err_msg=bone)
    # It looks along +z, its left hand is at -x (Unity's right is +x), and its feet are on the ground.
    assert places["LeftUpperArm"][0] < places["RightUpperArm"][0]
    assert 0.03 < min(places["LeftFoot"][1], places["RightFoot"][1]) < 0.15
    assert abs(places["Hips"][0]) < 1e-6


@pytest.mark.parametrize("frame", [None, "world", "camera"])
def test_vmc_stands_upright_on_the_floor_where_it_is_known(
    arrays: BodyArrays, listener: socket.socket, frame: ReferenceFrame | None
) -> None:
    one = tilted(result(arrays, 3, 0))
    assert one.world is not None
    world = one.world.world_from_camera if frame != "camera" else np.diag([1.0, -1.0, -1.0, 1.0])
    wanted = (one.people[0].joints @ world[:3, :3].T + world[:3, 3]) * [-1, 1, 1]
    with open_to("vmc", listener.getsockname()[1], arrays, frame=frame) as sender:
        sender.send(one)
        places = unity_joints(heard(listener))
        shift = places["Hips"] - wanted[0]
        for bone, joint in BONES.items():
            np.testing.assert_allclose(places[bone], wanted[joint] + shift, atol=1e-4, err_msg=bone)
        assert places["Hips"][[0, 2]] == pytest.approx([0, 0], abs=1e-6)
        assert (abs(shift[1]) < 1e-5) == (frame != "camera"), "heights are those over the world's floor"
        sender.send(tilted(result(arrays, 4, 0), shot=1))
        moved = unity_joints(heard(listener))["Hips"][0]
        assert moved == pytest.approx(-0.01 if frame == "camera" else 0.0, abs=1e-6), "a cut begins a new world"
        sender.send(result(arrays, 5, 0))
        assert heard(listener)["/VMC/Ext/OK"][3] == (frame == "camera")


def test_vmc_keeps_to_one_person(arrays: BodyArrays, listener: socket.socket) -> None:
    with open_to("vmc", listener.getsockname()[1], arrays) as sender:
        seen = []
        for sequence, (time_s, people) in enumerate(
            [(0.0, (5, 7)), (0.1, (5, 7)), (0.2, (7,)), (1.2, (7,)), (1.3, (5, 7))]
        ):
            sender.send(result(arrays, sequence, *people, time_s=time_s))
            messages = heard(listener)
            seen.append(bool(messages["/VMC/Ext/OK"][3]))
        assert seen == [True, True, False, True, True]
        assert messages["Hips"][0] == pytest.approx(
            -(0.5 * 2 + 0.04), abs=1e-5
        )  # 7, whom it goes on to show, from 5's place
    with open_to("vmc", listener.getsockname()[1], arrays, "?person=7") as sender:
        sender.send(result(arrays, 0, 5))
        assert not heard(listener)["/VMC/Ext/OK"][3]
        sender.send(result(arrays, 0, 5, 7))
        assert heard(listener)["/VMC/Ext/OK"][3]


@pytest.mark.parametrize("scheme", ["udp", "ws", "vmc"])
def test_a_receiver_that_keeps_up_hears_every_result(arrays: BodyArrays, listener: socket.socket, scheme: str) -> None:
    """One by one: the receiver's time-out ends the test where a message is missing."""
    one = result(arrays, 0, 1)
    port = listener.getsockname()[1] if scheme != "ws" else free_port()
    with open_to(scheme, port, arrays) as sender:
        client = connect(f"ws://127.0.0.1:{port}") if scheme == "ws" else None
        if client is not None:
            client.recv(timeout=5)
        heard_of = 0
        for number in range(60):
            sender.send(one)
            if client is not None:
                client.recv(timeout=5)
            elif scheme == "vmc":
                listener.recv(65535), listener.recv(65535)
            else:
                listener.recv(65535)
                if number == 0:
                    listener.recv(65535)  # the header
            heard_of += 1
        if client is not None:
            client.close()
    assert heard_of == 60


def python_blocks() -> dict[str, str]:
    """The programs in the page about live output, by their first line's comment."""
    blocks = re.findall(r"```python\n(# (\S+)\n.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.S)
    return {name: text for text, name in blocks}


@pytest.mark.parametrize(("name", "scheme"), [("ws_client.py", "ws"), ("udp_client.py", "udp")])
def test_the_clients_in_the_docs_work(arrays: BodyArrays, tmp_path: Path, name: str, scheme: str) -> None:
    port = free_port()
    text = python_blocks()[name]
    assert len(text.strip().splitlines()) <= 21
    (tmp_path / name).write_text(text)
    stop = threading.Event()

    def feed(sender: Sender) -> None:
        sequence = 0
        while not stop.is_set():
            sender.send(result(arrays, sequence, 2))
            sequence += 1
            time.sleep(0.03)

    with open_to(scheme, port, arrays) as sender:
        feeding = threading.Thread(target=feed, args=[sender])
        feeding.start()
        try:
            client = subprocess.Popen(
                [sys.executable, str(tmp_path / name), "127.0.0.1", str(port)], stdout=subprocess.PIPE, text=True
            )
            assert client.stdout is not None
            lines = [client.stdout.readline() for _ in range(3)]
            client.kill()
            client.wait()
        finally:
            stop.set()
            feeding.join()
    assert all(re.search(r"person 2: left_wrist at", line) for line in lines), lines


def test_every_program_in_the_docs_compiles() -> None:
    blocks = python_blocks()
    assert "ros2_bridge.py" in blocks
    assert len(blocks["ros2_bridge.py"].strip().splitlines()) <= 31
    for name, text in blocks.items():
        compile(text, name, "exec")


def test_closing_ends_the_clients(arrays: BodyArrays) -> None:
    port = free_port()
    sender = open_to("ws", port, arrays)

    async def watch() -> list[str]:
        from websockets.asyncio.client import connect as connect_async

        async with connect_async(f"ws://127.0.0.1:{port}") as client:
            asyncio.get_running_loop().call_later(0.1, closing.start)
            return [str(message) async for message in client]

    closing = threading.Thread(target=sender.close)
    assert len(asyncio.run(asyncio.wait_for(watch(), 10))) == 1  # the header, then an ordinary end
    closing.join(10)
    assert f"ws 127.0.0.1:{port}" not in [thread.name for thread in threading.enumerate()]
