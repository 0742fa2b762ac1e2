"""What a chat completion says of its prompt besides the messages, as clients of DeepSeek and vLLM write it."""

from typing import Any, Literal

from divebell.serve.form import Form
from divebell.serve.refusal import Refusal
from divebell.serve.thinking import Effort, Thinking

SWITCHES = ("thinking", "enable_thinking")


class ThinkingSwitch(Form):
    type: Literal["enabled", "disabled"]


class Templating(Form):
    """thinking: DeepSeek's. chat_template_kwargs, continue_final_message, add_generation_prompt: vLLM's."""

    reasoning_effort: Effort | None = None
    thinking: ThinkingSwitch | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """For the template, but for those that say whether to reason."""
        given = self.chat_template_kwargs or {}
        return {name: value for name, value in given.items() if name not in SWITCHES}

    def wanted_thinking(self) -> Thinking | None:
        """Refuses fields that contradict each other."""
        said = [Thinking.by_effort(self.reasoning_effort, "reasoning_effort")] if self.reasoning_effort else []
        said += [Thinking(self.thinking.type == "enabled", "thinking", self.reasoning_effort)] if self.thinking else []
        said += [self._switched(name) for name in SWITCHES if name in (self.chat_template_kwargs or {})]
        for one in said[1:]:
            if one.wanted != said[0].wanted:
                message = f"{one.field}: says otherwise than {said[0].field} whether to reason; give one of them"
                raise Refusal(400, message, param=one.field)
        return said[-1] if said else None

    def _switched(self, name: str) -> Thinking:
        value, field = self.chat_template_kwargs[name], f"chat_template_kwargs.{name}"
        if not isinstance(value, bool):
            raise Refusal(400, f"{field}: is {value!r:.80}; it must be true or false", param=field)
        return Thinking(value, field, self.reasoning_effort)

    def goes_on(self, prefix: bool) -> bool:
        """Whether the answer is the rest of the last message. prefix: that says so itself, as DeepSeek's clients do."""
        wanted = prefix or bool(self.continue_final_message)
        if self.add_generation_prompt is not None and self.add_generation_prompt == wanted:
            message = "add_generation_prompt: must be the opposite of continue_final_message; leave it out"
            raise Refusal(400, message, param="add_generation_prompt")
        return wanted
