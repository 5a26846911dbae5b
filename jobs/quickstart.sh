#!/usr/bin/env bash
# From a fresh clone to a pruned network: installs what is missing, builds, prunes a small trained network.
#
#   jobs/quickstart.sh [RANKS]     default 2; results in build/quickstart/
#
# The network is a ResNet-20 for Fashion-MNIST (datasets/README.md); calibration and test images are in the repository.
# Nothing but Debian packages is downloaded. The second time it takes seconds.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ranks=${1:-2}
case "$ranks" in
  -h|--help)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0 ;;
  ''|*[!0-9]*|0)
    echo "usage: jobs/quickstart.sh [RANKS]; \"$ranks\" is no number of ranks" >&2
    exit 2 ;;
esac
. "$here/setup.sh"
reap_setup
out=$reap_build/quickstart
mkdir -p "$out"
# Paths as a user would type them from the project's root.
cd "$reap_root"
command=(mpirun -n "$ranks" build/reap prune datasets/fashion/resnet-fashion.onnx
  --calib datasets/fashion/fashion-calib.h5 --flops 0.5 --eval datasets/fashion/fashion-test.h5
  -o build/quickstart/resnet.h5 --onnx build/quickstart/resnet.onnx
  --report build/quickstart/resnet.json)
reap_say "$ ${command[*]}"
"${command[@]}"
