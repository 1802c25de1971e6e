/* pairs_out.cu - role PAIRS_OUT of pairs.cuh, where work, bytes and shared memory are told. */
#include "kernels/cuda/pairs_kernel.cuh"

Status cuda_pairs_out(Dev *d, const char *op, const Pairs &p)
{
    return pairs_run<PAIRS_OUT>(d, op, p);
}
