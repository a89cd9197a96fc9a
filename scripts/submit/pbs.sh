#!/usr/bin/env bash
# Every task of an array of PBS does its share of a job; the last that ends finishes it.
#
# Usage: qsub scripts/submit/pbs.sh, after what stands after "job=" was changed.
#        The same again goes on where it was, also when tasks were killed, or their time was over.
#PBS -N features
#PBS -J 0-15
#PBS -l select=1:ncpus=4:mem=8gb
#PBS -l walltime=24:00:00
#PBS -j oe
#PBS -r y
shares=16  # as many as -J has
job=(recordings/ --out features.zarr)
cd "$PBS_O_WORKDIR" || exit
# module load python; source /path/to/.venv/bin/activate

threads="clusters: {threads: {threads: ${NCPUS:-4}}}"
exec "${PYTHON:-python3}" -m pipeline extract "${job[@]}" --cluster <(echo "$threads") \
    --share "$PBS_ARRAY_INDEX/$shares"
