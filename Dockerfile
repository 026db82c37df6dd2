# CPU:   docker build -t facer .
# CUDA:  docker build -t facer --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 \
#                              --build-arg ONNXRUNTIME=onnxruntime-gpu .
# S3:    docker build -t facer --build-arg EXTRAS=s3 .
# Run:   docker run --rm -v "$PWD":/data facer extract /data/videos -o /data/features.zarr
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:3.11-slim-bookworm
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG ONNXRUNTIME=onnxruntime
ARG EXTRAS=
# what opencv-python's wheel expects of the system
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.9,<2.14" \
    && pip install --no-cache-dir "$(echo /wheels/*.whl)${EXTRAS:+[$EXTRAS]}" \
    && if [ "$ONNXRUNTIME" != onnxruntime ]; then \
         pip uninstall -y onnxruntime && pip install --no-cache-dir "$ONNXRUNTIME"; fi \
    && rm -r /wheels
RUN useradd --create-home --uid 1000 facer
USER facer
WORKDIR /data
# asks nothing until it is told where the store is: docker run -e FACER_STORE=/data/features.zarr
ENV FACER_STORE= FACER_HEALTH=
HEALTHCHECK --interval=10m --timeout=60s --start-period=1h \
    CMD [ -z "$FACER_STORE" ] || facer health "$FACER_STORE" $FACER_HEALTH
ENTRYPOINT ["facer"]
CMD ["--help"]
