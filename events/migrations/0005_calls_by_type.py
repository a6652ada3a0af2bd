from django.db import migrations

import booking_service.djongo.indexes


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0004_newest_first"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="outboxevent",
            index=booking_service.djongo.indexes.DocumentIndex(
                "type", "dueAt", "_id", name="outbox_calls", where={"status": "WAITING", "lane": "PARTNER"}
            ),
        ),
    ]
