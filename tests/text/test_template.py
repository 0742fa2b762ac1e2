"""Templates from strangers: what they reach for is refused, and what does not end is stopped, in any thread."""

import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from divebell.errors import BadInput, BadTemplate
from divebell.text import meter
from divebell.text.template import ChatTemplate

MESSAGES = [{"role": "user", "content": "hi"}]
MEGABYTE = "{% set x = 'a' * 1000000 %}"
GROW = "{% set ns = namespace(s='ab', l=[1], d={'a': 1}, n=3) %}{% for i in range(90) %}"


def render(source, **variables):
    return ChatTemplate(source).render({"messages": MESSAGES} | variables)


REACHING = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''['__class__'] }}",
    "{{ ['']|map(attribute='__class__')|list }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{x.__class__}'.format_map({'x': 1}) }}",
    "{{ raise_exception.__globals__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ dict.__call__.__func__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ namespace(__class__=1) }}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update(role='system') }}",
    "{{ messages.clear() }}",
    "{% include 'secrets' %}",
    "{% import 'os' as os %}{{ os }}",
    "{% extends 'base' %}",
]


@pytest.mark.parametrize("source", REACHING)
def test_reaching_out_is_refused(source):
    with pytest.raises(BadTemplate, match=r"fails in line 1: (access to|a namespace|no loader)"):
        render(source)


ENDLESS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{{ range(99999)|list|length }}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "{% for a in [1, 2] recursive %}{% if loop.depth < 40 %}{{ loop([1, 2]) }}{% endif %}{% endfor %}",
    "{{ range(99999)" + "|map('int')" * 50 + "|list }}",
    GROW + "{% for j in range(99999) if j < 0 %}{% endfor %}" * 5 + "{% endfor %}",
]


@pytest.mark.parametrize("source", ENDLESS)
def test_what_does_not_end_is_stopped(source, monkeypatch):
    monkeypatch.setattr(meter, "SECONDS", 0.2)
    with pytest.raises(BadTemplate, match=r"stopped: it had not ended after 0\.2 seconds"):
        render(source)


def test_it_is_stopped_within_two_seconds_in_any_thread():
    with ThreadPoolExecutor(1) as pool:
        start = time.thread_time()
        with pytest.raises(BadTemplate, match="had not ended"):
            pool.submit(render, ENDLESS[0]).result(timeout=10)
        assert time.thread_time() - start < 2


SWELLING = [
    "{% for a in range(10 ** 9) %}{% endfor %}",
    GROW + "{% set ns.s = ns.s + ns.s %}{% endfor %}",
    GROW + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    GROW + "{% set x %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = x %}{% endfor %}",
    GROW + "{% set ns.s = '%s%s' % (ns.s, ns.s) %}{% endfor %}",
    GROW + "{% set ns.s = '{0}{0}'.format(ns.s) %}{% endfor %}",
    GROW + "{% set ns.s = [ns.s, ns.s]|join %}{% endfor %}",
    GROW + "{% set ns.l = ns.l + ns.l %}{% endfor %}",
    GROW + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
    GROW + "{% set ns.d = {'a': ns.d.items(), 'b': ns.d.items()} %}{% endfor %}{{ ns.d }}",
    GROW + "{% set ns.d = dict(a=ns.d, b=ns.d) %}{% endfor %}{{ ns.d|tojson }}",
    GROW + "{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "{{ 10 ** (10 ** 9) }}",
    "{{ 'a' * 10 ** 10 }}",
    "{{ 10 ** 10 * [0] }}",
    "{{ 'a'|center(10 ** 10) }}",
    "{{ 'a'.ljust(10 ** 10) }}",
    "{{ '7'.zfill(9999999999) }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ '%*d' % (10 ** 10, 1) }}",
    "{{ '%9999999999d'|format(1) }}",
    "{{ '{:>9999999999}'.format(1) }}",
    "{{ '{:{w}}'.format(1, w='9999999999') }}",
    MEGABYTE + "{{ x.replace('a', x) }}",
    MEGABYTE + "{{ x|replace('a', x) }}",
    MEGABYTE + "{{ x.join(x) }}",
    MEGABYTE + "{{ range(1000)|join(x) }}",
    MEGABYTE + "{{ range(1000)|map('string')|join(x) }}",
    MEGABYTE + "{{ x.join(range(1000)|map('string')) }}",
    MEGABYTE + "{{ range(1000)|map('replace', '1', x)|join }}",
    MEGABYTE + "{% set n = namespace(a=x) %}{{ ([n] * 1000)|join(attribute='a') }}",
    MEGABYTE + "{{ x|replace('a', '\\n')|indent(1000000) }}",
    MEGABYTE + "{{ x.strip('b' * 1000000 + 'a') }}",
    MEGABYTE + "{{ x.encode('punycode') }}",
    MEGABYTE + "{{ x|wordwrap(3) }}",
    "{{ range(20000)|list|pprint }}",
    "{{ range(5000)|list|tojson(indent=100000) }}",
    "{{ ([[1]] * 5000)|sum(start=[]) }}",
    "{% for i in range(100000) %}" + "x" * 100_000 + "{% endfor %}",
    "{% set y %}{% for i in range(100000) %}" + "x" * 100_000 + "{% endfor %}{% endset %}",
]


@pytest.mark.parametrize("source", SWELLING)
def test_what_swells_is_stopped_before_it_fills_memory(source):
    tracemalloc.start()
    try:
        with pytest.raises(BadTemplate, match=r"stopped|Range too big"):
            render(source)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


NOT_PARSING = [
    ("one\ntwo {% if %}", "line 2: "),
    ("{% for x in y %}", "line 1: "),
    ("{{ messages|nofilter }}", "line 1: No filter named 'nofilter'"),
    ("a\n\n{% endgeneration %}", "line 3: "),
]


@pytest.mark.parametrize(("source", "problem"), NOT_PARSING)
def test_syntax_errors_name_the_line(source, problem):
    with pytest.raises(BadTemplate, match=f"does not parse, {problem}"):
        ChatTemplate(source)


@pytest.mark.parametrize("source", ["{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}", "{% if 1 %}" * 900, "{%" * 50_000])
def test_sources_made_to_break_the_parser(source):
    with pytest.raises(BadTemplate):
        ChatTemplate(source)


def test_long_sources_are_refused():
    with pytest.raises(BadTemplate, match="has 200,001 characters; allowed: 200,000"):
        ChatTemplate("x" * 200_001)


def test_failures_name_the_line():
    with pytest.raises(BadTemplate, match="fails in line 3: 'nobody' is undefined"):
        render("\n\n{{ nobody.name }}")
    with pytest.raises(BadTemplate, match="fails in line 1: maximum recursion"):
        render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")


def test_a_template_may_refuse_the_messages():
    with pytest.raises(BadInput, match="messages: the model's chat template refuses them: roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")


def test_long_conversations_have_room():
    long = [{"role": "user", "content": "word " * 200_000}] * 10
    source = "{% for m in messages %}{{ '[' + m.content | trim | replace('word', 'lord') + ']' }}{% endfor %}"
    assert len(ChatTemplate(source).render({"messages": long})) == 10 * (1_000_000 + 1)


ORDINARY = [
    ('{{ \'{{"name": {{"x": {}}}}}\'.format(1) }}', '{"name": {"x": 1}}'),
    ('{{ \'{"name": %s, "more": {"x": 100000}}\' % 1 }}', '{"name": 1, "more": {"x": 100000}}'),
    ("{{ '100% of {:>5.1f}|{!r:<4}|'.format(2.25, 'a') }}", "100% of   2.2|'a' |"),
    ("{{ '%5.1f|%-4s|%%' % (2.25, 'a') }}{{ '%s' | format('b') }}", "  2.2|a   |%b"),
    ("{{ ('ab' * 3).replace('a', 'xyz').strip('b') | center(13) }}|", " xyzbxyzbxyz |"),
    ("{{ [[1], [2]] | sum(start=[]) }}{{ [1, 2] | sum }}{{ 2 ** 0.5 > 1 }}{{ 7 % 4 }}", "[1, 2]3True3"),
    ("{{ 'a b'.encode('utf-8') | length }}{{ 'x'.join(['1', '2']) }}{{ (1, 2) | join }}", "31x212"),
]


@pytest.mark.parametrize(("source", "text"), ORDINARY)
def test_ordinary_formats_are_let_through(source, text):
    assert render(source) == text


def test_threads_render_apart():
    template = ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}")
    talks = [[{"content": f"{i} "}] * 50 for i in range(50)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda talk: template.render({"messages": talk}), talks))
    assert made == [f"{i} " * 50 for i in range(50)]
