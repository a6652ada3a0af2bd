"""Events for staff: what waits, what has left, what is dead, and another try for it. Nothing is edited or deleted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.errors import InvalidId
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from booking_service.api.admin_lists import BoundedLists
from booking_service.djongo import readable

from .models import InboxMessage, Lane, OutboxEvent, Status
from .receivers import REQUEST_REFUND, SEND_NOTIFICATION
from .repositories import TRANSACTION, inbox_key, outbox_retry, transaction_booking
from .schemas import CONSUMED_BY_NAME, PUBLISHED

COLOURS = {Status.WAITING: "warning", Status.SENT: "success", Status.DEAD: "danger"}
RETRY_PERMISSION = "events.change_outboxevent"


class ReadOnlyAdmin(BoundedLists, ModelAdmin):
    """Staff look; only actions change anything."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ConditionFilter(admin.SimpleListFilter):
    """What staff look for when something does not arrive."""

    title, parameter_name = "condition", "condition"
    CHOICES = {
        "waiting": ("Waiting", Q(status=Status.WAITING.value)),
        "stuck": ("Waiting, failed before", Q(status=Status.WAITING.value, attempts__gt=1)),
        "dead": ("Dead", Q(status=Status.DEAD.value)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, label) for value, (label, _) in self.CHOICES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        choice = self.CHOICES.get(self.value() or "")
        return queryset.filter(choice[1]) if choice else queryset


class TypeFilter(admin.SimpleListFilter):
    """One type of event; the choices come from the contracts, not from reading the whole collection."""

    title, parameter_name = "type", "type"
    types: tuple[str, ...] = (*(contract.name for contract in PUBLISHED), SEND_NOTIFICATION, REQUEST_REFUND)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in self.types]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in self.types:
            return queryset
        # The fields of the index `outbox_status` before and behind the type.
        return queryset.filter(status__in=Status, lane__in=Lane, type=self.value())


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    """The outbox. A retried event is due at once; what was sent stays sent."""

    list_display = ("type", "status_shown", "lane", "aggregate_id", "age", "attempts", "last_error", "created_at")
    list_filter = (ConditionFilter, TypeFilter)
    search_fields = ("aggregate_id",)
    search_help_text = "The id of an event, a booking or a patient."
    actions = ("retry",)
    fields = (
        *("type", "status", "lane", "exchange", "aggregate_id", "aggregate_version", "body_shown", "correlation_id"),
        *("attempts", "last_error", "due_at", "created_at", "published_at"),
    )
    readonly_fields = fields

    def get_ordering(self, request: HttpRequest) -> tuple[str]:
        """Ids begin with the time; the index that knows types goes on with the time itself."""
        return ("-created_at",) if request.GET.get(TypeFilter.parameter_name) in TypeFilter.types else ("-_id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutboxEvent], search_term: str
    ) -> tuple[QuerySet[OutboxEvent], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(Q(aggregate_id=term) | Q(_id=ObjectId(term))), False
        except InvalidId:
            return queryset.none(), False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(RETRY_PERMISSION))  # type: ignore[union-attr]

    @action(description="Try again now", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> None:
        chosen = [event.pk for event in queryset]
        retried = outbox_retry(chosen)
        self.log_retry(request, queryset)
        level = messages.SUCCESS if retried else messages.WARNING
        messages.add_message(request, level, f"{retried} of {len(chosen)} events are tried again now.")

    def log_retry(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> None:
        for event in queryset:
            self.log_change(request, event, "Tried again by hand.")

    @display(description="Status", label=COLOURS)
    def status_shown(self, event: OutboxEvent) -> str:
        return str(event.status)

    @display(description="Age")
    @readable.or_sign
    def age(self, event: OutboxEvent) -> str:
        """How long it has waited, or did wait."""
        until = event.published_at or datetime.now(UTC)
        return duration((until - event.created_at).total_seconds())

    @display(description="Body")
    @readable.or_sign
    def body_shown(self, event: OutboxEvent) -> SafeString | str:
        """What it says; a patient's contact data stay where they belong."""
        if event.type.startswith("patient."):
            return "Personal data are not shown here."
        return format_html("<pre>{}</pre>", json.dumps(json.loads(bytes(event.body)), indent=2))


@admin.register(InboxMessage)
class InboxMessageAdmin(ReadOnlyAdmin):
    """Messages of other services that took effect."""

    list_display = ("_id", "type", "correlation_id", "received_at")
    search_fields = ("_id",)
    ordering = ("-received_at",)
    fields = ("_id", "type", "correlation_id", "received_at", "paid_booking")
    readonly_fields = fields

    @admin.display(description="booking that the transaction paid")
    def paid_booking(self, message: InboxMessage) -> Any:
        return transaction_booking(message.pk)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[InboxMessage], search_term: str
    ) -> tuple[QuerySet[InboxMessage], bool]:
        term = search_term.strip()
        keys = [term, *(inbox_key(name, term) for name in (*CONSUMED_BY_NAME, TRANSACTION))]
        return (queryset.filter(_id__in=keys) if term else queryset), False


def duration(seconds: float) -> str:
    """`40 ms`, `3.2 s`, `5 min`, `2 h`, `4 days`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.0f} days"
