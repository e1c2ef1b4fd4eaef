"""Options that a run does not use. Each gets one remark at the start: nobody should wonder why it changes nothing.

Options that contradict each other are errors (`realtime.intrinsics`); those that a source, an encoder or a GPU cannot
fulfil are told where that turns out.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from typing import Final

from engines.registry import why_no_tensorrt
from formats.endings import ending_of
from realtime.options import Options
from realtime.sources import kind_of_source

_LOG = logging.getLogger(__name__)

Needs = Callable[[Options], str]
"""What an option lacks, as the end of a sentence ("without --save"); empty where it is used."""


def has_display() -> bool:
    """Whether a window can be shown here."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _is_seen(options: Options) -> bool:
    """Whether somebody can look at the bodies, take snapshots and record."""
    return options.view in ("window", "browser") or (options.view == "auto" and has_display())


def _is_drawn(options: Options) -> bool:
    return bool(options.record or options.virtual_camera or _is_seen(options))


def _browser(options: Options) -> str:
    return "" if options.view == "browser" else "without --view browser"


def _encoder(options: Options) -> str:
    return "" if options.record or _is_seen(options) else "without --record"


def _layout(options: Options) -> str:
    return "" if _is_drawn(options) else "without --record, --virtual-camera or a view"


def _look(options: Options) -> str:
    if _is_drawn(options) or any(ending_of(path) == ".glb" for path in options.save):
        return ""
    return "without --record, --virtual-camera, a view or a .glb of --save"


def _frame(options: Options) -> str:
    return "" if options.save or options.send else "without --save or --send"


def _live(options: Options) -> str:
    return "" if kind_of_source(options.source) in ("video", "images") else "on a source that is live anyway"


def _loop(options: Options) -> str:
    return "" if kind_of_source(options.source) in ("video", "images") else "on a camera, stream or address"


def _retry(options: Options) -> str:
    return "on a file or folder" if kind_of_source(options.source) in ("video", "images") else ""


def _decoder(options: Options) -> str:
    return "" if kind_of_source(options.source) in ("video", "address") else "on cameras, pipelines and images"


def _fps(options: Options) -> str:
    return "on a pipeline: give its rate there" if options.source.strip().startswith("gst:") else ""


def _quality(options: Options) -> str:
    is_chosen = options.keypoints != "auto" and options.look_ahead != "auto"
    return "with both --keypoints and --look-ahead" if is_chosen else ""


def _runs_on_cpu(options: Options) -> bool:
    return options.engine in ("onnxruntime", "openvino") or (options.engine == "auto" and bool(why_no_tensorrt()))


def _precision(options: Options) -> str:
    is_reduced = options.precision in ("fp16", "int8") and _runs_on_cpu(options)
    return "without TensorRT: the networks run on the CPU in fp32" if is_reduced else ""


def _trust_engine(options: Options) -> str:
    return "without TensorRT: the networks run on the CPU" if _runs_on_cpu(options) else ""


NEEDS: Final[dict[str, Needs]] = {
    "live": _live,
    "decoder": _decoder,
    "loop": _loop,
    "retry": _retry,
    "fps": _fps,
    "host": _browser,
    "port": _browser,
    "look": _look,
    "layout": _layout,
    "encoder": _encoder,
    "frame": _frame,
    "quality": _quality,
    "precision": _precision,
    "trust_engine": _trust_engine,
}
"""Options that may be of no use, by the names of their fields."""


def unused_options(options: Options) -> Iterator[str]:
    """One line for each option that was given and changes nothing in this run."""
    for one in fields(options):
        value = getattr(options, one.name)
        if one.name not in NEEDS or value == one.default:
            continue
        if lacks := NEEDS[one.name](options):
            yield f"{_as_given(one.name, value)} has no effect {lacks}"


def unused_in_replay(options: Options, has_video: bool) -> Iterator[str]:
    """The same for a motion file that is shown again; ``has_video``: over its video."""
    for name in ("fps", "rotate", "mirror"):
        value = getattr(options, name)
        if value and not has_video:
            yield f"{_as_given(name, value)} has no effect without --source"


def warn(lines: Iterable[str]) -> None:
    """Log each of ``lines`` as a remark."""
    for line in lines:
        _LOG.warning(line)


def _as_given(name: str, value: object) -> str:
    flag = f"--{name.replace('_', '-')}"
    if value is True:
        return flag
    return f"{flag} {value:g}" if isinstance(value, float) else f"{flag} {value}"
