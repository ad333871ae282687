#!/usr/bin/env bash
# The shipped prior and its judge from nothing, on one GPU. Stages, each of which may be stopped and called again; none takes ten minutes:
#
#   tools/prior/gpu.sh wheels       where there is a network: the packages that a plain PyTorch machine lacks, into out/wheels/
#   tools/prior/gpu.sh install      there: put them into $WORK/site (pieces of a wheel are joined first)
#   tools/prior/gpu.sh probe        there: time and loss, with and without torch.compile (losses have to agree); images a second of one worker
#   tools/prior/gpu.sh train M N    there: draw renders in the background and train for M minutes towards N steps in all
#   tools/prior/gpu.sh judge M N    there: the judge's renders, then its training for M minutes towards N steps in all
#   tools/prior/gpu.sh evaluate     there: judge and prior on the held-out prompts, the card
#   tools/prior/gpu.sh pack DIR     there: model, judge, card, grids and curves, cut into pieces of 15 MB in DIR
#   tools/prior/gpu.sh unpack DIR   here: the pieces' contents into out/prior
#
# A whole session: install; probe; train 7 N; train 6 N; judge 4 N; evaluate; pack. Take N from the probe, so that the last call of train
# gets there: the learning rate falls over the last part of N. COMPILE=--compile compiles the U-Net. All state is in $WORK. The judge does not
# need the prior; evaluate needs both. After a lost machine, START=FOLDER/model goes on from exported weights.
set -euo pipefail
cd "$(dirname "$0")/../.."

WORK=${WORK:-/tmp/prior}
PYTHON=${PYTHON:-python3}
COMPILE=${COMPILE:-}
START=${START:-}
IMAGES=${IMAGES:-1000000}
JUDGE_IMAGES=${JUDGE_IMAGES:-250000}
WORKERS=${WORKERS:-$(nproc)}
PIECE=50M
export PYTHONPATH="$WORK/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

wheels() {
    mkdir -p out/wheels
    "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version "${1:-3.12}" \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d out/wheels \
        diffusers warp-lang pydantic==2.14.3 pydantic-core==2.50.4 annotated-types typing-inspection importlib-metadata
    local wheel
    for wheel in out/wheels/warp_lang-*.whl; do
        split -b "$PIECE" -d "$wheel" "$wheel.piece"
        rm "$wheel"
    done
    du -h out/wheels/*
}

# Pieces may be brought one call at a time: each call leaves what it has in $WORK/wheels and installs once nothing is missing.
install() {
    mkdir -p "$WORK/wheels"
    cp out/wheels/* "$WORK/wheels/"
    local first wheel
    for first in "$WORK"/wheels/*.piece00; do
        wheel=${first%.piece00}
        cat "$wheel".piece* > "$wheel"
        if ! "$PYTHON" -m zipfile -t "$wheel" > /dev/null 2>&1; then
            echo "$(basename "$wheel"): pieces are missing; there are" "$wheel".piece*
            rm "$wheel"
            return
        fi
    done
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$WORK/site" "$WORK"/wheels/*.whl
    "$PYTHON" -c "import diffusers, pydantic, warp, torch; print(diffusers.__version__, warp.__version__, torch.cuda.get_device_name())"
}

warm() { # one shard by one worker: compiles the kernels, so that the workers find them
    "$PYTHON" -m tools.prior.data "$WORK/data" --images 2048
}

probe() {
    warm
    local flag
    for flag in "" --compile; do
        rm -rf "$WORK/probe"
        # shellcheck disable=SC2086
        "$PYTHON" -m tools.prior.train "$WORK/probe" --data "$WORK/data" --minutes 0.5 --device cuda $flag
        echo "compile: '$flag'"
        tail -n 3 "$WORK/probe/loss.csv"
    done
}

train() {
    warm
    "$PYTHON" -m tools.prior.data "$WORK/data" --images "$IMAGES" --workers "$WORKERS" &
    local drawing=$!
    trap 'kill $drawing 2>/dev/null || true' EXIT
    # shellcheck disable=SC2086
    "$PYTHON" -m tools.prior.train "$WORK/run" --data "$WORK/data" --least 30000 --minutes "$1" --steps "$2" --device cuda $COMPILE \
        ${START:+--start "$START"}
}

judge() {
    "$PYTHON" -m tools.prior.data "$WORK/judge-data" --images "$JUDGE_IMAGES" --workers "$WORKERS" --first 50000 --everything
    "$PYTHON" -m tools.prior.judge "$WORK/judge-run" --data "$WORK/judge-data" --minutes "$1" --steps "$2" --device cuda
}

evaluate() {
    "$PYTHON" -m tools.prior.evaluate "$WORK/evaluation" --judge "$WORK/judge-run/judge" --prior "$WORK/run/model" --data "$WORK/data" \
        --perp-neg 1
    "$PYTHON" -m tools.prior.card "$WORK/run/model" --run "$WORK/run" --evaluation "$WORK/evaluation" \
        --trained "on one GPU"
}

pack() {
    mkdir -p "$1"
    tar -C "$WORK" --ignore-failed-read -cf - run/model run/loss.csv run/loss.png $(cd "$WORK" && ls run/samples-*.png | tail -n 2) \
        judge-run/judge judge-run/loss.csv judge-run/loss.png evaluation | split -b 15M -d - "$1/prior.tar.piece"
    ls -l "$1"
}

unpack() {
    mkdir -p out/prior
    cat "$1"/prior.tar.piece* | tar -C out/prior -xf -
    ls out/prior
}

"$@"
