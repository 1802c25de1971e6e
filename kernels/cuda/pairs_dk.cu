/* pairs_dk.cu - role PAIRS_DK of pairs.cuh, where work, bytes and shared memory are told. */
#include "kernels/cuda/pairs_kernel.cuh"

Status cuda_pairs_dk(Dev *d, const char *op, const Pairs &p)
{
    return pairs_run<PAIRS_DK>(d, op, p);
}
