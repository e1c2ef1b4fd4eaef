"""JSON that is read from disk, whatever is in it: it is read, or refused with an error for the user."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from engines.manifest import MANIFEST_FILE, shipped_models
from engines.plans import Plan, Target
from engines.tensorrt_builder import BuildOptions
from realtime.outputs.journal import MAGIC, read_journal
from tests.foreign import few, little_memory

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_NESTED = "[" * 200_000
_MODELS: dict[str, Any] = json.loads(MANIFEST_FILE.read_text(encoding="utf-8"))
_PLAN = Plan(Path("x.plan"), "x", BuildOptions(), Target("10.0", "a GPU", "8.9"), "a", "b", "c", 1, 2.0, "d")


def read_plan(path: Path) -> object:
    """The plan that the manifest ``path`` describes."""
    return Plan.open(path.with_suffix(".plan"))


def read_head(path: Path) -> object:
    """A journal of --save with ``path``'s contents as its head."""
    head = path.read_bytes()
    journal = path.with_suffix(".part")
    journal.write_bytes(MAGIC + len(head).to_bytes(4, "little") + head)
    return read_journal(journal)


READERS: dict[Callable[[Path], object], Any] = {
    shipped_models: _MODELS,
    read_plan: _PLAN._manifest() | {"signature": "d"},
    read_head: {"fps": 30.0, "version": 1},
}


@st.composite
def changed(draw: st.DrawFn, whole: Any) -> Any:
    """``whole`` with one of its values, at any depth, replaced or left out."""
    if isinstance(whole, dict) and whole and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(whole)))
        if not draw(st.integers(0, 6)):
            return {name: value for name, value in whole.items() if name != key}
        return whole | {key: draw(changed(whole[key]))}
    if isinstance(whole, list) and whole and draw(st.integers(0, 4)):
        place = draw(st.integers(0, len(whole) - 1))
        return [*whole[:place], draw(changed(whole[place])), *whole[place + 1 :]]
    return draw(_JSON)


@few
@pytest.mark.parametrize("reader", READERS)
@given(data=st.data())
def test_any_json_is_read_or_refused(tmp_path: Path, reader: Callable[[Path], object], data: st.DataObject) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(data.draw(changed(READERS[reader]))), encoding="utf-8")
    with little_memory(), contextlib.suppress(UserError):
        reader(path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", [_NESTED, '{"models": ' + _NESTED, "1" * 100_000, "\ud800", "", "[", "\x00"])
def test_json_that_is_none_is_refused(tmp_path: Path, reader: Callable[[Path], object], text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with little_memory(), pytest.raises(UserError):
        reader(path)
