from divebell.serve.openai.names import told_apart


def message(role, content, name=None, **more):
    return {"role": role, "content": content} | ({"name": name} if name else {}) | more


def test_one_participant_of_a_role_needs_no_name():
    given = [message("user", "a", "anna"), message("assistant", "b", "bot"), message("user", "c", "anna")]
    assert told_apart(given) == [message("user", "a"), message("assistant", "b"), message("user", "c")]


def test_several_are_told_apart_in_the_text():
    given = [
        message("user", "a", "anna"),
        message("assistant", "b"),
        message("user", "c", "bert"),
        message("user", "d"),
    ]
    said = [each["content"] for each in told_apart(given)]
    assert said == ["anna: a", "b", "bert: c", "d"]


def test_a_call_has_no_text_and_a_tool_keeps_its_name():
    given = [message("assistant", "a", "x"), message("assistant", None, "y", tool_calls=[{}])]
    result = message("tool", "r", "weather")
    assert told_apart([*given, result])[1:] == [message("assistant", None, tool_calls=[{}]), result]
