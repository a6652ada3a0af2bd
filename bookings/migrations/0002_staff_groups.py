"""What staff may do with bookings."""

from django.db import migrations

from booking_service.operations.staff_groups import BOOKING_STAFF, READ_ONLY, granting

GRANTS = {
    BOOKING_STAFF: {"booking": "view change"},
    READ_ONLY: {"booking": "view"},
}


class Migration(migrations.Migration):
    dependencies = [("bookings", "0001_initial"), ("auth", "0001_initial"), ("contenttypes", "0001_initial")]

    operations = [migrations.RunPython(granting("bookings", GRANTS), migrations.RunPython.noop)]
