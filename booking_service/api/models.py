"""Requests that must not happen twice."""

from djongo import models

from booking_service.djongo.indexes import DocumentIndex


class IdempotentRequest(models.Model):
    """A claimed Idempotency-Key and, once known, the answer that repeats of the request get."""

    _id = models.CharField(primary_key=True, max_length=64)
    body_hash = models.CharField(max_length=64, db_column="bodyHash")
    owner = models.CharField(max_length=32)
    lease_until = models.DateTimeField(db_column="leaseUntil")
    expires_at = models.DateTimeField(db_column="expiresAt")
    status = models.IntegerField(null=True)
    headers = models.TextField(null=True)
    body = models.BinaryField(null=True)

    objects = models.DjongoManager()

    class Meta:
        db_table = "idempotentrequests"
        indexes = [DocumentIndex("expiresAt", name="expires_at_ttl", expire_after_seconds=0)]
