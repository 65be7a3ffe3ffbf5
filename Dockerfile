# syntax=docker/dockerfile:1
# One image for every command of jtav that serves. Not built where it was written: no container engine was at hand. Its
# steps are the set-up script and a cargo command that was tried, and the run-time layout was tried with ldd.
#
#   docker build -t jtav:0.1.0 .
#   docker build -t jtav:0.1.0-gpu --target gpu .      # with libtorch's CUDA libraries, 4 GB more; see docs/gpu.md

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The set-up first: it changes rarely, and holds the two large downloads.
COPY scripts/setup.sh scripts/setup-libtorch.sh scripts/setup-openvino.sh scripts/setup-weights.sh scripts/convert-weights.py scripts/weights.sha256 scripts/
RUN scripts/setup.sh demo && rm -rf /root/.cache /var/lib/apt/lists/*
COPY . .
# Without training and research, which an image that serves has no use for.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p jtav --no-default-features --bin jtav && cp target/release/jtav /usr/local/bin/jtav
# All libraries in one folder: libtorch looks for its CUDA run-time stubs beside itself, the program in ../lib.
RUN mkdir -p /opt/jtav/bin /opt/jtav/lib /opt/jtav/licenses \
    && cp -a third_party/pytorch/torch/lib/. third_party/pytorch/nvidia/cu13/lib/. /opt/jtav/lib/ \
    && mkdir -p /opt/jtav/share/jtav/third_party && cp -a third_party/weights third_party/openvino /opt/jtav/share/jtav/third_party/ \
    && find third_party/pytorch -path '*.dist-info/*' -type f -exec cp --parents -t /opt/jtav/licenses {} + \
    && cp /usr/local/bin/jtav /opt/jtav/bin/jtav \
    && ! env -u LD_LIBRARY_PATH ldd /opt/jtav/bin/jtav | grep 'not found'

FROM debian:12-slim AS run
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 libstdc++6 libzstd1 zlib1g \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/jtav /opt/jtav
# What ships with the program is looked for in share/jtav beside bin, by its path in the repository.
COPY models /opt/jtav/share/jtav/models
COPY config /opt/jtav/share/jtav/config
COPY services/feed-simulator/sample-feed /opt/jtav/share/jtav/services/feed-simulator/sample-feed
COPY LICENSE-MIT LICENSE-APACHE /opt/jtav/licenses/
# Whose the base weights are (they lie in share/jtav/third_party/weights), and under which licences.
COPY models/bases /opt/jtav/licenses/base-weights
ENV PATH=/opt/jtav/bin:$PATH \
    OMP_WAIT_POLICY=passive
WORKDIR /opt/jtav/share/jtav
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 9600 9700
STOPSIGNAL SIGTERM
ENTRYPOINT ["jtav"]
CMD ["run", "--config", "config/production.toml"]

FROM python:3.12-slim-bookworm AS cuda
COPY scripts/cuda.requirements.txt .
RUN pip install --no-cache-dir --require-hashes --only-binary :all: --target /opt/cuda -r cuda.requirements.txt

FROM run AS gpu
COPY --from=cuda /opt/cuda/torch/lib /opt/cuda/torch/lib
COPY --from=cuda /opt/cuda/nvidia /opt/cuda/nvidia
# Before the CPU's libtorch in /opt/jtav/lib: both halves must be of one build.
ENV LD_LIBRARY_PATH=/opt/cuda/torch/lib:/opt/cuda/nvidia/cu13/lib \
    TCH_CUDA_LIB=/opt/cuda/torch/lib/libtorch_cuda.so

# The last stage is what a build without --target gives.
FROM run
