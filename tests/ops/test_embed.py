import numpy as np
import pytest
import stored

from divebell.ops import native
from divebell.weights.formats import FORMATS, OWN, Q8_0


@pytest.mark.parametrize("format", [*FORMATS, *OWN], ids=lambda f: f.name)
def test_rows_of_the_table(format):
    tensor = stored.random_tensor(format, 50, 512)
    ids = np.array([49, 0, 7, 7], np.int32)
    np.testing.assert_array_equal(native.embed(native.weight(tensor), ids), tensor.f32()[ids])


def test_no_ids():
    assert native.embed(native.weight(stored.random_tensor(Q8_0, 4, 64)), np.zeros(0, np.int32)).shape == (0, 64)


@pytest.mark.parametrize("bad", [-1, 50])
def test_an_id_outside_the_table_is_refused(bad):
    table = native.weight(stored.random_tensor(Q8_0, 50, 64))
    with pytest.raises(ValueError, match=f"id {bad} is outside 0 to 49"):
        native.embed(table, np.array([1, bad], np.int32))
