"""Files that a question comes with, as text."""

import re
from dataclasses import dataclass

from divebell.errors import BadInput


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    text: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "Attachment":
        """BadInput for what is not text in UTF-8."""
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise BadInput(f"{name} is not text in UTF-8; save it as text first")
        return cls(name, text)

    def shown(self) -> str:
        """Within a fence that its text can't close."""
        longest = max((len(run) for run in re.findall(r"`+", self.text)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{self.name}:\n\n{fence}\n{self.text.rstrip()}\n{fence}"


def joined(attachments: list[Attachment], question: str) -> str:
    """The files, and then what is asked of them."""
    return "\n\n".join([*(attachment.shown() for attachment in attachments), question]).strip()
