"""What a client is told when a request is not served."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException

TOO_LONG = "context_length_exceeded"  # OpenAI's; clients look for it, and shorten a conversation
REASONS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}


class Refusal(HTTPException):
    """status: of HTTP. param: the field at fault. code: a word for programs. retry_after: seconds.

    details: for programs too, in Anthropic's API. final: clients are told not to ask the same again, as they else do
    after a status of 500 or more.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        details: Mapping[str, object] | None = None,
        final: bool = False,
    ):
        headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
        if final:
            headers["x-should-retry"] = "false"  # OpenAI's and Anthropic's clients heed it
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers)
        self.param, self.code, self.details = param, code, details


def stopping() -> Refusal:
    return Refusal(503, "the server is stopping; try again later", code="draining", retry_after=5)


def openai_error(refusal: HTTPException) -> dict[str, object]:
    """The body of an error in OpenAI's API."""
    return {
        "error": {
            "message": refusal.detail,
            "type": REASONS.get(refusal.status_code, "invalid_request_error"),
            "param": getattr(refusal, "param", None),
            "code": getattr(refusal, "code", None),
        }
    }


def anthropic_error(refusal: HTTPException, request_id: str) -> dict[str, object]:
    """The body of an error in Anthropic's API, where clients know a prompt that is too long by these very words."""
    reason = REASONS.get(refusal.status_code, "invalid_request_error")
    too_long = "prompt is too long: " if getattr(refusal, "code", None) == TOO_LONG else ""
    message = f"{too_long}{refusal.detail}"
    details = getattr(refusal, "details", None)
    error = {"type": reason, "message": message} | ({"details": details} if details else {})
    return {"type": "error", "error": error, "request_id": request_id}
