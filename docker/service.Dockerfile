# The service without torch. From the project's root: docker build -f docker/service.Dockerfile -t efsnet-service .

# Empty, unless a folder of wheels stands in for it: --build-context wheels=FOLDER, where no index has what is needed.
FROM scratch AS wheels

FROM python:3.11-slim AS build
# `cpu`, or `gpu` for a machine with an NVIDIA GPU.
ARG ENGINE=cpu
WORKDIR /build
# The packages themselves are not here yet: this installs what they need, and is redone only when that changes.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN --mount=type=bind,from=wheels,target=/wheels \
    python -m venv --without-pip /opt/efsnet \
 && pip --python /opt/efsnet install --no-cache-dir --find-links /wheels --constraint constraints.txt ".[$ENGINE,postgresql]"
COPY docker/slim.py ./
RUN python slim.py /opt/efsnet/lib/python3.11/site-packages

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin efsnet \
 && install --directory --owner efsnet --group efsnet /store \
 && install --directory --owner efsnet --group efsnet --mode 700 /state
COPY --from=build /opt/efsnet /opt/efsnet
ENV PATH=/opt/efsnet/bin:$PATH PYTHONUNBUFFERED=1 EFSNET_HOST=0.0.0.0 EFSNET_STORE=/store \
    EFSNET_STATE=/state
WORKDIR /app
COPY efsnet efsnet
COPY model_store model_store
COPY service service
# The root is read-only when this runs, so the bytecode is made now.
RUN python -m compileall -q efsnet model_store service
USER 10001:10001
VOLUME /store /state
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=3)"]
ENTRYPOINT ["python", "-m", "service"]
CMD ["serve"]
