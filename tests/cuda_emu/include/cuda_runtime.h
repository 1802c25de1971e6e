/* cuda_runtime.h - stands in for CUDA's header of this name: found first by -I, so that the same
 * .cu files go to nvcc and to g++. */
#ifndef LONGMIX_EMU_CUDA_RUNTIME_H
#define LONGMIX_EMU_CUDA_RUNTIME_H

#include "tests/cuda_emu/api.h"
#include "tests/cuda_emu/device.h"

#endif
