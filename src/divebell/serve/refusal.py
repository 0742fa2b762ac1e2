"""What a client is told when a request is not served."""

from starlette.exceptions import HTTPException

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
    """status: of HTTP. param: the field at fault. code: a word for programs. retry_after: seconds."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ):
        headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers)
        self.param, self.code = param, code


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
    """The body of an error in Anthropic's API."""
    reason = REASONS.get(refusal.status_code, "invalid_request_error")
    return {"type": "error", "error": {"type": reason, "message": refusal.detail}, "request_id": request_id}
