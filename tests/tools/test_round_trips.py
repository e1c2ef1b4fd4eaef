"""Other programs find everything that was exported where it was, to 0.1 mm and 0.1 degrees."""

from __future__ import annotations

import pytest

from body.model import load_body
from tests.formats.motions import two_people
from tools.round_trips.comparisons import COMPARISONS, Exported, exported
from tools.round_trips.programs import NotInstalled


@pytest.fixture(scope="module", params=["world", "camera"])
def given(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    body = load_body("body_1722")
    return exported(two_people(body, world=request.param == "world"), body, tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize("name", COMPARISONS)
def test_it_is_where_it_was(given: Exported, name: str) -> None:
    try:
        row = COMPARISONS[name](given)
    except NotInstalled as missing:
        pytest.skip(str(missing))
    assert " ".join((row.ending, row.reader)).startswith(name)
    if row.reader == "glTF-Validator":
        assert row.remark == "0 errors, 0 warnings"
        return
    assert row.position_mm is not None
    assert row.position_mm < 0.1
    assert row.rotation_deg is None or row.rotation_deg < 0.1
    assert "NOT" not in row.remark
