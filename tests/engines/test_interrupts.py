"""Signals that arrive inside of native code are neither lost nor handled too early."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from engines.interrupts import kept_signals


def test_the_handler_runs_after_the_block() -> None:
    order: list[str] = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: order.append("handled"))
    try:
        with kept_signals() as signals:
            assert not signals
            signal.raise_signal(signal.SIGTERM)
            order.append("worked on")
            assert signals
        assert order == ["worked on", "handled"]
    finally:
        signal.signal(signal.SIGTERM, old)


def test_blocks_inside_of_blocks_pass_it_on() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), kept_signals() as outer:
        with kept_signals():
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")
        assert outer
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_block_does_not_hide_the_signal() -> None:
    with pytest.raises(KeyboardInterrupt), kept_signals():
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("the build failed, for it was stopped")


def test_other_threads_and_default_handling_are_left_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with kept_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
    old = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with kept_signals():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, old)


def test_a_second_ctrl_c_ends_the_process() -> None:
    code = (
        "import signal\n"
        "from engines.interrupts import kept_signals\n"
        "with kept_signals():\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    print('still there')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT
    assert not done.stdout
