/* pairs_dq.cu - role PAIRS_DQ of pairs.cuh, where work, bytes and shared memory are told. */
#include "kernels/cuda/pairs_kernel.cuh"

Status cuda_pairs_dq(Dev *d, const char *op, const Pairs &p)
{
    return pairs_run<PAIRS_DQ>(d, op, p);
}
