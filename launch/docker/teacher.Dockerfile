# The teacher's image: vLLM with its CUDA build, for `fsa teach` and `fsa in-context`.
#   docker build --file=launch/docker/teacher.Dockerfile --tag=IMAGE .
#   docker run --rm --gpus=all IMAGE teach --help
FROM python:3.12-slim-bookworm

# Triton compiles a launcher for its kernels.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

# GKE puts the driver's libraries there, and tells nobody; elsewhere the folder is not there.
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /opt/fsa_jax

COPY requirements-teacher.lock ./
RUN pip install --no-deps --requirement=requirements-teacher.lock

COPY pyproject.toml README.md LICENSE ./
COPY fsa_jax ./fsa_jax
COPY tasks ./tasks
COPY gin_configs ./gin_configs
RUN pip install --no-deps --editable=.

ENTRYPOINT ["fsa"]
