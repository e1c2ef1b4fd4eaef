"""The page in a real browser, headless: it opens, moves with the video, records, and comes back after a reload."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.realtime.browser.chromium import PROGRAM, Chromium
from tests.realtime.clips import write_video

ROOT = Path(__file__).parents[3]
CLIP = ROOT / "assets" / "synthetic_walk.mp4"

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="needs Chromium: apt install chromium"),
    pytest.mark.timeout(900),
]


class Program:
    """The program with ``--view browser`` on a clip, in a folder of its own."""

    def __init__(self, folder: Path, *options: str, clip: Path = CLIP) -> None:
        self.folder, self._log = folder, folder / "log"
        hidden = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "run_camera.py"), "--source", str(clip), "--view", "browser", *options],
                cwd=folder,
                stderr=log,
                env={**hidden, "PYTHONPATH": str(ROOT)},
            )

    def link(self) -> str:
        """What it tells its user to open."""
        deadline = time.monotonic() + 300
        while not (found := re.search(r"view: (http://\S+)", self.said)):
            assert self._process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.2)
        return found[1]

    @property
    def said(self) -> str:
        return self._log.read_text()

    def end(self) -> int:
        """Press Ctrl-C; returns the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Its exit code, when it has ended by itself."""
        return self._process.wait(120)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("program"), "--port", "0", "--loop")  # a busy page finds it going
    yield program
    program.kill()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium"), 640, 420) as opened:
        yield opened


def shown(browser: Chromium, selector: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The pixels of an element on the screen, BGR."""
    image = cv2.imdecode(np.frombuffer(browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    box = f"document.querySelector('{selector}').getBoundingClientRect()"
    x, y, width, height = browser.evaluate(f"(b => [b.x, b.y, b.width, b.height].map(Math.round))({box})")
    return np.asarray(image[y : y + height, x : x + width], np.uint8)


def test_the_page_opens_moves_records_and_comes_back(program: Program, browser: Chromium) -> None:
    """One test, because starting both takes longest; in the order in which somebody would do it."""
    link = program.link()
    browser.open(link)
    browser.wait_for("window.motionmesh?.people.length === 1", 120)
    browser.wait_for("motionmesh.videoSequence >= 0 && motionmesh.state?.source === 'live'", 60)

    # The body moves with the clip: wrists and ankles are elsewhere some frames later.
    first = browser.evaluate("[motionmesh.sequence, motionmesh.people[0].joints]")
    browser.wait_for(f"motionmesh.sequence >= {first[0] + 8}", 60)
    later = browser.evaluate("[motionmesh.sequence, motionmesh.people[0].joints]")
    moved = np.linalg.norm(np.reshape(later[1], (24, 3)) - np.reshape(first[1], (24, 3)), axis=1)
    assert np.isfinite(moved).all()
    assert moved.max() > 0.02

    # The record button records, and the page says so.
    browser.click("#record")
    browser.wait_for("motionmesh.state.recording && document.querySelector('#status').textContent.includes('REC')", 60)
    begun = browser.evaluate("motionmesh.sequence")
    browser.wait_for(f"motionmesh.sequence > {begun + 3} || motionmesh.state.source === 'ended'", 60)
    browser.click("#record")
    browser.wait_for("!motionmesh.state.recording", 60)

    # Pausing stops it; a page that is loaded anew connects and shows the frame that was last.
    browser.click("#pause")
    browser.wait_for("motionmesh.state.paused || motionmesh.state.source === 'ended'", 60)
    browser.click("#snapshot")
    browser.wait_for("document.querySelector('#toasts').textContent.includes('snapshot')", 60)
    browser.open(link)
    browser.wait_for("window.motionmesh?.connected && motionmesh.people.length === 1", 120)

    # A person is on the screen, in the middle of the view: something else than background and floor.
    browser.wait_for("motionmesh.drawn > 3", 60)
    view = shown(browser, "#view").astype(int)
    height, width = view.shape[:2]
    middle = view[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4]
    colourful = (middle.max(2) - middle.min(2) > 40).mean()
    assert colourful > 0.02, "a coloured shirt"

    # Nothing was asked for from elsewhere, and the page's own policy forbade nothing that the page does.
    host = link.removeprefix("http://")
    assert all(re.sub("^(http|ws)://", "", url).startswith((host, "blob:")) for url in browser.requests), (
        browser.requests
    )
    assert not browser.complaints

    assert program.end() in (0, 130), program.said
    (video,) = program.folder.glob("motionmesh-*.mp4")
    with av.open(str(video)) as recorded:
        assert sum(1 for _ in recorded.decode(video=0)) > 0
    assert len(list(program.folder.glob("motionmesh-*.png"))) == 1

    # The program has gone: the page says so, and is there again when the program is.
    browser.wait_for("!motionmesh.connected && !document.querySelector('#hint').hidden", 60)
    port = link.strip("/").rpartition(":")[2]
    again = Program(program.folder, "--port", port)
    try:
        again.link()
        browser.wait_for("motionmesh.connected && motionmesh.people.length === 1", 120)
    finally:
        again.kill()


def test_a_clip_is_wound_back_and_on(tmp_path: Path, browser: Chromium) -> None:
    """Each frame of the clip says its number, which is read from what the page shows of it."""
    clip = write_video(tmp_path / "clip.mp4", 250, rate=10, size=(320, 240))
    program = Program(tmp_path, "--port", "0", "--quality", "live", clip=clip)
    try:
        browser.open(program.link())
        browser.wait_for(f"window.motionmesh && {_NUMBER} > 80", 240)
        browser.click("#back")
        before = browser.evaluate(_NUMBER)
        back = browser.wait_for(f"{_NUMBER} < {before - 10} && {_NUMBER}")
        browser.wait_for(f"{_NUMBER} > {back}")
        begun = time.monotonic()
        before = browser.evaluate(_NUMBER)
        browser.press("ArrowRight")
        on = browser.wait_for(f"{_NUMBER} > {before + 45} && {_NUMBER}")
        assert on - before > 10 * (time.monotonic() - begun)  # frames a second: further than it would have played
        browser.wait_for("motionmesh.state.source === 'ended' && document.querySelector('#back').disabled", 120)
        assert browser.evaluate(_NUMBER) > 240  # the last frame stays
        assert program.end() in (0, 130), program.said
    finally:
        program.kill()


_NUMBER = """(() => {  // as tests.realtime.clips.number reads it
  const { width, height } = document.querySelector("#video");
  const pixels = document.querySelector("#video").getContext("2d").getImageData(0, Math.floor(0.75 * height), width, 1).data;
  let number = 0;
  for (let bit = 0; bit < 8; bit++) number += (pixels[4 * Math.floor((2 * bit + 1) * width / 16) + 1] > 127) << bit;
  return number;
})()"""


def test_a_phone_shows_all_of_a_person_and_follows_fingers(tmp_path: Path, browser: Chromium) -> None:
    program = Program(tmp_path, "--port", "0", "--loop", "--quality", "live", "--persons", "1")
    try:
        phone(browser, 390, 800)
        browser.open(program.link())
        browser.wait_for("window.motionmesh?.connected && motionmesh.people.length === 1", 240)

        for width, height in ((390, 800), (320, 568), (844, 390)):
            phone(browser, width, height)
            browser.wait_for(
                f"innerWidth === {width} && motionmesh.view.width === document.querySelector('#stage').clientWidth"
            )
            buttons = "[...document.querySelectorAll('#dock button, #bar button, .switches button')]"
            boxes = f"{buttons}.map(b => b.getBoundingClientRect())"
            assert browser.evaluate(f"{boxes}.every(b => b.left >= 0 && b.right <= {width})"), width
            heights = browser.evaluate("[...document.querySelectorAll('#dock button')].map(b => b.offsetHeight)")
            assert min(heights) >= 40
            browser.press("0")
            browser.wait_for(f"({_SPAN})()[0] > 0 && ({_SPAN})()[1] < ({_SPAN})()[2]")

        on_it, a_little_below, far_below = (browser.evaluate(f"({_FLOOR_UNDER})({sole})") for sole in (0, -0.3, -1.5))
        assert (on_it, a_little_below) == (pytest.approx(0, abs=1e-3), pytest.approx(0, abs=1e-3))
        assert far_below == pytest.approx(-1.5, abs=1e-3)  # nobody is on it: it would be over their head

        browser.click("#pause")
        browser.wait_for("motionmesh.state.paused")
        assert browser.evaluate(_LEFT_BEHIND) < 0.3  # of 2 m
        assert browser.evaluate(_DOTS) == [False, False, True, True]
        browser.click("#pause")
        browser.wait_for("!motionmesh.state.paused")

        phone(browser, 390, 800)
        browser.press("1")
        browser.wait_for("motionmesh.view.followed === motionmesh.people[0].person")
        browser.click("#reset")
        browser.wait_for("motionmesh.view.followed === null")

        angle, radius = browser.evaluate(_ORBIT)
        browser.touch(((200, 200), (280, 200)))
        turned, same = browser.evaluate(_ORBIT)
        assert angle - turned == pytest.approx(80 * np.pi / browser.evaluate("motionmesh.view.height"), abs=0.02)
        assert same == pytest.approx(radius, rel=0.1)
        browser.touch(((180, 200), (130, 200)), ((220, 200), (270, 200)))
        still, near = browser.evaluate(_ORBIT)
        assert still == pytest.approx(turned, abs=1e-6)
        assert near < 0.5 * same  # the fingers end 3.5 times as far apart
        assert browser.evaluate("scrollY") == 0

        browser.press("h")
        browser.wait_for("document.querySelector('#keys').open")
        browser.click("#closekeys")
        browser.click("#quit")
        browser.click("#stay")
        assert browser.evaluate("motionmesh.connected && !document.querySelector('#sure').open")
        browser.press("q")
        browser.click("#stop")
        browser.wait_for("!motionmesh.connected && document.querySelector('#hint').textContent.includes('stopped')", 60)
        assert program.wait() == 0, program.said
    finally:
        program.kill()
        browser.call("Emulation.setTouchEmulationEnabled", enabled=False)
        browser.call("Emulation.setDeviceMetricsOverride", width=640, height=420, deviceScaleFactor=1, mobile=False)


_ORBIT = "[motionmesh.view.orbit.wanted.theta, motionmesh.view.orbit.wanted.radius]"
_FLOOR_UNDER = """(sole) => {  // where the floor is drawn for a person whose lowest joint is 8 cm over ``sole``, m
  const view = motionmesh.view, now = view.pose, world = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0];
  const show = () => view.setPose({ ...now, hasWorld: true, world });
  show();
  const [{ poser }] = view.figures.values();
  world[7] = sole + 0.08 + Math.max(...Array.from({ length: 24 }, (_, joint) => poser.joints[3 * joint + 1]));
  for (let frame = 0; frame < 60; frame++) show();
  const height = view.floor.position.y;
  view.setPose(now);
  return height;
}"""
_LEFT_BEHIND = """(async () => {  // m that the view is behind people who have jumped aside, four poses a second later
  const view = motionmesh.view, now = view.pose;
  view.setPose(now);
  const aside = (transl) => Float32Array.of(transl[0] + 2, transl[1], transl[2]);
  const people = now.people.map((one) => ({ ...one, transl: aside(one.transl) }));
  for (let pose = 0; pose < 5; pose++) {
    view.setPose({ ...now, people });
    await new Promise((go) => setTimeout(go, 250));
  }
  const left = view.orbit.wantedTarget.distanceTo(view.centre);
  view.setPose(now);
  return left;
})()"""
_DOTS = """(async () => {  // whether the buttons of the same two people have colours before these are known, and then
  const { People } = await import("./people.js");
  const view = { wardrobe: null, figures: new Map() }, people = new People(view, () => {});
  const dots = () => {
    people.take([{ person: 1 }, { person: 2 }]);
    return [...document.querySelectorAll("#persons i")].map((dot) => dot.style.background !== "");
  };
  const before = dots();
  view.wardrobe = { css: () => "red" };
  return [...before, ...dots()];
})()"""
_SPAN = """() => {  // pixels: room above the highest joint, the lowest joint, where the dock begins
  const view = motionmesh.view, top = document.querySelector("#stage").getBoundingClientRect().top;
  const below = (id, side) => document.querySelector(id).getBoundingClientRect()[side] - top;
  const rows = [];
  for (const { poser } of view.figures.values()) {
    for (let joint = 0; joint < 24; joint++) {
      const point = view.centre.clone().fromArray(poser.joints, 3 * joint).applyMatrix4(view.world).project(view.camera);
      rows.push((0.5 - 0.5 * point.y) * view.height);
    }
  }
  return [Math.min(...rows) - below("#bar", "bottom"), Math.max(...rows), below("#dock", "top")];
}"""


def phone(browser: Chromium, width: int, height: int) -> None:
    """Make the page that of a phone."""
    size = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True)


def test_a_link_without_its_token_shows_nothing(tmp_path: Path, browser: Chromium) -> None:
    program = Program(tmp_path, "--port", "0", "--host", "0.0.0.0")
    try:
        address, _, token = program.link().partition("#")
        assert token
        port = address.strip("/").rpartition(":")[2]
        browser.open(f"http://127.0.0.1:{port}/")
        browser.wait_for("document.querySelector('#hint')?.textContent.includes('token')", 120)
        assert browser.evaluate("motionmesh.bytes") == 0
        browser.open("about:blank")
        browser.open(f"http://127.0.0.1:{port}/#{token}")
        browser.wait_for("window.motionmesh?.connected && motionmesh.people.length === 1", 120)
        assert token not in "".join(url for url in browser.requests if "token=" not in url), (
            "sent where it must be only"
        )
    finally:
        program.kill()
