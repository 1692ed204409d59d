# docker build -t tfswa .   The torch of the default index runs on processors and NVIDIA's GPUs; a smaller one, for
# processors alone, comes from the index of such wheels that PyTorch's installation page names: --build-arg
# INDEX=ITS_ADDRESS. A model of one's own that lies beside this file is baked in by --build-arg MODEL=mine.safetensors,
# one that is mounted is named by --model; the package brings one.
FROM python:3.12-slim-bookworm AS build
ARG INDEX=
WORKDIR /source
RUN python -m venv /opt/tfswa
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY conf conf
COPY tfswa_unet tfswa_unet
RUN /opt/tfswa/bin/pip install --no-cache-dir ${INDEX:+--extra-index-url "$INDEX"} \
    --constraint constraints.txt '.[serve]'

FROM python:3.12-slim-bookworm
ARG MODEL=
RUN useradd --uid 10001 --create-home tfswa && install --directory --owner tfswa /data
COPY --from=build /opt/tfswa /opt/tfswa
# The licence comes too, so that there is something to copy where there is no model.
COPY LICENSE ${MODEL} /models/
USER 10001
ENV PATH=/opt/tfswa/bin:$PATH PYTHONUNBUFFERED=1 TFSWA_MODEL=${MODEL:+/models/$MODEL}
VOLUME /data
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz')"]
ENTRYPOINT ["tfswa", "serve", "--data", "/data", "--host", "0.0.0.0"]
