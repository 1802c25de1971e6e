/* lsh_out.cu - role LSH_OUT of lsh.cuh, where work, bytes and shared memory are told. */
#include "kernels/cuda/lsh_kernel.cuh"

Status cuda_lsh_out(Dev *d, const char *op, const LshPairs &p)
{
    return lsh_run<LSH_OUT>(d, op, p);
}
