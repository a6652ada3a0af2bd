"""Two more groups of staff: who may see clinical data, and who may see the audit of that."""

from django.db import migrations

from booking_service.operations.staff_groups import AUDIT_READERS, CLINICAL_READERS, granting

GRANTS = {
    CLINICAL_READERS: {"patient": "view_clinical"},
    AUDIT_READERS: {"clinicalaccess": "view"},
}


class Migration(migrations.Migration):
    dependencies = [("patients", "0002_staff_groups")]

    operations = [
        migrations.AlterModelOptions(
            name="clinicalaccess",
            options={
                "base_manager_name": "objects",
                "default_permissions": ("view",),
                "verbose_name_plural": "clinical access",
            },
        ),
        migrations.RunPython(granting("patients", GRANTS), migrations.RunPython.noop),
    ]
