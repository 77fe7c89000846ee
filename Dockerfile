# Two images. `docker build .` makes that of desk and workers; `--target proxy` that of the proxy.
#
# The tags are exact, yet a registry can still move them: whoever can reach it should write each
# image's digest behind its tag (`name:tag@sha256:…`).

# --- the proxy: Caddy with our file, as a user of its own ---
FROM caddy:2.10.2-alpine AS proxy
COPY deploy/Caddyfile /etc/caddy/Caddyfile
# A new volume takes its owner from the image.
RUN chown -R 10002:10002 /config /data
USER 10002:10002

# --- the packages: exactly the lock's, each checked by its hash ---
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/broadcaster
ENV PATH=/opt/broadcaster/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml LICENSE ./
COPY broadcaster broadcaster
COPY streams streams
COPY adapters adapters
RUN pip install --no-build-isolation --no-deps --no-index . && pip check
RUN pip uninstall --yes setuptools pip

# --- desk and workers: Python, the packages, and nothing that builds or installs ---
FROM python:3.11.14-slim-bookworm
RUN pip uninstall --yes setuptools wheel pip \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/broadcaster
COPY --from=build /opt/broadcaster /opt/broadcaster
ENV PATH=/opt/broadcaster/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    BROADCASTER_HOME=/var/lib/broadcaster \
    BROADCASTER_HOST=0.0.0.0 \
    BROADCASTER_PORT=8080 \
    BROADCASTER_LOG_FORMAT=json
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=6s --start-period=60s \
    CMD ["python", "-m", "broadcaster.ready"]
ENTRYPOINT ["broadcaster"]
CMD ["--help"]
