"""What the broker is told to count, for those who may not import it."""

DELIVERY_LIMIT = 20  # returns of a message that was never settled (a crash) before the broker calls it dead
