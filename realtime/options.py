"""What a user can choose. The command line and its help page are made from this class: a new option is one new field.

Imports nothing heavy, so that ``--help`` answers at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from common.command_line import check_limits, option
from common.errors import UserError
from engines.choices import PrecisionChoice, RuntimeChoice
from formats.endings import ReferenceFrame

View = Literal["auto", "window", "browser", "terminal", "none"]
KeypointModel = Literal["fast", "accurate"]
KeypointChoice = Literal["auto", "fast", "accurate"]
Quality = Literal["auto", "best", "live"]
DecoderChoice = Literal["cpu", "gpu"]
EncoderChoice = Literal["auto", "x264", "nvenc", "gst"]
Look = Literal["suit", "clay", "wire"]
PaneLayout = Literal["overlay", "side", "grid"]
FloorMethod = Literal["auto", "none"]
FlowMethod = Literal["auto", "dis", "raft", "raft-256", "none"]

DEFAULT_FOCAL: Final = 0.85
"""Focal length over the longer side of the image where it is not known: a 61° field of view, between webcam and phone."""

MAX_PERSONS: Final = 6
"""People followed at the same time, at most."""

SOURCE, VIEW, OUTPUT, MODELS, CAMERA, TENSORRT = "Source", "View", "Output", "Models", "Camera", "TensorRT"
"""The groups of the help page, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All choices of one run; the command line's options by the same names.

    Raises `common.errors.UserError` for a number outside of its limits.
    """

    source: str = option(
        "0",
        "Camera number, /dev path, csi:0[?width=1280&height=720&fps=30] (a Jetson's camera connector), gst:PIPELINE "
        "(GStreamer), video file, URL, folder of images, or 'demo'.",
        group=SOURCE,
    )
    resolution: str | None = option(
        None, "Ask the camera for frames of this size, as WIDTHxHEIGHT in pixels: 1280x720.", group=SOURCE
    )
    fps: float | None = option(
        None,
        "Ask the camera for this frame rate, frames/s; for a folder of images or a slow-motion video, the rate they "
        "were taken at.",
        group=SOURCE,
        low=1,
        high=1000,
    )
    live: bool = option(False, "Play a file by its clock and drop frames that come too late.", group=SOURCE)
    decoder: DecoderChoice = option(
        "cpu",
        "What decodes files and streams: gpu where FFmpeg has a decoder for it that works, else the CPU.",
        group=SOURCE,
    )
    loop: bool = option(
        False, "Play a file or folder again and again; people get new numbers each time, as after a cut.", group=SOURCE
    )
    rotate: int = option(
        0, "Turn the image clockwise by 90, 180 or 270 degrees: for a camera on its side or head.", group=SOURCE
    )
    mirror: bool = option(
        False, "Mirror the image left to right: for a camera that shows it as a mirror does.", group=SOURCE
    )
    retry: float | None = option(
        None,
        "Give up a stream or camera that is away after this many seconds. Default: wait until stopped.",
        group=SOURCE,
        low=0,
    )
    frames: int | None = option(None, "Stop after this many frames.", group=SOURCE, low=1)
    duration: float | None = option(None, "Stop after this many seconds.", group=SOURCE, low=0.1)

    view: View = option(
        "auto",
        "auto: a window where there is a display, else none; browser: a page for any number of viewers; "
        "terminal: a table.",
        group=VIEW,
    )
    host: str = option(
        "127.0.0.1",
        "Where --view browser listens. 0.0.0.0: for other devices too, which need the link with its token.",
        group=VIEW,
    )
    port: int = option(8787, "Port of --view browser; 0: any that is free.", group=VIEW, low=0, high=65535)
    look: Look = option(
        "suit",
        "How bodies are drawn: suit, a matte mannequin that can be shown in public; clay, the surface just as estimated; "
        "wire, the suit as lines.",
        group=VIEW,
    )
    quiet: bool = option(False, "Print errors only.", group=VIEW, short="-q")
    verbose: bool = option(False, "Print more remarks, and the time of every stage at the end.", group=VIEW, short="-v")

    record: Path | None = option(
        None, "Write the annotated video (.mp4), with the sound of a file or stream.", group=OUTPUT
    )
    layout: PaneLayout = option(
        "overlay",
        "Of --record, snapshots and --virtual-camera: overlay, bodies on the video; side, the video beside it; grid, the "
        "video, its flow, the keypoints and the bodies.",
        group=OUTPUT,
    )
    encoder: EncoderChoice = option(
        "auto",
        "Of --record and a view's recordings: x264 (CPU), nvenc (NVIDIA cards), gst (a board's, through GStreamer). auto: "
        "the hardware's where it works, else x264.",
        group=OUTPUT,
    )
    save: tuple[Path, ...] = option(
        (),
        "Write the motion: .npz, .bvh, .glb, .trc, .csv (joint angles), .jsonl or .amass.npz, as the name ends. May be "
        "given several times.",
        group=OUTPUT,
    )
    send: tuple[str, ...] = option(
        (),
        "Send the motion live: vmc://HOST:PORT (avatars), udp://HOST:PORT or ws://HOST:PORT (JSON). May be given several "
        "times.",
        group=OUTPUT,
    )
    frame: ReferenceFrame | None = option(
        None,
        "Axes of --save and --send: camera, or world (upright on the floor). Default: the world's where it is known; .npz, "
        ".jsonl and JSON messages have both then.",
        group=OUTPUT,
    )
    virtual_camera: bool = option(
        False, "Show the annotated image as a webcam, for OBS and video calls (needs pyvirtualcam).", group=OUTPUT
    )
    report: Path | None = option(None, "Write what was measured (.json).", group=OUTPUT)

    quality: Quality = option(
        "auto",
        "best: accurate keypoints and a look-ahead; live: fast keypoints and none. auto: best for files and folders, live for "
        "cameras, streams and --live.",
        group=MODELS,
    )
    persons: int | Literal["auto"] = option(
        "auto",
        "People followed at the same time. auto: as many as the machine sustains at the source's rate; "
        f"{MAX_PERSONS} in a file.",
        group=MODELS,
        low=1,
        high=MAX_PERSONS,
    )
    keypoints: KeypointChoice = option(
        "auto", "MoveNet Lightning (fast) or Thunder (accurate). auto: as --quality says.", group=MODELS
    )
    flow: FlowMethod = option(
        "auto",
        "Optical flow. auto: on a GPU raft, raft-256 (smaller crops) or dis, by measurement at the start, on a CPU dis; none: "
        "keypoints alone.",
        group=MODELS,
    )
    regressor: str = option("motion", "A shipped regressor's name, or an .onnx file.", group=MODELS)
    body: Path | None = option(None, "A licensed SMPL .pkl or .npz, or another SMPL-layout file.", group=MODELS)
    height: float | None = option(
        None,
        "How tall the people are, centimetres, which also says how far away they are. Default: as their proportions suggest.",
        group=MODELS,
        low=50,
        high=250,
    )
    look_ahead: int | Literal["auto"] = option(
        "auto",
        "Frames to wait for before a frame is answered, which steadies it without lag: for recordings. auto: as --quality "
        "says, 8 at 30 frames/s.",
        group=MODELS,
        low=0,
        high=30,
    )
    engine: RuntimeChoice = option(
        "auto", "What runs the networks. auto: TensorRT on a GPU, else the fastest that is installed.", group=MODELS
    )

    fov: float | None = option(None, "Horizontal field of view, degrees.", group=CAMERA)
    focal: float | None = option(
        None, f"Focal length, pixels. Default: {DEFAULT_FOCAL:g} times the image's longer side.", group=CAMERA
    )
    tilt: float | None = option(
        None, "How far the camera looks down, degrees. Default: found from the people.", group=CAMERA, low=-89, high=89
    )
    roll: float | None = option(
        None,
        "How far the camera is turned clockwise, seen from behind it, degrees. Default: found from the people.",
        group=CAMERA,
        low=-180,
        high=180,
    )
    floor: FloorMethod = option(
        "auto", "auto: where feet stand is the floor; none: people climb, and no floor is found.", group=CAMERA
    )
    no_foot_lock: bool = option(
        False,
        "Do not keep standing feet in their places, which shifts bodies along the line of sight and bends legs a little.",
        group=CAMERA,
    )

    precision: PrecisionChoice = option(
        "auto",
        "Of the networks' numbers. auto: with TensorRT fp16 where they hold in it; on a CPU that multiplies bfloat16 the "
        "keypoint network in that, where a trial at the first start finds its keypoints in place. fp32: neither. fp16, int8: "
        "TensorRT only, which reaches the driver through cuda-bindings or else pycuda; $MOTIONMESH_CUDA chooses.",
        group=TENSORRT,
    )
    trust_engine: bool = option(
        False,
        "Load TensorRT engines that this machine did not build. They are in $MOTIONMESH_ENGINES, else in "
        "motionmesh/engines of the user's cache folder.",
        group=TENSORRT,
    )

    def __post_init__(self) -> None:
        check_limits(self)
        self.camera_size()  # a wrong one is told before anything is opened

    def camera_size(self) -> tuple[int, int] | tuple[None, None]:
        """Width and height, pixels, that ``resolution`` asks a camera for. Raises `UserError` for another text."""
        if self.resolution is None:
            return None, None
        found = re.fullmatch(r"(\d{2,5})[xX×](\d{2,5})", self.resolution.strip())
        if found is None:
            raise UserError(f"--resolution {self.resolution}: write width and height in pixels, such as 1280x720")
        return int(found[1]), int(found[2])
