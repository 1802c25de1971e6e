/* pairs_dv.cu - role PAIRS_DV of pairs.cuh, where work, bytes and shared memory are told. */
#include "kernels/cuda/pairs_kernel.cuh"

Status cuda_pairs_dv(Dev *d, const char *op, const Pairs &p)
{
    return pairs_run<PAIRS_DV>(d, op, p);
}
