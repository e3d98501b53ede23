#pragma once

// Marks functions that CPU and CUDA code share.
#ifdef __CUDACC__
#define FULMAR_HOST_DEVICE __host__ __device__
#else
#define FULMAR_HOST_DEVICE
#endif
