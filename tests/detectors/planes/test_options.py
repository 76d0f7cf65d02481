"""Options of the planes check themselves."""

from typing import Any

import pytest

from xray_jax.detectors.planes.options import PlanesOptions


@pytest.mark.parametrize(
    "wrong",
    [{"planes": 0}, {"density": 1}, {"density": -1}, {"expansion": -1.0}, {"alpha": 0.5}, {"alpha": float("nan")},
     {"ats_cap": 0.0}, {"ats": "area"}, {"seed": -1}, {"sampling": "cascade"}],
    ids=str,
)  # fmt: skip
def test_options_quote_the_bad_value(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
        PlanesOptions(**wrong)
    assert str(next(iter(wrong.values()))) in str(caught.value)
