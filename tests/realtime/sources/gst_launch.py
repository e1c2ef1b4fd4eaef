#!/usr/bin/env python3
"""Stands in for gst-launch-1.0: says of each frame what ``identity silent=false`` says, and sends the frame.

The pipeline's words choose what it does: ``frames=5 size=64x48 gap_ms=10 fails_after=3 error=TEXT hangs``. After
``stalls_after=3`` frames, or ``half_after=3`` and half a frame, it goes on without another frame (``silent``), with a flood of
messages (``floods``, or ``floods=endless`` for one line that does not end), or ends (``exits``); from its start number
``well_from`` on it does not.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

WORDS = dict(word.partition("=")[::2] for word in sys.argv[1:])
WIDTH, HEIGHT = (int(number) for number in WORDS.get("size", "64x48").split("x"))
ROW = (3 * WIDTH + 3) // 4 * 4
FD = int(WORDS["fd"])


def frame(index: int) -> bytes:
    """Black, but for bars in the lower half that say the number, as `tests.realtime.clips.numbered_image` draws them."""
    rows = bytearray(ROW * HEIGHT)
    for bit in range(8):
        if index >> bit & 1:
            for y in range(HEIGHT // 2, HEIGHT):
                start, end = (bit * WIDTH // 8) * 3, ((bit + 1) * WIDTH // 8) * 3
                rows[y * ROW + start : y * ROW + end] = b"\xff" * (end - start)
    return bytes(rows)


def break_off() -> int:
    """Send no more frames. Returns the code to end with, where it ends at all."""
    if "floods" in WORDS:
        while True:
            os.write(
                2, b"the sensor's driver repeats itself, " * 100 + (b"" if WORDS["floods"] == "endless" else b"\n")
            )
    while "exits" not in WORDS:
        time.sleep(60)
    return 0


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    with open(os.environ["GST_STARTS"], "a") as file:
        file.write(json.dumps(sys.argv[1:]) + "\n")
    with open(os.environ["GST_STARTS"]) as file:
        start = len(file.readlines())
    with open(os.environ["GST_STARTS"] + ".pids", "a") as file:
        file.write(f"{os.getpid()}\n")
    is_well = start >= int(WORDS.get("well_from", "1000000"))
    last = 1_000_000 if is_well else int(WORDS.get("half_after", WORDS.get("stalls_after", "1000000")))
    if "hangs" in WORDS:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "error" in WORDS and start > int(WORDS.get("error_from", "0")):
        say(f"ERROR: from element /GstPipeline:pipeline0/GstSource:source0: {WORDS['error']}.")
        say("Additional debug info:\n../source.c(1): start (): /GstPipeline:pipeline0/GstSource:source0:\nwhat it says")
        return 1
    if "nvarguscamerasrc" in sys.argv and "GST_NO_CAMERA" in os.environ:  # an end like that of a film
        say(
            "Error generated. /a/nvgstreamer/gst-nvarguscamera/gstnvarguscamerasrc.cpp, execute:740 No cameras available"
        )
        say('Got EOS from element "pipeline0".')
        return 0
    say("Setting pipeline to PLAYING ...")
    say(
        f"/GstPipeline:pipeline0/GstIdentity:motionmesh.GstPad:src: caps = video/x-raw, format=(string)BGR, "
        f"width=(int){WIDTH}, height=(int){HEIGHT}, framerate=(fraction){WORDS.get('rate', '100/1')}, "
        "interlace-mode=(string)progressive"
    )
    for index in range(int(WORDS.get("frames", os.environ.get("GST_FRAMES", "1000000")))):
        if index >= int(WORDS.get("fails_after", "1000000")):
            say("ERROR: from element /GstPipeline:pipeline0/GstSource:source0: it was unplugged.")
            return 1
        if index == last and "half_after" not in WORDS:
            return break_off()
        pts = "none" if "clockless" in WORDS else f"0:00:{index * int(WORDS.get('step_ms', '10')) / 1000:012.9f}"
        say(
            f"/GstPipeline:pipeline0/GstIdentity:motionmesh: last-message = chain   ******* (motionmesh:sink) "
            f"({ROW * HEIGHT} bytes, dts: none, pts: {pts}, duration: none, offset: {index}, flags: 00000000 ) 0x55"
        )
        data = memoryview(frame(index % 256))
        if index == last:
            os.write(FD, data[: len(data) // 2])
            return break_off()
        while data:
            data = data[os.write(FD, data) :]
        time.sleep(int(WORDS.get("gap_ms", "0")) / 1000)
    say('Got EOS from element "pipeline0".')
    return 0


if __name__ == "__main__":
    sys.exit(main())
