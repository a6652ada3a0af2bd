"""Endpoints for machines that look after the service, and the page that names all others."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

from booking_service.api.envelope import Response, success
from booking_service.api.pages import read_only
from booking_service.api.schema import documents, obj
from booking_service.api.views import ServiceViewSet
from booking_service.operations import health, metrics

TEXT = {"type": "string"}
STATE = {"type": "string", "enum": ["connected", "disconnected"]}
STATUS = {"type": "string", "enum": ["ok", "degraded", "down"]}
BREAKER = {"type": "string", "enum": ["closed", "half_open", "open"]}
HEALTH = obj(
    "status service version timestamp database cache broker partners",
    status=STATUS,
    service=TEXT,
    version=TEXT,
    timestamp={"type": "string", "format": "date-time"},
    database=STATE,
    cache=STATE,
    broker=STATE,
    partners={"type": "object", "additionalProperties": BREAKER},
)


class ProbeViewSet(ServiceViewSet):
    """Public, and not counted by the rate limit: probes come every few seconds from one address."""

    authentication_classes = ()
    permission_classes = ()

    @documents(HEALTH, status=(200, 503), bare=True)
    def health(self, request: Request) -> Response:
        """How the service is: 503 when the database is down; without cache or broker it is degraded, and answers."""
        report = health.report()
        return Response(report, status=503 if report["status"] == "down" else 200)

    @documents(obj("status", status={"type": "string", "enum": ["ok"]}), bare=True)
    def live(self, request: Request) -> Response:
        """Whether this process answers. Says nothing about what it stands on: restarting would not mend that."""
        return Response({"status": "ok"})

    @documents(obj("status database", status=STATUS, database=STATE), status=(200, 503), bare=True)
    def ready(self, request: Request) -> Response:
        """Whether requests may be sent here: only while MongoDB answers."""
        database = health.database_state()
        ready = database == "connected"
        return Response({"status": "ok" if ready else "down", "database": database}, status=200 if ready else 503)


class LandingViewSet(ServiceViewSet):
    """``GET /``"""

    authentication_classes = ()
    permission_classes = ()

    @documents(obj("service version endpoints", service=TEXT, version=TEXT, endpoints={"type": "object"}))
    def show(self, request: Request) -> Response:
        """Names the service and its endpoints."""
        return success(
            {
                "service": settings.SERVICE_NAME,
                "version": settings.VERSION,
                "endpoints": {
                    "services": "/api/services",
                    "patients": "/api/patients",
                    "bookings": "/api/bookings",
                    "events": "/api/events",
                    "documentation": "/api/docs",
                    "schema": "/api/schema",
                    "health": "/health",
                    "metrics": "/metrics",
                },
            },
            message="Home nursing and physiotherapy: patients, services, bookings.",
        )


@read_only
def metrics_page(request: HttpRequest, **_: Any) -> HttpResponse:
    """Prometheus reads this; it shows all processes of this pod, whichever of them answers."""
    content, content_type = metrics.exposition()
    return HttpResponse(content, content_type=content_type)
