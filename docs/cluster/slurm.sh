#!/bin/bash
# One SLURM job: a Dask scheduler, a worker in every task, and facer extract.
#   sbatch slurm.sh /shared/videos -o /shared/features.zarr
# Submit it from a folder that all nodes see. The same line again does what is missing.
#SBATCH --job-name=facer
#SBATCH --ntasks=32
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=12:00:00
#SBATCH --output=facer-%j.log
# On GPUs, in place of --ntasks=32: whole nodes, whose workers share the GPUs out.
# #SBATCH --nodes=2 --ntasks-per-node=8 --gpus-per-node=4
set -euo pipefail

# Needed unless facer's environment was active when the job was submitted:
# source /shared/venv/bin/activate

file="$PWD/facer-$SLURM_JOB_ID.json"  # where the scheduler says its address
finish() {
  kill "$workers" && wait "$workers"
  kill "$scheduler"
  rm -r "$tls"
} 2> /dev/null
trap 'finish || true' EXIT

# A certificate for this job, in a folder that only you may open: nobody else gets in.
tls="$PWD/facer-$SLURM_JOB_ID.tls"
mkdir -m 700 "$tls"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
  -subj /CN=facer -keyout "$tls/key.pem" -out "$tls/cert.pem" 2> /dev/null
export DASK_DISTRIBUTED__COMM__TLS__CA_FILE="$tls/cert.pem"
for who in SCHEDULER WORKER CLIENT; do
  export "DASK_DISTRIBUTED__COMM__TLS__${who}__CERT=$tls/cert.pem"
  export "DASK_DISTRIBUTED__COMM__TLS__${who}__KEY=$tls/key.pem"
done

# Nodes with several networks: add --interface ib0, or whichever they share, to both.
dask scheduler --protocol tls --port 0 --dashboard-address 127.0.0.1:0 --scheduler-file "$file" &
scheduler=$!
srun dask worker --scheduler-file "$file" --nthreads 1 --memory-limit 0 --dashboard-address 127.0.0.1:0 &
workers=$!

for _ in $(seq 120); do [ -s "$file" ] && break; sleep 1; done
[ -s "$file" ] || { echo "the scheduler did not start" >&2; exit 1; }
address="$(python -c "
from distributed import Client
with Client(scheduler_file='$file') as client:
    client.wait_for_workers($SLURM_NTASKS, timeout=600)
    print(client.scheduler.address)
")"
facer extract "$@" --scheduler "$address"
