"""``Idempotency-Key``: a request that is sent twice happens once, and both get the same answer.

What is scarce is the key. The pattern:
1. claim it by a unique ``_id`` (repositories.request_claim), outside of any transaction, so that others see it at once;
2. run the view and store its answer in one transaction: effect and answer are there together or not at all;
3. a refusal (4xx) is an answer too: stored after its transaction was rolled back;
4. a failure (5xx) gives the key back; a process that died leaves it to whoever comes after the lease.
The answer is stored on condition that the claim still holds, so of two runners only one can commit.
"""

import functools
import hashlib
import logging
import re
from collections.abc import Callable
from typing import Any, cast

from django.db import DatabaseError
from django.http import HttpResponse
from rest_framework.request import Request

from booking_service.api.callers import Caller
from booking_service.api.envelope import error_response
from booking_service.api.errors import Conflict, FieldError, InvalidInput, ServiceError, Unprocessable
from booking_service.api.exception_handler import translated
from booking_service.api.repositories import Answer, Claim, Known, answer_store, claim_release, request_claim
from booking_service.djongo.transaction import run

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
logger = logging.getLogger(__name__)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class InvalidIdempotencyKey(InvalidInput):
    """The key is empty, too long or has odd characters."""

    code = "INVALID_IDEMPOTENCY_KEY"
    message = "Idempotency-Key must be 1 to 255 visible ASCII characters."


class RequestInProgress(Conflict):
    """The first request with this key has not answered yet."""

    code = "REQUEST_IN_PROGRESS"
    message = "The first request with this Idempotency-Key is still running."
    retry_after = 1


class IdempotencyKeyReused(Unprocessable):
    """The key was used with another body."""

    code = "IDEMPOTENCY_KEY_REUSED"
    message = "This Idempotency-Key was used with another body."


def idempotent(view: Any = None, *, transactional: bool = True) -> Any:
    """Decorator for view methods: honours ``Idempotency-Key`` where the client sends one.

    The view's body runs in one transaction with the storing of its answer and may run again on a conflict, so it must
    do nothing that a rollback does not undo. ``@idempotent(transactional=False)`` is for views that call a partner:
    they open their own transactions.
    """
    if view is None:
        return functools.partial(idempotent, transactional=transactional)

    @functools.wraps(view)
    def once(self: Any, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        key = request.META.get("HTTP_IDEMPOTENCY_KEY")
        if key is None:
            return view(self, request, *args, **kwargs)
        claimed = request_claim(key=_scoped(request, key), body_hash=_body_hash(request))
        if isinstance(claimed, Known):
            return _repeated(claimed, _body_hash(request))
        return _run(functools.partial(view, self, request, *args, **kwargs), claimed, transactional)

    once.idempotent = True  # type: ignore[attr-defined]  # the OpenAPI document shows the header
    return once


def _scoped(request: Request, key: str) -> str:
    if not _KEY.fullmatch(key):
        raise InvalidIdempotencyKey(errors=[FieldError(HEADER, InvalidIdempotencyKey.message, "INVALID")])
    caller = cast(Caller, request.user)
    scope = "\n".join((caller.label, request.method or "", request.path, key))
    return hashlib.sha256(scope.encode()).hexdigest()


def _body_hash(request: Request) -> str:
    return hashlib.sha256(request.body).hexdigest()


def _repeated(known: Known, body_hash: str) -> HttpResponse:
    if known.body_hash != body_hash:
        raise IdempotencyKeyReused
    if known.answer is None:
        raise RequestInProgress
    headers = {**known.answer.headers, REPLAYED: "true"}
    return HttpResponse(known.answer.body, status=known.answer.status, headers=headers)


def _run(view: Callable[[], HttpResponse], claim: Claim, transactional: bool) -> HttpResponse:
    """Run the view, keep its answer, give the key back when there is none to keep."""

    def answered() -> HttpResponse:
        response = view()
        if not answer_store(claim=claim, answer=_answer(response)):
            # Someone took the claim over: this run must not commit beside theirs.
            raise RequestInProgress
        return response

    try:
        return run(answered) if transactional else answered()
    except Exception as failure:
        _settle(claim, failure)
        raise


def _settle(claim: Claim, failure: Exception) -> None:
    """Store a refusal, release the key after anything else."""
    refusal = translated(failure)
    try:
        if isinstance(refusal, RequestInProgress):
            return  # somebody else has the key
        if refusal is None or _says_not_now(refusal):
            claim_release(claim=claim)
        else:
            answer_store(claim=claim, answer=_answer(error_response(refusal)))
    except DatabaseError:
        # The lease settles it, and the caller has to hear of the first failure.
        logger.warning("an idempotency key stays claimed until its lease ends", exc_info=True)


def _says_not_now(refusal: ServiceError) -> bool:
    """Whether the refusal is no "no": asking again with the same key must reach the view."""
    return refusal.status >= 500 or refusal.status == 401 or refusal.retry_after is not None


def _answer(response: HttpResponse) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)
