"""Chat templates: jinja2's immutable sandbox, set up as in `transformers`, with a meter on everything that runs.

Source: transformers 5, utils/chat_template_utils.py, `_cached_compile_jinja_template`; rendered text is equal to its.
"""

import functools
import json
import sys
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from jinja2.utils import Namespace

from divebell.errors import BadInput, BadTemplate
from divebell.text.meter import PERCENT, PRODUCTS, Meter

LONGEST_SOURCE = 200_000
EACH, MADE, JOINED = " each", " made", " joined"  # filters of ours: no template can name them, with the space in front


class Refusal(jinja2.TemplateError):
    """The template's own `raise_exception`: these messages are not what its model expects."""


class Turns:
    """What a loop goes over, looking at the clock on each turn."""

    def __init__(self, items: Iterable, meter: Meter):
        self._items, self._meter = items, meter

    def __iter__(self) -> Iterator:
        for item in self._items:
            self._meter.tick()
            yield item


class SizedTurns(Turns):
    def __len__(self) -> int:
        return len(self._items)


class Dictionary:
    """`dict(...)` and `dict.fromkeys(...)`, and nothing else of the class."""

    def __call__(self, *args, **kwargs) -> dict:
        return dict(*args, **kwargs)

    def fromkeys(self, *args) -> dict:
        return dict.fromkeys(*args)


class SafeNamespace(Namespace):
    """`namespace(...)` without underscored names, and without writing out what it holds."""

    def __init__(*args, **kwargs):
        self, *given = args
        attributes = dict(*given, **kwargs)
        for name in attributes:
            check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        check_name(name)
        Namespace.__setitem__(self, name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


def check_name(name) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace may not hold the underscored name {name!r}")


class Instrument:
    """Marks in the parsed template every place where text or lists come into being and every loop."""

    def visit(self, node: nodes.Node) -> nodes.Node:
        for field, value in node.iter_fields():
            if isinstance(value, nodes.Node):
                setattr(node, field, self.visit(value))
            elif isinstance(value, list):
                value[:] = [self.visit(item) if isinstance(item, nodes.Node) else item for item in value]
        return self.marked(node)

    def marked(self, node: nodes.Node) -> nodes.Node:
        if isinstance(node, nodes.For):
            node.iter = filtered(node.iter, EACH)
        elif isinstance(node, nodes.TemplateData):
            return nodes.Const(node.data, lineno=node.lineno, environment=node.environment)
        elif isinstance(node, nodes.Concat):
            parts = nodes.Tuple(node.nodes, "load", lineno=node.lineno, environment=node.environment)
            return filtered(parts, JOINED)
        elif isinstance(node, nodes.List | nodes.Dict) or (isinstance(node, nodes.Tuple) and node.ctx == "load"):
            return filtered(node, MADE)
        return node


def filtered(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


class GenerationTag(Extension):
    """`{% generation %} ... {% endgeneration %}` marks the assistant's words for training; here it is only a scope."""

    tags = frozenset(["generation"])

    def parse(self, parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class MeteredEnvironment(ImmutableSandboxedEnvironment):
    """One for the process; the meter of a rendering belongs to its thread."""

    intercepted_binops = frozenset(SandboxedEnvironment.default_binop_table)

    def __init__(self):
        self._running = threading.local()
        extensions = [GenerationTag, loopcontrols]
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions, finalize=self._finalize())
        self.filters["tojson"] = to_json
        self.filters = {name: self._metered(name, function) for name, function in self.filters.items()}
        self.filters |= {EACH: self._turns, MADE: self._made, JOINED: self._join}
        del self.globals["lipsum"]  # placeholder text, slow to make
        self.globals |= {
            "raise_exception": refuse,
            "strftime_now": lambda form: datetime.now().strftime(form),
            "dict": Dictionary(),
            "namespace": SafeNamespace,
        }

    @property
    def meter(self) -> Meter:
        return self._running.meter

    def metered(self, meter: Meter) -> None:
        """Begin what this thread does next with `meter`."""
        self._running.meter = meter

    def _parse(self, source, name, filename):
        return Instrument().visit(super()._parse(source, name, filename))

    def unsafe_undefined(self, obj, attribute):
        what = f"attribute {attribute!r} of {type(obj).__name__}"
        raise jinja2.exceptions.SecurityError(f"access to {what} is not allowed in a chat template")

    def call(__self, __context, __obj, *args, **kwargs):  # a template may pass `self=...`
        owner = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)  # jinja2 wraps str.format
        if isinstance(owner, str | bytes):
            args = [listed(argument) for argument in args]
            __self.meter.allow(__obj.__name__, [owner, *args, *kwargs.values()])
        return __self.meter.made(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context, operator, left, right):
        self.meter.allow_operator(operator, left, right)
        return self.meter.made(super().call_binop(context, operator, left, right))

    def _turns(self, items) -> Turns:
        return (SizedTurns if hasattr(items, "__len__") else Turns)(items, self.meter)

    def _counted(self, items: Iterator) -> Iterator:
        return (self.meter.made(item) for item in items)

    def _made(self, value):
        return self.meter.made(value)

    def _join(self, parts: tuple):
        self.meter.expanded(parts)
        return self.meter.made("".join(map(str, parts)))

    def _finalize(self):
        @jinja2.pass_context  # which keeps jinja2 from writing constants out unseen, while it compiles
        def finalize(context, value):
            self.meter.spend(self.meter.expanded(value))
            return value

        return finalize

    def _metered(self, name: str, function):
        name = PERCENT if name == "format" else name
        taken = 1 if hasattr(function, "jinja_pass_arg") else 0

        @functools.wraps(function)  # keeps jinja2's marks for filters that take the context
        def run(*args, **kwargs):
            if name in PRODUCTS:
                args = [listed(argument) for argument in args]
            self.meter.allow(name, [*args[taken:], *kwargs.values()])
            result = function(*args, **kwargs)
            return self._counted(result) if isinstance(result, Iterator) else self.meter.made(result)

        return run


def listed(argument):
    """A generator's items, so that they can be counted; anything else as it is."""
    return list(argument) if isinstance(argument, Iterator) else argument


def refuse(message):
    raise Refusal(message)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@functools.cache
def environment() -> MeteredEnvironment:
    return MeteredEnvironment()


class ChatTemplate:
    """A compiled template; any number of threads may render it at once.

    Raises BadTemplate, with the line, for a source that does not parse.
    """

    def __init__(self, source: str):
        if len(source) > LONGEST_SOURCE:
            raise BadTemplate(f"the chat template has {len(source):,} characters; allowed: {LONGEST_SOURCE:,}")
        self._environment = environment()
        self._environment.metered(Meter(0))
        self._template = reporting(lambda: self._environment.from_string(source))

    def render(self, variables: dict) -> str:
        """Raises BadTemplate for a template that fails or does not end, BadInput when it refuses the messages."""
        self._environment.metered(Meter(given_size(variables)))
        return reporting(lambda: self._template.render(variables))


def given_size(value) -> int:
    """Characters and items of plain data."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(given_size(key) + given_size(item) for key, item in value.items())
    return 1 + sum(map(given_size, value)) if isinstance(value, list | tuple) else 1


def reporting(work):
    """`work()`, with what goes wrong in a template told as BadTemplate or BadInput."""
    try:
        return work()
    except BadTemplate:
        raise
    except Refusal as problem:
        raise BadInput(f"messages: the model's chat template refuses them: {problem.message}") from None
    except jinja2.TemplateSyntaxError as problem:
        raise BadTemplate(f"the chat template does not parse, line {problem.lineno}: {problem.message}") from None
    except Exception as problem:
        what = str(problem) or type(problem).__name__
        raise BadTemplate(f"the chat template fails{template_line()}: {what}") from problem


def template_line() -> str:
    """` in line 3`, from the innermost frame of the exception being handled that belongs to a template."""
    trace, line = sys.exc_info()[2], None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" in line {line}"
