"""What staff may do with patients."""

from django.db import migrations

from booking_service.operations.staff_groups import BOOKING_STAFF, READ_ONLY, granting

GRANTS = {
    BOOKING_STAFF: {"patient": "view change"},
    READ_ONLY: {"patient": "view"},
}


class Migration(migrations.Migration):
    dependencies = [("patients", "0001_initial"), ("auth", "0001_initial"), ("contenttypes", "0001_initial")]

    operations = [migrations.RunPython(granting("patients", GRANTS), migrations.RunPython.noop)]
