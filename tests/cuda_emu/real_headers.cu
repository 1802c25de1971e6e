/* real_headers.cu - compiled by nvcc alone: CUDA's own headers say what the emulator's fakes say.
 *
 * fakes.inc is made by tests/static/cuda.sh from api.h and include/: every enumerator with its
 * value, every function with its type. The structs whose layout the fakes copy follow by hand. */
#include <cublasLt.h>
#include <cuda_runtime.h>
#if __has_include(<curand.h>)
#include <curand.h>
#endif

#include <cstddef>

#define SAME(name, value) static_assert((int)(name) == (value), #name)
#include <fakes.inc> /* in build/static_cuda */

#define PLACE(type, field, at) static_assert(offsetof(type, field) == (at), #type "." #field)
PLACE(cublasLtMatmulHeuristicResult_t, algo, 0);
PLACE(cublasLtMatmulHeuristicResult_t, workspaceSize, 64);
PLACE(cublasLtMatmulHeuristicResult_t, state, 72);
PLACE(cublasLtMatmulHeuristicResult_t, wavesCount, 76);
PLACE(cublasLtMatmulHeuristicResult_t, reserved, 80);
static_assert(sizeof(cublasLtMatmulAlgo_t) == 64 && sizeof(cublasLtMatmulHeuristicResult_t) == 96,
              "what a heuristic finds");

PLACE(cudaLaunchConfig_t, gridDim, 0);
PLACE(cudaLaunchConfig_t, blockDim, 12);
PLACE(cudaLaunchConfig_t, dynamicSmemBytes, 24);
PLACE(cudaLaunchConfig_t, stream, 32);
PLACE(cudaLaunchConfig_t, attrs, 40);
PLACE(cudaLaunchConfig_t, numAttrs, 48);
static_assert(sizeof(cudaLaunchConfig_t) == 56, "a launch");

PLACE(cudaPointerAttributes, type, 0);
PLACE(cudaPointerAttributes, device, 4);
PLACE(cudaPointerAttributes, devicePointer, 8);
PLACE(cudaPointerAttributes, hostPointer, 16);
static_assert(sizeof(cudaDeviceProp().name) == 256, "a device's name");
static_assert(sizeof(dim3) == 12 && sizeof(uint3) == 12, "coordinates");
static_assert(sizeof(float4) == 16 && alignof(float4) == 16 && sizeof(float2) == 8, "vectors");
