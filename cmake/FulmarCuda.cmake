# Looks for what the CUDA backend's library is built with, and says what the machine has.
# FULMAR_HAS_CUDA: kernels/cuda builds fulmar_cuda.
set(FULMAR_CUDA_ARCHITECTURES "80-real;86-real;89-real;90-real;90-virtual" CACHE STRING
  "GPUs that the CUDA backend is compiled for; -virtual: PTX, for newer ones")
find_program(FULMAR_NVCC nvcc HINTS /usr/local/cuda/bin ENV CUDA_HOME PATH_SUFFIXES bin)
set(FULMAR_HAS_CUDA OFF)
if(FULMAR_NVCC)
  set(CMAKE_CUDA_COMPILER ${FULMAR_NVCC})
  set(CMAKE_CUDA_ARCHITECTURES ${FULMAR_CUDA_ARCHITECTURES})
  enable_language(CUDA)
  set(FULMAR_HAS_CUDA ON)
  message(STATUS "CUDA: ${FULMAR_NVCC} ${CMAKE_CUDA_COMPILER_VERSION} builds the backend's library "
    "for ${FULMAR_CUDA_ARCHITECTURES}; the program doesn't load it yet and runs on the CPU")
else()
  message(STATUS "CUDA: nvcc not found (set CUDA_HOME or PATH): nothing is compiled for it, the "
    "program runs on the CPU")
endif()
