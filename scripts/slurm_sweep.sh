#!/usr/bin/env bash
# Workers of one sweep as a Slurm array: each takes the next trial until sweep.n_trials are done. Those that run out of
# time are taken over by the others, or by the same command again.
#
#   export LEYDEN_STORAGE=postgresql://USER:PASSWORD@HOST/DATABASE
#   sbatch --array=1-16 scripts/slurm_sweep.sh sweep=cnn_cifar10 sweep.n_trials=200
#
# Submit it from the clone, on a disk that all nodes see: a trial is then gone on with from its checkpoint on any node.
# Without LEYDEN_STORAGE the study is a journal file on that disk, which serves some dozens of workers.
#SBATCH --job-name=leyden-sweep
#SBATCH --array=1-8
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120 # two minutes before the end, so that runs save their checkpoints
#SBATCH --output=logs/slurm-%A_%a.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?is set by sbatch}"
export LEYDEN_STORAGE=${LEYDEN_STORAGE:-journal}
exec "${PYTHON:-.venv/bin/python}" train.py -m 'sweep.storage=${oc.env:LEYDEN_STORAGE}' "$@"
