"""What all endpoints share: envelope, errors, pagination, throttling, idempotency, OpenAPI."""
