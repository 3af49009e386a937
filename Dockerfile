# Two stages: the first installs into a virtual environment, with the request path compiled (setup.py), the last has
# neither pip nor a compiler.
ARG PYTHON_IMAGE=python:3.14-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
# The official images have Python.h; a base made of Debian's packages has not.
RUN headers=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))') \
    && test -f "$headers/Python.h" || more=python3-dev \
    && apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev $more
RUN python3 -m venv /opt/gateway
COPY pyproject.toml setup.py README.md LICENSE ./
COPY gateway ./gateway
RUN GATEWAY_COMPILE=1 /opt/gateway/bin/python -m pip install --no-cache-dir --disable-pip-version-check '.[bedrock,embedded,google,otel]' \
    && /opt/gateway/bin/python -m pip uninstall --yes --quiet pip \
    && /opt/gateway/bin/python -m compileall -q /opt/gateway/lib

FROM ${PYTHON_IMAGE}
# initdb wants its user to have a name; /data is the one place that is written to.
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin gateway \
    && mkdir -p /data && chown 10001:10001 /data \
    && rm -rf /usr/lib/python3/dist-packages/pip /usr/local/lib/python3*/site-packages/pip /usr/local/bin/pip* /usr/bin/pip*
COPY --from=build /opt/gateway /opt/gateway
COPY config /etc/gateway
ENV PATH=/opt/gateway/bin:$PATH GATEWAY_HOME=/data PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
# The gateway is PID 1: it handles SIGTERM itself and reaps what it starts.
ENTRYPOINT ["kubechat-gateway"]
CMD ["serve", "--config", "/etc/gateway/gateway.yaml", "--host", "0.0.0.0", "--port", "8080"]
