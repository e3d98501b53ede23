# The CUDA backend is not part of this version. This says what the machine has for it.
find_program(FULMAR_NVCC nvcc HINTS /usr/local/cuda/bin ENV CUDA_HOME PATH_SUFFIXES bin)
if(FULMAR_NVCC)
  message(STATUS "CUDA: ${FULMAR_NVCC} found, but this version has no CUDA backend yet: "
    "nothing is compiled for it, the program runs on the CPU")
else()
  message(STATUS "CUDA: nvcc not found (set CUDA_HOME or PATH), and this version has no CUDA "
    "backend yet: nothing is compiled for it, the program runs on the CPU")
endif()
