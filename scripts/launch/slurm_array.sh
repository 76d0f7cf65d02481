#!/bin/bash
# A sweep as a Slurm array: one task per GPU, no task waits for another.
#
#   sbatch --export=ALL,CHECKPOINTS=manifest.jsonl,SAMPLES=cifar10.npz,OUT=/shared/out/rows.jsonl slurm_array.sh
#   xray-merge --rows='/shared/out/rows-*-of-00064.jsonl' --checkpoints=manifest.jsonl --out=/shared/out/rows.jsonl
#
# A requeued task goes on where it stopped, and a checkpoint that ends its process is a row (--isolate). To run single
# tasks again keep the number of shards of the whole:
#   sbatch --array=3,17 --export=ALL,NUM_SHARDS=64,CHECKPOINTS=...,SAMPLES=...,OUT=... slurm_array.sh
#
# More variables: REFERENCES (a file of xray-calibrate) and FPR (0.05), CALIBRATION, SAMPLING (refine), TIMEOUT (seconds a
# checkpoint may take, 3600).
#
#SBATCH --job-name=xray-scan
#SBATCH --array=0-63
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=xray-scan-%A-%a.log

set -u
xray-scan --checkpoints="$CHECKPOINTS" --samples="$SAMPLES" --out="$OUT" --sampling="${SAMPLING:-refine}" --isolate \
  --timeout="${TIMEOUT:-3600}" ${NUM_SHARDS:+--num_shards="$NUM_SHARDS"} \
  ${REFERENCES:+--references="$REFERENCES" --fpr="${FPR:-0.05}"} ${CALIBRATION:+--calibration="$CALIBRATION"}
code=$?
# 1 is a finding, not a failure: Slurm would mark the task as failed.
exit $((code == 1 ? 0 : code))
