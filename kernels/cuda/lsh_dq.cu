/* lsh_dq.cu - role LSH_DQ of lsh.cuh, where work, bytes and shared memory are told. */
#include "kernels/cuda/lsh_kernel.cuh"

Status cuda_lsh_dq(Dev *d, const char *op, const LshPairs &p)
{
    return lsh_run<LSH_DQ>(d, op, p);
}
