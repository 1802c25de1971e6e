/* lsh_dv.cu - role LSH_DV of lsh.cuh, where work, bytes and shared memory are told. */
#include "kernels/cuda/lsh_kernel.cuh"

Status cuda_lsh_dv(Dev *d, const char *op, const LshPairs &p)
{
    return lsh_run<LSH_DV>(d, op, p);
}
