# One image for web, publisher, consumer and jobs. The default command is the web server; the others name theirs.

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY requirements.txt .
RUN pip wheel --no-cache-dir --wheel-dir /wheels --requirement requirements.txt \
    && pip install --no-cache-dir --no-index --no-deps --find-links /wheels --prefix /installed --requirement requirements.txt \
    && find /installed -name '*.po' -delete
COPY . .
# The admin's files. The development defaults are enough to collect them; nothing else of this stage goes on.
RUN PYTHONPATH=/installed/lib/python3.11/site-packages python manage.py collectstatic --noinput --verbosity 0 \
    && python -m compileall -q booking_service bookings catalog events monolith patients

FROM python:3.11-slim-bookworm
# What Python compiles was compiled above: the root file system is read-only where the image runs.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY --from=build /installed /usr/local
COPY --from=build /build /app
USER 10001:10001
EXPOSE 3001
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-m", "booking_service.operations.container_health"]
CMD ["python", "-m", "gunicorn", "--config", "gunicorn.conf.py"]
