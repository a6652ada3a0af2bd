"""What staff may do with events."""

from django.db import migrations

from booking_service.operations.staff_groups import BOOKING_STAFF, READ_ONLY, granting

GRANTS = {
    BOOKING_STAFF: {"outboxevent": "view change", "inboxmessage": "view"},
    READ_ONLY: {"outboxevent": "view", "inboxmessage": "view"},
}


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial"), ("auth", "0001_initial"), ("contenttypes", "0001_initial")]

    operations = [migrations.RunPython(granting("events", GRANTS), migrations.RunPython.noop)]
