/* lsh_dk.cu - role LSH_DK of lsh.cuh, where work, bytes and shared memory are told. */
#include "kernels/cuda/lsh_kernel.cuh"

Status cuda_lsh_dk(Dev *d, const char *op, const LshPairs &p)
{
    return lsh_run<LSH_DK>(d, op, p);
}
