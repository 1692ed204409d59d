# docker build -t tfswa .   The torch of the default index runs on processors and NVIDIA's GPUs; a smaller one for
# processors alone comes from PyTorch's index of such wheels: --build-arg INDEX=ITS_ADDRESS
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
RUN useradd --uid 10001 --create-home tfswa && install --directory --owner tfswa /data
COPY --from=build /opt/tfswa /opt/tfswa
USER tfswa
ENV PATH=/opt/tfswa/bin:$PATH PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz')"]
# A model of one's own is mounted and named by --model; the package brings one.
ENTRYPOINT ["tfswa", "serve", "--data", "/data", "--host", "0.0.0.0"]
