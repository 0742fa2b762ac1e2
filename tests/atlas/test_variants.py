"""The six forms have the published shape's counts, and cost what bytes and multiply-adds say."""

import pytest

from divebell.atlas.variants import BATCHES, CONTEXTS, FACTOR, HARDWARE, forms, reaches
from divebell.costs.hardware import hardware

FORMS = {(form.experts, form.attention): form for form in forms()}


def test_the_first_form_is_deepseek_v3():
    shape = forms()[0].shape
    assert shape.parameters == pytest.approx(671.03e9, rel=1e-4)
    assert shape.active == pytest.approx(36.63e9, rel=1e-3)
    assert shape.cache.per_token == 70_272


def test_forms_differ_in_what_they_are_named_after():
    for attention in ("latent (MLA)", "grouped-query", "full"):
        sparse, dense = FORMS[True, attention].shape, FORMS[False, attention].shape
        assert dense.parameters == sparse.parameters
        assert dense.active > 12 * sparse.active
        assert dense.cache == sparse.cache
    assert FORMS[True, "grouped-query"].shape.cache.per_token == 61 * 4096
    assert FORMS[True, "full"].shape.cache.per_token == 61 * 4096 * 16


def test_one_sequence_costs_its_bytes_and_many_their_arithmetic():
    form, machine = FORMS[True, "full"], hardware(HARDWARE)
    read, _ = machine.reached()
    a_second = 1e6 * machine.dollars_per_hour / 3600
    context = 1 << 20
    cache = form.shape.cache.per_token * context / read * a_second
    assert form.dollars(context, 1) == pytest.approx(cache, rel=0.02)
    assert FORMS[True, "latent (MLA)"].dollars(1024, 512) < FORMS[True, "latent (MLA)"].dollars(1024, 1) / 20


def test_where_the_factor_is_reached():
    found = {(one.form.experts, one.form.attention, one.batch): one for one in reaches()}
    assert len(found) == 5 * len(BATCHES)
    first = forms()[0]
    for one in found.values():
        factors = [one.form.dollars(context, one.batch) / first.dollars(context, one.batch) for context in CONTEXTS]
        over = [context for context, factor in zip(CONTEXTS, factors, strict=True) if factor >= FACTOR]
        assert one.context == (over[0] if over else None)
        assert one.greatest == max(factors)
    assert not any(one.context for one in found.values() if one.form.attention != "full")
    assert found[True, "full", 512].context == 16_384
