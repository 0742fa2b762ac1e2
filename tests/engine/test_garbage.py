import gc

import pytest

from divebell.engine.garbage import keep_all, uncollected


def test_nothing_is_collected_until_all_is_loaded_or_has_failed():
    @uncollected()
    def load():
        raise ValueError(f"collecting: {gc.isenabled()}")

    with pytest.raises(ValueError, match="collecting: False"):
        load()
    assert gc.isenabled()


def test_where_nothing_was_collected_nothing_is_afterwards():
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_is_loaded_is_not_looked_through_again_and_what_comes_later_is():
    with uncollected():
        loaded = [[]]
        keep_all()
        try:
            assert gc.isenabled()
            later = [[]]
            watched = set(map(id, gc.get_objects()))
            assert id(later) in watched
            assert id(loaded) not in watched
        finally:
            gc.unfreeze()
