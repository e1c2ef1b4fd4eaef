"""A link as a QR code made of characters, to be scanned from a terminal."""

from __future__ import annotations

import segno

_BORDER = 2  # modules; four are the norm, and two are read well


def qr_text(link: str) -> str:
    """The QR code of ``link`` in lines of half blocks, two modules a character: to be printed black on white."""
    rows = [list(row) for row in segno.make(link, error="l", micro=False).matrix_iter(border=_BORDER)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "\n".join("".join(" ▄▀█"[2 * upper + lower] for upper, lower in zip(*pair, strict=True)) for pair in pairs)
