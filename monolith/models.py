"""What an import leaves behind for people: the documents it could not take, and its runs."""

from djongo import models

from booking_service.djongo.documents import Document
from booking_service.djongo.indexes import DocumentIndex


class QuarantinedDocument(models.Model):
    """A document of the monolith that was not taken, as it was read, until a later run can take it."""

    _id = models.CharField(primary_key=True, max_length=200)
    collection = models.CharField(max_length=40)
    reason = models.CharField(max_length=40)
    why = models.TextField()
    at = models.DateTimeField()

    objects = models.DjongoManager()

    class Meta:
        db_table = "monolithquarantine"
        indexes = [DocumentIndex("collection", "reason", "_id", name="quarantine_by_reason")]

    def __str__(self) -> str:
        return f"{self._id}: {self.reason}"


class ImportRun(Document):
    """One run of `import_monolith` to its end; `--since last` goes on from just before the latest of its source began.

    One over an export is none of them, nor one that left out what was changed between the run before and its `--since`.
    """

    source = models.CharField(max_length=32, default="")
    began_at = models.DateTimeField(db_column="beganAt")
    ended_at = models.DateTimeField(db_column="endedAt")
    verified = models.BooleanField()

    class Meta:
        db_table = "monolithimports"
        indexes = [DocumentIndex("-beganAt", name="import_newest")]

    def __str__(self) -> str:
        return f"{self.began_at:%Y-%m-%d %H:%M}"
