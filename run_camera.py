#!/usr/bin/env python
"""Live 3D human meshes from a camera, a stream or a video: python run_camera.py --help"""

from __future__ import annotations

import time

STARTED_NS = time.monotonic_ns()  # before the imports: they are part of the time to the first mesh

# ruff: noqa: E402
import os
import signal
import sys
from collections.abc import Callable, Collection
from types import FrameType


def _stop_at_once(number: int, frame: object) -> None:
    """Ctrl-C while the program is still being loaded: there is nothing to finish."""
    os.write(2, b"\x1b[?25hstopped\n" if os.isatty(2) else b"stopped\n")  # a progress bar hides the cursor
    os._exit(130)


# Besides Ctrl-C and `kill`: a terminal that closes, Ctrl-\, and what batch systems and UPS send before they end a program.
_ENDS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPWR")
    if hasattr(signal, name)
]


def _handle_ends(handler: Callable[[int, FrameType | None], None]) -> None:
    """Let ``handler`` answer whatever asks the program to end."""
    for number in _ENDS:
        # `nohup` has a closed terminal ignored; shells have Ctrl-C ignored by what they start in the background, which
        # `kill -INT` must end all the same.
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


if __name__ == "__main__" or os.path.basename(sys.argv[0]) == "motionmesh":
    _handle_ends(_stop_at_once)

import logging
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from common.command_line import run_command, with_options
from common.errors import UserError, one_line, print_error
from common.remarks import show_remarks
from realtime.options import Options

# The pipeline takes seconds to import: --help and mistyped options must not wait for it.
if TYPE_CHECKING:
    from realtime.measure import Report
    from realtime.session import Session

EXAMPLES = """
Examples:
  motionmesh                                        # the first webcam, in a window
  motionmesh --source demo --record demo.mp4        # a video to try it with
  motionmesh --source squats.mp4 --save squats.npz  # everybody in it, at best quality
  motionmesh replay squats.npz --source squats.mp4  # that motion again, without networks
"""


def main() -> None:
    """The program's entry, also of the installed command ``motionmesh``."""
    run_command(with_options(Options, run), examples=EXAMPLES, others=SUBCOMMANDS)


def _hush_after_hangup(number: int) -> None:
    """Once the terminal is closed nobody is there to read, and writing would fail."""
    if number == getattr(signal, "SIGHUP", None):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _hush_after_hangup(number)
    raise KeyboardInterrupt


REPLAY_OPTIONS = ("record", "look", "layout", "body", "fps", "rotate", "mirror", "quiet")
"""Those of the program's options that `replay` takes, too."""


def replay(
    options: Options,
    motion: Annotated[Path, typer.Argument(help="A motion file: .npz of --save, .jsonl, .bvh or .amass.npz.")],
    source: Annotated[
        str | None, typer.Option(help="The video it was made from. Default: the bodies alone, on the floor.")
    ] = None,
    view: Annotated[
        Literal["auto", "window", "none"], typer.Option(help="auto: a window, unless --record is given.")
    ] = "auto",
) -> None:
    """Show a motion file, or render it as a video, without networks.

    --fps, --rotate, --mirror and --body as they were when the motion was made.
    """
    show = view == "window" or (view == "auto" and options.record is None)
    if not show and options.record is None:
        raise UserError("nothing to do: give --record OUT.mp4, --view window, or both")
    from realtime.replay import replay_motion
    from realtime.unused_options import unused_in_replay, warn

    _handle_ends(_interrupt)  # a recording is finished then
    console = Console(stderr=True, quiet=options.quiet, highlight=False, markup=False, soft_wrap=True)
    video = None if source is None else replace(options, source=source)
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    hidden = show or not console.is_terminal  # in a log the bar would leave an empty line
    with show_remarks(console), Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        warn(unused_in_replay(options, video is not None))
        task = bar.add_task("starting", total=None)

        def shown(count: int) -> None:
            bar.update(task, description=f"frame {count}")

        done = replay_motion(
            motion,
            video,
            record=options.record,
            look=options.look,
            layout=options.layout,
            window=show,
            body=options.body,
            shown=shown,
        )
    console.print(f"{done.frames} frames, {done.matched} of them in the motion")
    if options.record is not None:
        console.print(f"annotated video: {options.record}, {done.recorded} frames")


def compare(
    first: Annotated[Path, typer.Argument(help="A motion file, of any format that formats.convert reads.")],
    second: Annotated[Path, typer.Argument(help="Another one of the same video.")],
    plot: Annotated[Path | None, typer.Option(help="Draw the errors over time (.png).")] = None,
) -> None:
    """Print how far two motion files of one video are apart."""
    from formats.compare import differences, doubts
    from formats.save import open_motion
    from realtime.comparison import plot_differences, tables

    motions = open_motion(first), open_motion(second)
    found = differences(*motions)
    console = Console(highlight=False)
    if reasons := doubts(*motions):
        console.print(f"are they of one video? {'; '.join(reasons)}", markup=False, soft_wrap=True)
    for table in tables(found):
        console.print(table)
    if plot is not None:
        plot_differences(plot, found)
        console.print(f"plot: {plot}", markup=False, soft_wrap=True)


SUBCOMMANDS = (with_options(Options, replay, REPLAY_OPTIONS), compare)
"""What the program does beside watching people; each is run where the first argument is its name."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from common.version import version

        print(f"motionmesh {version()}")
        raise typer.Exit


def _print_cameras(wanted: bool) -> None:
    if wanted:
        from realtime.sources.camera_list import describe_cameras

        print(describe_cameras())
        raise typer.Exit


def run(
    options: Options,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    list_cameras: Annotated[
        bool,
        typer.Option("--list-cameras", help="Print the cameras here and exit.", callback=_print_cameras, is_eager=True),
    ] = False,
) -> None:
    """Watch people through a camera and show their bodies' 3D meshes, live."""
    console = Console(stderr=True, quiet=options.quiet, highlight=False, markup=False, soft_wrap=True)
    has_bar = console.is_terminal and options.view != "terminal"  # a table says more
    session: Session | None = None

    def end(number: int, frame: FrameType | None) -> None:
        """Finish what is recorded."""
        _hush_after_hangup(number)
        if session is None or not session.has_begun:
            if session is not None:
                session.close_window()
            _stop_at_once(number, frame)
        else:
            session.interrupt()

    _handle_ends(end)
    code = 0
    failure: str | None = None
    try:
        with (
            show_remarks(console, logging.DEBUG if options.verbose else logging.INFO),
            Progress(*_bar_columns(), console=console, transient=True, disable=not has_bar) as bar,
        ):
            task = bar.add_task("starting", total=None)

            def progress(done: int, total: int | None, rate: float, latency: float) -> None:
                now = _progress_line(session.state if session is not None else "live", rate, latency)
                bar.update(task, completed=done, total=options.frames or total, description=f"frame {done}: {now}")

            from realtime.session import Session

            session = Session(options, progress, STARTED_NS, console=console)
            session.run()
    except KeyboardInterrupt:
        complete = session is not None and not session.has_hung
        console.print("stopped; what was recorded is complete" if complete else "stopped")
        code = 130
    except UserError as error:
        code, failure = 2, one_line(error)
    except MemoryError:
        code, failure = (
            2,
            "there is not enough memory: close other programs, or lower --persons or the size of the frames",
        )
    except Exception as error:
        code, failure = 1, _fault(error, options.verbose)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done, and closing Python down takes a moment
    if session is not None:
        _summarise(console, session.report, options, session.unwritten)
    if failure is not None:
        print_error(failure)
    if session is not None and session.has_hung:
        os._exit(code)
    raise typer.Exit(code)


def _bar_columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()


def _progress_line(state: str, rate: float, latency: float) -> str:
    """What stands beside the bar: ``state`` is the source's, ``rate`` in meshes/s, ``latency`` in ms."""
    if state != "live":
        return f"the source is {state}"
    return f"{rate:.1f} meshes/s, {latency:.0f} ms" if rate > 0 else "looking for a person"


def _fault(error: Exception, verbose: bool) -> str:
    """The line that names a fault of the program, which is being handled; ``verbose`` also prints where it is."""
    if verbose:
        traceback.print_exc()
    return f"{one_line(error)} (a fault of this program; --verbose shows where)"


def _summarise(console: Console, report: Report | None, options: Options, unwritten: Collection[Path]) -> None:
    if report is None:  # ended before the first frame
        return
    rate = f" at {report.mesh_rate_hz:.1f}/s" if report.mesh_rate_hz > 0 else ""
    seen = (
        f"{report.meshes} meshes{rate}, capture to mesh p50 {report.latency_ms.p50:.0f} ms p95 "
        f"{report.latency_ms.p95:.0f} ms{_waited(report)}, first mesh after {report.first_mesh_s:.1f} s"
    )
    console.print(
        f"{report.frames_in} frames ({report.frames_dropped} dropped), {seen if report.meshes else 'nobody was seen'}, "
        f"{report.peak_rss_mb:.0f} MB, {report.engine}"
    )
    if report.max_people:
        people = "1 person" if report.max_people == 1 else f"up to {report.max_people} people"
        console.print(f"{people} at a time, {report.person_ms:.0f} ms a person and frame for keypoints and regressor")
    if options.verbose:
        for name, stage in report.stages.items():
            console.print(
                f"  {name:10s} {stage.count:6d} runs  p50 {stage.p50_ms:7.2f}  p95 {stage.p95_ms:7.2f}  "
                f"p99 {stage.p99_ms:7.2f} ms"
            )
        if report.graph_replays:
            console.print(f"  {report.graph_replays} runs of networks were replays of CUDA graphs")
    if report.bad_answers:
        console.print(f"{report.bad_answers} answers of networks were no numbers and do not count")
    for what, path, written in (
        ("annotated video", options.record, report.recorded),
        *(("motion", path, report.saved) for path in options.save),
    ):
        if path in unwritten:
            console.print(f"{what}: {path} is not written")
        elif path is not None:
            console.print(f"{what}: {path}, {written} of {report.results} frames")
    if options.report is not None:
        console.print(f"report: {options.report}")


def _waited(report: Report) -> str:
    if not report.look_ahead_frames:
        return ""
    return f" ({report.look_ahead_ms:.0f} ms of it waiting for {report.look_ahead_frames} later frames)"


if __name__ == "__main__":
    main()
