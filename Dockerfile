# The image of kubewitness. docs/image.md says what is in it, how to build it, and where it was tried.
#
# For a base that cannot change under its name, give the digest, too:
#   docker build --build-arg BASE=python:3.13.14-slim-trixie@sha256:... .
ARG BASE=python:3.13.14-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
WORKDIR /build

# Without pip: nothing is installed in a container that runs.
RUN python -m venv --without-pip /opt/venv
COPY requirements.lock ./
RUN pip --python /opt/venv/bin/python install \
        --no-compile --only-binary :all: --require-hashes --requirement requirements.lock

# What makes the wheel, by its hashes, and of the development tools nothing else.
COPY requirements-dev.lock ./
RUN set -eu; \
    sed -n '/^\(hatchling\|packaging\|pathspec\|pluggy\|tomlkit\|trove-classifiers\)==/,/[^\\]$/p' requirements-dev.lock > build.lock; \
    pip install --require-hashes --requirement build.lock

COPY LICENSE README.md pyproject.toml ./
COPY app ./app
# The root file system is read-only where it runs, so that Python could keep no bytecode there. This one is never compared
# with its sources, whose times builders may change.
RUN set -eu; \
    pip wheel --no-build-isolation --no-deps --wheel-dir wheels .; \
    pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index wheels/kubewitness-*.whl; \
    python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/venv/lib


FROM ${BASE}
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    KUBEWITNESS_DATA_DIR=/var/lib/kubewitness

# ssh is for git_sink; it refuses to run as a user without a name (useradd would write down the day, too). Of Python's own
# tools pip goes, and its standard library gets the bytecode that the base image leaves out.
RUN set -eu; \
    apt-get update; \
    apt-get install --yes --no-install-recommends openssh-client; \
    echo 'kubewitness:x:65532:' >> /etc/group; \
    echo 'kubewitness:x:65532:65532::/var/lib/kubewitness:/usr/sbin/nologin' >> /etc/passwd; \
    install --directory --owner=65532 --group=65532 --mode=0750 /var/lib/kubewitness; \
    python -m pip uninstall --yes --quiet --root-user-action=ignore pip; \
    standard_library=$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'); \
    rm -rf "$standard_library/ensurepip"; \
    python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash \
        -x '/(idlelib|lib2to3|site-packages|tkinter|turtledemo)/' "$standard_library"; \
    rm -rf /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/lib/apt/lists/* /var/log/*

COPY --from=build /opt/venv /opt/venv

ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="kubewitness" \
      org.opencontainers.image.description="A Kubernetes change auditor: it always says yes, and it remembers who changed what." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/kubewitness
EXPOSE 8080 10250
STOPSIGNAL SIGTERM
ENTRYPOINT ["kubewitness"]
CMD ["--help"]
