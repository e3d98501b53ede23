# Looks for what the CUDA backend's library is built with, and says what the machine has.
# FULMAR_HAS_CUDA: kernels/cuda builds fulmar_cuda, with fulmar::cudnn and fulmar::cublaslt,
# which lie in FULMAR_CUDA_RPATH.
set(FULMAR_CUDA_ARCHITECTURES "80-real;86-real;89-real;90-real;90-virtual" CACHE STRING
  "GPUs that the CUDA backend is compiled for; -virtual: PTX, for newer ones")
set(FULMAR_CUDA_PREFIX "" CACHE STRING
  "Folders with include and lib of cuDNN 9 and cuBLASLt, looked through before all others")
find_program(FULMAR_NVCC nvcc HINTS /usr/local/cuda/bin ENV CUDA_HOME ENV CUDAToolkit_ROOT
  PATH_SUFFIXES bin)
mark_as_advanced(FULMAR_NVCC)
set(FULMAR_HAS_CUDA OFF)

# Where they may be: the compiler's own toolkit, and NVIDIA's Python packages (nvidia/cudnn,
# nvidia/cu13, nvidia/cublas), which hold libcudnn.so.9 without a plain libcudnn.so.
set(FULMAR_CUDA_PLACES ${FULMAR_CUDA_PREFIX})
if(FULMAR_NVCC)
  get_filename_component(place ${FULMAR_NVCC} REALPATH)
  get_filename_component(place ${place}/../.. ABSOLUTE)
  list(APPEND FULMAR_CUDA_PLACES ${place} ${place}/targets/x86_64-linux
    ${place}/targets/sbsa-linux)
  find_program(FULMAR_PYTHON NAMES python3 python)
  mark_as_advanced(FULMAR_PYTHON)
  if(FULMAR_PYTHON)
    execute_process(COMMAND ${FULMAR_PYTHON} -c
        "import importlib.util as u; s = u.find_spec('nvidia'); print(';'.join(s.submodule_search_locations) if s else '', end='')"
      OUTPUT_VARIABLE packages ERROR_QUIET)
    foreach(package IN LISTS packages)
      list(APPEND FULMAR_CUDA_PLACES ${package}/cudnn ${package}/cu13 ${package}/cublas)
    endforeach()
  endif()
endif()

# fulmar_find_cuda(NAME header file...): imports fulmar::NAME, or adds to FULMAR_CUDA_MISSING.
function(fulmar_find_cuda name header)
  find_path(FULMAR_${name}_INCLUDE_DIR ${header} HINTS ${FULMAR_CUDA_PLACES} PATH_SUFFIXES include)
  find_library(FULMAR_${name}_LIBRARY NAMES ${ARGN} NAMES_PER_DIR HINTS ${FULMAR_CUDA_PLACES}
    PATH_SUFFIXES lib64 lib)
  mark_as_advanced(FULMAR_${name}_INCLUDE_DIR FULMAR_${name}_LIBRARY)
  if(NOT FULMAR_${name}_INCLUDE_DIR OR NOT FULMAR_${name}_LIBRARY)
    list(GET ARGN 0 file)
    list(APPEND FULMAR_CUDA_MISSING "${header} or ${file}")
    set(FULMAR_CUDA_MISSING ${FULMAR_CUDA_MISSING} PARENT_SCOPE)
    return()
  endif()
  add_library(fulmar::${name} UNKNOWN IMPORTED)
  set_target_properties(fulmar::${name} PROPERTIES
    IMPORTED_LOCATION ${FULMAR_${name}_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${FULMAR_${name}_INCLUDE_DIR})
endfunction()

if(FULMAR_NVCC)
  set(FULMAR_CUDA_MISSING "")
  # The versioned names first: they are what is there at run time.
  fulmar_find_cuda(cudnn cudnn.h libcudnn.so.9)
  fulmar_find_cuda(cublaslt cublasLt.h libcublasLt.so.13 libcublasLt.so.12 cublasLt)
  if(FULMAR_CUDA_MISSING)
    list(JOIN FULMAR_CUDA_MISSING ", and " missing)
    message(STATUS "CUDA: ${FULMAR_NVCC} was found, but not ${missing} (set FULMAR_CUDA_PREFIX): "
      "nothing is compiled for it, the program runs on the CPU")
  else()
    # Where what links them finds them when it runs.
    get_filename_component(cudnn_folder ${FULMAR_cudnn_LIBRARY} DIRECTORY)
    get_filename_component(cublaslt_folder ${FULMAR_cublaslt_LIBRARY} DIRECTORY)
    set(FULMAR_CUDA_RPATH ${cudnn_folder} ${cublaslt_folder})
    list(REMOVE_DUPLICATES FULMAR_CUDA_RPATH)
    set(CMAKE_CUDA_COMPILER ${FULMAR_NVCC})
    set(CMAKE_CUDA_ARCHITECTURES ${FULMAR_CUDA_ARCHITECTURES})
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.26 knows no C++20 of nvcc's
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    set(FULMAR_HAS_CUDA ON)
    message(STATUS "CUDA: ${FULMAR_NVCC} ${CMAKE_CUDA_COMPILER_VERSION} builds the backend's "
      "library for ${FULMAR_CUDA_ARCHITECTURES}, with ${FULMAR_cudnn_LIBRARY} and "
      "${FULMAR_cublaslt_LIBRARY}")
  endif()
else()
  message(STATUS "CUDA: nvcc not found (set CUDA_HOME or PATH): nothing is compiled for it, the "
    "program runs on the CPU")
endif()
