#!/usr/bin/env bash
# What reap writes and computes, judged by the ONNX checker and onnxruntime (references/check_export.py).
#
#   test_export.sh PROGRAM SCRATCH VENV
#
# Needs a Python with onnx, onnxruntime, h5py and numpy: that of VENV (made by tests/run.sh) or one of the system's. Exit status
# 77 if there is none.
program=$1 ranks=2
. "$(dirname "${BASH_SOURCE[0]}")/shell.sh"
find_python "onnx, onnxruntime, h5py, numpy" "$3/bin/python" /usr/bin/python3 python3
if [ -z "$python" ]; then
  echo "SKIPPED export: there is no Python with onnx, onnxruntime, h5py and numpy"
  exit 77
fi
fresh "$2"

reap() { works "$@" --progress none --log-level warning; }

# judge NAME MODEL DATA: reap's outputs and multiply-adds of the model against the other runtime's.
judge() {
  local name=$1 model=$2 data=$3
  reap eval "$model" --data "$data" --outputs "$name.h5" --report "$name.json" || return
  timeout 300 "$python" "$source/tests/references/check_export.py" "$model" "$data" "$name.h5" --report "$name.json" >judged.txt 2>&1
  local status=$?
  sed "s/^/$name: /" judged.txt
  [ $status = 0 ] || fail "$name: check_export.py ended with $status"
}

# The two embedded networks at half their channels, written by prune and by export.
for network in vgg resnet; do
  if reap prune "$fashion/$network-fashion.onnx" --calib "$fashion/fashion-calib.h5" --images 256 --positions 6 --keep 0.5 \
      -o "$network-half.h5m" --onnx "$network-half.onnx" --report "$network-prune.json"; then
    judge "$network-half" "$network-half.onnx" "$fashion/fashion-test.h5"
    "$python" - "$network-prune.json" "$network-half.json" <<'PYTHON' || fail "$network: prune and eval count differently"
import json, sys
pruned, evaluated = (json.load(open(name)) for name in sys.argv[1:])
for key in ("flops", "params"):
    assert pruned["pruned"][key] == evaluated["baseline"][key], key
PYTHON
    "$program" export "$network-half.h5m" "$network-again.onnx" >/dev/null || fail "export of $network-half.h5m"
    cmp "$network-half.onnx" "$network-again.onnx" || fail "$network: prune --onnx and export write different files"
  fi
done

# Larger ones, where they are at hand.
data=${TEST_DATA_DIR:-}/data
if ls "$data"/*-cifar10*.onnx >/dev/null 2>&1; then
  for model in "$data"/*-cifar10*.onnx; do judge "$(basename "$model" .onnx)" "$model" "$data/cifar10-test.h5"; done
  reap prune "$data/resnet20-cifar10-bn.onnx" --calib "$data/cifar10-calib.h5" --images 256 --positions 10 --keep 0.5 \
    -o resnet20-half.h5m --onnx resnet20-half.onnx && judge resnet20-half resnet20-half.onnx "$data/cifar10-test.h5"
else
  echo "SKIPPED the CIFAR-10 networks: they are not in $data"
fi
finish
