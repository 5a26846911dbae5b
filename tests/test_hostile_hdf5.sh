#!/usr/bin/env bash
# HDF5 files of every kind that reap reads, each with one byte changed, some hundred times; with REAP_TEST_LONG some ten thousand.
#
#   test_hostile_hdf5.sh PROGRAM HOSTILE_HDF5 SCRATCH
program=$1 hostile=$2 ranks=1
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
network=$resnet images=$fashion/fashion-calib.h5
count=60 seed=${REAP_TEST_SEED:-1}
[ -n "${REAP_TEST_LONG:-}" ] && count=2000
fresh "$3"

make() { works "$@" --progress none || exit 1; }
make stats "$network" --calib "$images" --images 20 --positions 2 -o stats.h5 --activations activations.h5
make paths "$network" --calib "$images" --images 20 --positions 2 -o paths.h5
make prune "$network" --calib "$images" --images 20 --positions 2 --keep 0.5 -o model.h5
make sweep "$network" --calib "$images" --eval "$images" --images 20 --positions 2 --keep 0.5 --method l1 --refit none -o sweep.h5
cp sweep.h5.d/*.h5 setting.h5 || exit 1
cp "$images" data.h5 || exit 1

failed=0
for kind in data stats activations paths setting model; do
  "$hostile" "$kind" "$kind.h5" "$seed" "$count" || failed=1
done
exit $failed
