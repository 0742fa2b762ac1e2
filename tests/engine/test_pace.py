import pytest

from divebell.engine.pace import SLOWDOWN, STALL, STEP_TOKENS, Pace


def test_prompts_have_the_step_for_themselves_when_nobody_decodes():
    assert Pace().prompt_tokens(0) == STEP_TOKENS


def test_decoding_alone_is_measured_first():
    pace = Pace()
    assert pace.prompt_tokens(3) == 0
    pace.took(3, 0, 0.1)
    assert pace.prompt_tokens(3) > 0
    assert pace.prompt_tokens(2) == 0


def step_seconds(tokens: int, decode: float, token: float, jump: float) -> float:
    """jump: what it costs besides to have more than four tokens at once."""
    return decode + token * tokens + (jump if tokens > 3 else 0)


@pytest.mark.parametrize("decode", [0.005, 0.05, 1.0])
@pytest.mark.parametrize("token", [0.0002, 0.003, 0.1])
@pytest.mark.parametrize("jump", [0.0, 0.006])
def test_decoding_is_slowed_down_as_much_as_is_allowed(decode, token, jump):
    """Whatever tokens cost: SLOWDOWN on the average, and no step longer than STALL allows."""
    pace, steps = Pace(), []
    for _ in range(4000):
        prompt = pace.prompt_tokens(1)
        steps.append(step_seconds(prompt, decode, token, jump))
        pace.took(1, prompt, steps[-1])
    late = [seconds / decode for seconds in steps[2000:]]
    one, most = (step_seconds(n, decode, token, jump) / decode for n in (1, STEP_TOKENS))
    assert max(late) <= 1.5 * max(min(STALL, most), one)
    assert sum(late) / len(late) == pytest.approx(min(SLOWDOWN, most), rel=0.25)


def test_what_is_owed_is_forgotten_with_those_that_decode():
    pace = Pace()
    pace.took(1, 0, 0.1)
    pace.took(1, 8, 9.0)
    assert pace.prompt_tokens(1) == 0
    pace.took(0, 512, 1.0)
    assert pace.prompt_tokens(1) > 0


def test_a_short_prompt_does_not_count_as_all_that_fits():
    pace = Pace()
    pace.took(1, 0, 0.1)
    before = pace.prompt_tokens(1)
    pace.took(1, 1, 0.101)
    assert pace.prompt_tokens(1) == before


def test_growing_contexts_are_followed_and_disturbances_forgotten():
    pace = Pace()
    pace.took(1, 0, 0.1)
    pace.took(1, 0, 5.0)
    for _ in range(3):
        pace.took(1, 0, 0.1)
        assert pace._alone[1] == 0.1
    for _ in range(30):
        pace.took(1, 0, 0.3)
    assert pace._alone[1] == pytest.approx(0.3, rel=0.01)
