import pytest

from tests import factory
from xray_jax import checkpoints
from xray_jax.lab import reading_time

pytest.importorskip("torch", reason="torch is what is compared with (extra `test`)")


@pytest.mark.parametrize("zipped", [True, False])
def test_both_readers_are_timed_on_a_file_that_opens(zipped, tmp_path):
    reading_time.write(tmp_path / "a.pt", factory.TINY, (8, 8, 3), zipped=zipped)
    assert checkpoints.load(tmp_path / "a.pt").num_classes == 5
    found = reading_time.compare(tmp_path / "a.pt", repeats=2)
    assert found["ours"] > 0
    assert found["torch"] > 0
    assert found["ratio"] == pytest.approx(found["ours"] / found["torch"])
