// Faults that compute-sanitizer must find, or what it says of our kernels says nothing
// (tools/gpu_check.sh). In the namespace of our kernels: it is told to look at those alone.
//   fulmar_gpu_check_planted memcheck|racecheck
#include <cstdio>
#include <cstring>

namespace fulmar {
namespace {

constexpr int threads = 128;

// Writes one element behind the end.
__global__ void out_of_bounds(int* values, int count) {
  const int i = static_cast<int>(threadIdx.x);
  if (i <= count) values[i] = i;
}

// Reads what threads of another warp write, without waiting for them.
__global__ void race(int* values) {
  __shared__ int shared[threads];
  const int i = static_cast<int>(threadIdx.x);
  shared[i] = i;
  values[i] = shared[(i + threads / 2) % threads];
}

}  // namespace
}  // namespace fulmar

int main(int count, char** arguments) {
  using namespace fulmar;
  if (count != 2) return 2;
  int* values = nullptr;
  constexpr int elements = threads - 1;
  if (std::strcmp(arguments[1], "memcheck") == 0) {
    if (cudaMalloc(&values, elements * sizeof(int)) != cudaSuccess) return 4;
    out_of_bounds<<<1, threads>>>(values, elements);
  } else {
    if (cudaMalloc(&values, threads * sizeof(int)) != cudaSuccess) return 4;
    race<<<1, threads>>>(values);
  }
  const cudaError_t error = cudaDeviceSynchronize();
  std::printf("%s\n", cudaGetErrorString(error));
  return error == cudaSuccess ? 0 : 4;
}
