"""What running the service in production needs: health, metrics, logs, error tracking, system checks."""
