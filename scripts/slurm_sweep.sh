#!/usr/bin/env bash
# Start the workers of one sweep as a Slurm array. Each worker takes the next trial until sweep.n_trials are done. When a
# worker runs out of time, another worker resumes its trial, or the same command does when it is submitted again.
#
#   export LEYDEN_STORAGE=postgresql://USER:PASSWORD@HOST/DATABASE
#   sbatch --array=1-16 scripts/slurm_sweep.sh sweep=cnn_cifar10 sweep.n_trials=200
#
# Submit it from the clone, on a disk that all nodes share: then any node can resume a trial from its checkpoint.
# Without LEYDEN_STORAGE the study is a journal file on this disk, which is fast enough for some dozens of workers.
#SBATCH --job-name=leyden-sweep
#SBATCH --array=1-8
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120 # two minutes before the end, so that the runs save their checkpoints
#SBATCH --output=logs/slurm-%A_%a.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?is set by sbatch}"
export LEYDEN_STORAGE=${LEYDEN_STORAGE:-journal}
exec "${PYTHON:-.venv/bin/python}" train.py -m 'sweep.storage=${oc.env:LEYDEN_STORAGE}' "$@"
