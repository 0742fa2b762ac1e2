"""The ledger: rows that were changed or lost are named, and writing never stands in the way of an answer."""

import sqlite3
from contextlib import closing
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divebell.costs import ledger
from divebell.errors import BadFile

ROWS = [{"kind": "answer", "joules": float(n), "model": "m"} for n in range(6)]


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "deep" / "receipts.sqlite"
    ledger.append(place, ROWS[:2])
    ledger.append(place, ROWS[2:])
    return place


def _change(path, statement):
    with closing(sqlite3.connect(path)) as base:
        base.execute(statement)
        base.commit()


def test_rows_come_back_in_order(path):
    assert [row["joules"] for row in ledger.receipts(path)] == [0, 1, 2, 3, 4, 5]
    assert ledger.damage(path) == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE receipts SET body = replace(body, '2.0', '0.1') WHERE id = 3", ["row 3 was changed, or its hash was"]),
        ("DELETE FROM receipts WHERE id = 2", ["row 2 is missing"]),
        ("DELETE FROM receipts WHERE id IN (3, 4)", ["rows 3 to 4 are missing"]),
        ("DELETE FROM receipts WHERE id = 1", ["row 1 is missing"]),
        ("UPDATE receipts SET id = id - 1 WHERE id > 3", None),
        ("UPDATE receipts SET hash = 'x' WHERE id = 4", None),
        ("UPDATE receipts SET body = 7 WHERE id = 5", None),
    ],
)
def test_damage_is_told_by_row(path, statement, told):
    if "id - 1" in statement:
        _change(path, "DELETE FROM receipts WHERE id = 3")
    _change(path, statement)
    found = ledger.damage(path)
    assert found
    assert told is None or found == told
    ledger.receipts(path)


def test_rows_have_their_hashes(path):
    assert [row["hash"] for row in ledger.receipts(path)] == [hash for _, _, hash in ledger.read(path)]


def test_any_path_can_be_read_and_a_file_that_is_still_empty(tmp_path):
    path = tmp_path / "st#ate?100%" / "receipts.sqlite"
    ledger.append(path, ROWS[:1])
    assert len(ledger.receipts(path)) == 1
    assert [found.name for found in tmp_path.iterdir()] == [path.parent.name]
    (tmp_path / "empty.sqlite").touch()
    assert ledger.receipts(tmp_path / "empty.sqlite") == []


def test_what_was_changed_is_not_summed(path):
    _change(path, "UPDATE receipts SET body = replace(body, '2.0', '0.1') WHERE id = 3")
    assert [row["joules"] for row in ledger.receipts(path)] == [0, 1, 3, 4, 5]
    _change(path, "DELETE FROM receipts WHERE id = 4")
    _change(path, "UPDATE receipts SET hash = x'00' WHERE id = 6")
    assert [row["joules"] for row in ledger.receipts(path)] == [0, 1, 4]
    changed = "row {} was changed, or its hash was"
    assert ledger.damage(path) == [changed.format(3), "row 4 is missing", changed.format(6)]


@given(st.integers(0, 5), st.text(min_size=1, max_size=5))
def test_no_other_body_has_the_same_hash(row, text):
    body = f'{{"joules": {row}}}'
    assert ledger.link(ledger.FIRST, body) != ledger.link(ledger.FIRST, body + text)


def test_idle_time_that_is_booked_is_counted_once(tmp_path):
    path = tmp_path / "receipts.sqlite"
    spans = [(10.0, 20.0), (12.0, 18.0), (15.0, 30.0), (50.0, 60.0)]
    ledger.append(path, [{"kind": "idle", "since": begin, "time": end} for begin, end in spans])
    ledger.append(path, [{"kind": "idle", "time": 45.0}, {"kind": "answer", "since": 40.0, "time": 45.0}])
    assert ledger.booked(path, 0.0, 100.0) == 30.0
    assert ledger.booked(path, 25.0, 55.0) == 10.0
    assert ledger.booked(path, 60.0, 70.0) == 0.0
    path.write_text("no database at all, but long enough to look like one " * 4)
    assert ledger.Writer(path).booked(0.0, 1.0) == 0.0


def test_booked_idle_time_is_found_without_reading_what_is_older(tmp_path):
    path = tmp_path / "receipts.sqlite"
    spans = [(10.0, 20.0), (20.0, 30.0), (990.0, 1010.0), (1010.0, 1025.0)]
    ledger.append(path, [{"kind": "idle", "since": begin, "time": end} for begin, end in spans])
    _change(path, "UPDATE receipts SET body = 'no JSON' WHERE id = 1")
    assert ledger.booked(path, 1000.0, 1020.0) == 20.0


def test_writers_at_the_same_time_keep_one_chain(tmp_path):
    path = tmp_path / "receipts.sqlite"
    writers = [ledger.Writer(path) for _ in range(3)]
    threads = [Thread(target=lambda w=writer: [w.add(ROWS[0]) for _ in range(20)]) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.flush()
    assert len(ledger.receipts(path)) == 60
    assert ledger.damage(path) == []


def test_a_full_disk_is_warned_of_once(caplog):
    def full(path, rows):
        raise sqlite3.OperationalError("database or disk is full")

    writer = ledger.Writer("anywhere", full)
    for _ in range(3):
        writer.add(ROWS[0])
        writer.flush()
    assert writer.lost == 3
    assert [record.message for record in caplog.records] == [
        "receipts are not written down: anywhere: database or disk is full"
    ]


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "receipts.sqlite"
    assert ledger.receipts(path) == []
    path.write_text("no database at all, but long enough to look like one " * 4)
    with pytest.raises(BadFile, match="can't be read"):
        ledger.receipts(path)
