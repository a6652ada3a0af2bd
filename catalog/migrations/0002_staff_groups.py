"""What staff may do with the catalog."""

from django.db import migrations

from booking_service.operations.staff_groups import BOOKING_STAFF, CATALOG_EDITORS, READ_ONLY, granting

GRANTS = {
    CATALOG_EDITORS: {"service": "view add change", "servicechange": "view"},
    BOOKING_STAFF: {"service": "view"},
    READ_ONLY: {"service": "view", "servicechange": "view"},
}


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial"), ("auth", "0001_initial"), ("contenttypes", "0001_initial")]

    operations = [migrations.RunPython(granting("catalog", GRANTS), migrations.RunPython.noop)]
