"""Other programs get the motion while it is estimated: addresses, JSON by UDP, and the clients of the documents."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.client import connect

from body.joints import JOINT_NAMES
from body.model import BodyArrays
from common.errors import UserError
from formats.endings import ReferenceFrame
from formats.json_lines import from_jsonl
from realtime.outputs.live import Sender, check_send, open_sender
from tests.realtime.fakes import CAMERA
from tests.realtime.outputs.live_results import free_port, open_to, result, tilted

DOCS = Path(__file__).resolve().parents[3] / "docs" / "live-output.md"


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


@pytest.mark.parametrize("query", ["person=x", "persons=1"])
def test_a_wrong_query_is_answered_with_the_right_one(query: str) -> None:
    with pytest.raises(UserError, match=r"39539 with \?\.\.\.: give it as vmc://HOST:PORT\[\?person=NUMBER\]"):
        check_send(f"vmc://localhost:39539?{query}")


@pytest.mark.parametrize("scheme", ["udp", "vmc", "ws"])
@pytest.mark.parametrize("host", ["a" * 70, "..x.."])
def test_a_name_that_no_host_can_have_is_one_line(arrays: BodyArrays, scheme: str, host: str) -> None:
    with pytest.raises(UserError, match="host"):
        open_sender(f"{scheme}://{host}:9000", CAMERA, 30.0, "x", arrays)


@pytest.mark.parametrize(
    "url", ["ws://bob:S3cret@h:1/a", "udp://h:1?token=S3cret", "http://bob:S3cret@h:1", "vmc://bob:S3cret@no.invalid:1"]
)
def test_no_password_of_an_address_is_shown(arrays: BodyArrays, url: str) -> None:
    with pytest.raises(UserError) as caught:
        open_sender(url, CAMERA, 30.0, "x", arrays)
    assert "S3cret" not in str(caught.value)


@given(st.sampled_from(["vmc://", "udp://", "ws://", "http://", ""]), st.text(max_size=30))
def test_any_text_is_an_address_or_refused(scheme: str, text: str) -> None:
    with contextlib.suppress(UserError):
        check_send(scheme + text)


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
