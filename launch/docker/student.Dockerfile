# The student's image: trains, predicts, scores and exports on TPU, GPU or CPU; without TensorFlow and SeqIO.
#   docker build --file=launch/docker/student.Dockerfile --build-arg=ACCELERATOR=tpu --tag=IMAGE .
#   docker run --rm IMAGE train --help
FROM python:3.12-slim-bookworm

# tpu, cuda or cpu. A TPU machine gives its devices to a privileged container, a GPU one by --gpus=all.
ARG ACCELERATOR=tpu

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /opt/fsa_jax

# The lock first: it changes less often than the code.
COPY requirements-core.lock ./
RUN case "$ACCELERATOR" in tpu) jax='jax[tpu]' ;; cuda) jax='jax[cuda13]' ;; cpu) jax=jax ;; \
      *) echo "ACCELERATOR=$ACCELERATOR: expected tpu, cuda or cpu" >&2; exit 2 ;; esac \
    && pip install --no-deps --requirement=requirements-core.lock \
    && pip install --constraint=requirements-core.lock "$jax" gcsfs

COPY pyproject.toml README.md LICENSE ./
COPY fsa_jax ./fsa_jax
COPY tasks ./tasks
COPY gin_configs ./gin_configs
RUN pip install --no-deps --editable=.

ENTRYPOINT ["fsa"]
