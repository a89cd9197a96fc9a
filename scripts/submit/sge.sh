#!/usr/bin/env bash
# Every task of an array of Grid Engine does its share of a job; the last finishes it.
#
# Usage: qsub scripts/submit/sge.sh, after what stands after "job=" was changed.
#        The same again goes on where it was, also when tasks were killed, or their time was over.
#$ -N features
#$ -S /bin/bash
#$ -t 1-16
#$ -pe smp 4
#$ -l h_rt=24:00:00,h_vmem=2G
#$ -cwd
#$ -j y
#$ -r y
shares=16  # as many as -t has
job=(recordings/ --out features.zarr)
# module load python; source /path/to/.venv/bin/activate

threads="clusters: {threads: {threads: $NSLOTS}}"
exec "${PYTHON:-python3}" -m pipeline extract "${job[@]}" --cluster <(echo "$threads") \
    --share "$((SGE_TASK_ID - 1))/$shares"
