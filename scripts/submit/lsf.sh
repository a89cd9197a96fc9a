#!/usr/bin/env bash
# Every task of an array of LSF does its share of a job; the last that ends finishes it.
#
# Usage: bsub < scripts/submit/lsf.sh, after what stands after "job=" was changed.
#        The same again goes on where it was, also when tasks were killed, or their time was over.
#BSUB -J "features[1-16]"
#BSUB -n 4
#BSUB -R "span[hosts=1]"
#BSUB -M 8GB
#BSUB -W 24:00
#BSUB -wt 5
#BSUB -wa 'TERM'
#BSUB -o features-%J-%I.log
#BSUB -r
shares=16  # as many as -J has
job=(recordings/ --out features.zarr)
# module load python; source /path/to/.venv/bin/activate

threads="clusters: {threads: {threads: $LSB_DJOB_NUMPROC}}"
exec "${PYTHON:-python3}" -m pipeline extract "${job[@]}" --cluster <(echo "$threads") \
    --share "$((LSB_JOBINDEX - 1))/$shares"
