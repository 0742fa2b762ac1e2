from divebell.serve.sessions import ATTEMPTS, LONGEST, MOST_CLIENTS, MOST_SESSIONS, PERIOD, Sessions


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_a_session_is_its_owner_s_until_it_ends():
    clock = Clock()
    sessions = Sessions(clock)
    anna, bert = sessions.begin("anna"), sessions.begin("bert")
    assert [sessions.owner(token) for token in (anna, bert, "", "x")] == ["anna", "bert", None, None]
    sessions.end(anna)
    clock.now += LONGEST
    assert sessions.owner(anna) is sessions.owner(bert) is None


def test_who_gives_wrong_keys_has_to_wait():
    clock = Clock()
    sessions = Sessions(clock)
    for _ in range(ATTEMPTS):
        assert sessions.wait("10.0.0.1") == 0
        sessions.failed("10.0.0.1")
    assert sessions.wait("10.0.0.1") == PERIOD
    assert sessions.wait("10.0.0.2") == 0
    clock.now += PERIOD
    assert sessions.wait("10.0.0.1") == 0


def test_neither_grows_without_end():
    sessions = Sessions(Clock())
    first = sessions.begin("anna")
    for number in range(max(MOST_SESSIONS, MOST_CLIENTS)):
        last = sessions.begin("anna")
        sessions.failed(str(number))
    sessions.failed("one more")
    assert (sessions.owner(first), sessions.owner(last)) == (None, "anna")
    assert len(sessions._failures) == MOST_CLIENTS
