# Training, evaluation and publishing. From the project's root: docker build -f docker/training.Dockerfile -t efsnet-training .

# Empty, unless a folder of wheels stands in for it: --build-context wheels=FOLDER, where no index has what is needed.
FROM scratch AS wheels

FROM python:3.11-slim
# torch without CUDA, which is several GB smaller; empty for the build with CUDA.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin efsnet \
 && install --directory --owner efsnet --group efsnet /runs /store
WORKDIR /app
# The packages themselves are not here yet: this installs what they need, and is redone only when that changes.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN --mount=type=bind,from=wheels,target=/wheels \
    python -m venv --without-pip /opt/efsnet \
 && pip --python /opt/efsnet install --no-cache-dir --find-links /wheels --constraint constraints.txt ".[cpu,training]"
# Caches of libraries go to the only place that can be written and is forgotten.
ENV PATH=/opt/efsnet/bin:$PATH PYTHONUNBUFFERED=1 EFSNET_STORE=/store HOME=/tmp
COPY efsnet efsnet
COPY model_store model_store
COPY training training
RUN python -m compileall -q efsnet model_store training
USER 10001:10001
VOLUME /runs /store
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]
