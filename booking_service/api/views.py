"""The base of every endpoint."""

from typing import Any, ClassVar

from django.http import HttpRequest
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from booking_service.api.errors import MethodNotAllowed
from booking_service.api.exception_handler import response_for
from booking_service.api.parsers import JsonParser
from booking_service.api.queries import check_query

NO_ACTION = ""
_NEGOTIATOR = DefaultContentNegotiation()
_PARSERS = (JsonParser(),)


class ServiceViewSet(ViewSet):
    """A viewset that speaks JSON only, so there is nothing to negotiate.

    ``request.user`` is the Caller, or None. Views raise ServiceErrors and return ``envelope.success(...)``.
    """

    parser_classes = (JsonParser,)
    metadata_class = None
    # DRF would work out ``Allow`` for every response; only a 405 needs it.
    default_response_headers: ClassVar[dict[str, str]] = {}

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        self.action = self.action_map.get((request.method or "").lower(), NO_ACTION)
        return Request(request, parsers=_PARSERS, authenticators=self.get_authenticators(), negotiator=_NEGOTIATOR)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse early, cheapest first: the method, the query, the caller, the permission."""
        if self.action is NO_ACTION:
            raise MethodNotAllowed(self.allowed_methods)
        check_query(request.META["QUERY_STRING"])
        self.perform_authentication(request)
        self.check_permissions(request)

    # DRF's own Response would have to be told its renderer here; ours is encoded already.
    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        return response

    def handle_exception(self, exc: Exception) -> Any:
        return response_for(exc, self.request._request)

    @property
    def allowed_methods(self) -> list[str]:
        return sorted(method.upper() for method in self.action_map)
